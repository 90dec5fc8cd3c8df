//! The head without its features: outline, ears, neck and shoulders.

use super::super::canvas::{Canvas, Circle, Paint, mix, shade};
use super::super::shape::{ellipse, rounded_box};
use super::sitter::Sitter;

/// The side of the head an ear is on, as seen by the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Partly hidden by the head.
    Far,
    /// In front of it.
    Near,
}

/// Signed distance to the outline of the head, grown by `margin`.
pub(super) fn outline(sitter: &Sitter) -> impl Fn(f32, f32, f32) -> f32 + use<> {
    let head = &sitter.identity.head;
    let (taper, cheeks, jaw) = (head.taper, head.cheeks, head.jaw);
    let half_width = sitter.view.outline_half_width();
    let half_height = sitter.view.outline_half_height();
    // The chin is in front of the middle, so it moves with the look.
    let chin = sitter.view.at(0.0, 0.0, 0.45).u;
    move |u, v, margin| {
        let down = (v / half_height).max(0.0);
        let square = down * down;
        let narrow = 1.0 - taper * ((1.0 - jaw) * down + jaw * square * square);
        let bulge = (1.0 - (down - 0.35) * (down - 0.35) * 8.0).max(0.0);
        let u = (u - chin * square) / (narrow + cheeks * bulge).max(0.3);
        ellipse(u, v, half_width + margin, half_height + margin)
    }
}

pub(super) fn paint_body(canvas: &mut Canvas, sitter: &Sitter) {
    let head = &sitter.identity.head;
    let shoulders = head.skull.half_height + 0.22;
    let clothes = Paint::solid(sitter.snapshot.clothes);
    canvas.fill(Circle { u: 0.0, v: 1.9, radius: 1.6 }, clothes, |u, v| ellipse(u, v - shoulders - 0.6, 1.5, 0.7));
    let neck = head.neck;
    let skin = Paint::soft(shade(sitter.identity.skin, 0.72), 1.0, 0.05);
    canvas.fill(Circle { u: 0.0, v: 0.8, radius: 1.0 }, skin, |u, v| {
        rounded_box(u, v - 0.7, neck, shoulders - 0.55, 0.1)
    });
}

/// Paints those of the two ears that are on this side of the head.
pub(super) fn paint_ears(canvas: &mut Canvas, sitter: &Sitter, side: Side) {
    let ears = &sitter.identity.ears;
    let skin = shade(sitter.identity.skin, 0.93);
    for sign in [-1.0, 1.0] {
        let x = sign * (sitter.identity.head.skull.half_width + ears.spread);
        let spot = sitter.view.at(x, ears.y, -0.08);
        let seen = if spot.depth > 0.06 { Side::Near } else { Side::Far };
        if seen != side {
            continue;
        }
        let half_width = 0.5 * ears.half_height + ears.spread.max(0.0) * 0.4;
        let half_height = ears.half_height;
        let within = Circle { u: spot.u, v: spot.v, radius: half_height + 0.1 };
        canvas.fill(within, Paint::solid(skin), |u, v| ellipse(u - spot.u, v - spot.v, half_width, half_height));
        let hollow = Paint::soft(shade(skin, 0.65), 0.6, 0.05);
        canvas.fill(within, hollow, |u, v| ellipse(u - spot.u, v - spot.v, half_width * 0.5, half_height * 0.55));
    }
}

pub(super) fn paint_head(canvas: &mut Canvas, sitter: &Sitter) {
    let skin = sitter.identity.skin;
    let outline = outline(sitter);
    canvas.fill(Circle::EVERYWHERE, Paint::solid(skin), |u, v| outline(u, v, 0.0));
    // The rim is turned away from the camera and darker under any light.
    let rim = Paint::soft(shade(skin, 0.6), 0.35, 0.25);
    canvas.fill(Circle::EVERYWHERE, rim, |u, v| outline(u, v, 0.0).abs() - 0.02);
    paint_beard(canvas, sitter);
}

fn paint_beard(canvas: &mut Canvas, sitter: &Sitter) {
    let beard = &sitter.identity.beard;
    let mouth = &sitter.identity.mouth;
    let color = beard.color;
    let outline = outline(sitter);
    if beard.cheeks > 0.0 {
        let line = sitter.view.on_face(0.0, mouth.y - 0.16, 0.0);
        let cheek_width = 0.36;
        canvas.fill(Circle::EVERYWHERE, Paint::soft(color, beard.cheeks, 0.08), |u, v| {
            let bare = ellipse(u - line.u, v - line.v, cheek_width * line.narrowing, 0.30);
            outline(u, v, 0.03).max(-bare).max(line.v - 0.25 - v)
        });
    }
    if beard.chin > 0.0 {
        let chin = sitter.view.on_face(0.0, mouth.y + 0.30, 0.05);
        let within = Circle { u: chin.u, v: chin.v, radius: 0.5 };
        canvas.fill(within, Paint::soft(color, beard.chin, 0.06), |u, v| {
            ellipse(u - chin.u, v - chin.v, 0.26 * chin.narrowing, 0.20)
        });
    }
    if beard.moustache > 0.0 {
        let lip = sitter.view.on_face(0.0, mouth.y - 0.10, 0.06);
        let half_width = (mouth.half_width + 0.05) * lip.narrowing;
        let within = Circle { u: lip.u, v: lip.v, radius: 0.5 };
        let color = mix(color, sitter.identity.skin, 0.1);
        canvas.fill(within, Paint::soft(color, beard.moustache, 0.04), |u, v| {
            ellipse(u - lip.u, v - lip.v, half_width, 0.065)
        });
    }
}
