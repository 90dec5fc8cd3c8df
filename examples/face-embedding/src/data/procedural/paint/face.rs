//! Brows, eyes, nose, mouth and marks.

use super::super::canvas::{Canvas, Circle, Paint, mix, shade};
use super::super::shape::{ellipse, leaf, stroke};
use super::super::view::Spot;
use super::sitter::Sitter;

pub(super) fn paint_face(canvas: &mut Canvas, sitter: &Sitter) {
    paint_marks(canvas, sitter);
    paint_nose(canvas, sitter);
    paint_mouth(canvas, sitter);
    for sign in [-1.0, 1.0] {
        paint_eye(canvas, sitter, sign);
        paint_brow(canvas, sitter, sign);
    }
}

fn paint_marks(canvas: &mut Canvas, sitter: &Sitter) {
    let color = mix(shade(sitter.identity.skin, 0.45), [0.3, 0.12, 0.06], 0.4);
    for mark in &sitter.identity.marks {
        let spot = sitter.view.on_face(mark.x, mark.y, 0.0);
        let half_size = [mark.radius * spot.narrowing, mark.radius];
        glow(canvas, [spot.u, spot.v], half_size, Paint::soft(color, mark.opacity, 0.0));
    }
}

fn paint_nose(canvas: &mut Canvas, sitter: &Sitter) {
    let nose = &sitter.identity.nose;
    let skin = sitter.identity.skin;
    let root = sitter.view.on_face(0.0, sitter.identity.eyes.y, 0.3 * nose.lift);
    let tip = sitter.view.on_face(0.0, nose.y, nose.lift);
    let base = sitter.view.on_face(0.0, nose.y + 0.05, 0.2 * nose.lift);
    let reach = Circle { u: tip.u, v: (root.v + tip.v) / 2.0, radius: 0.6 };

    // The side of the nose that the lamp does not reach.
    let away = if sitter.snapshot.light.direction[0] > 0.0 { -1.0 } else { 1.0 };
    let side = away * nose.bridge * 1.2;
    let shadow = Paint::soft(shade(skin, 0.62), 0.55, 0.06);
    canvas.fill(reach, shadow, |u, v| stroke(u, v, [root.u + side, root.v], [tip.u + side, tip.v], nose.bridge * 0.6));
    let wings = [nose.half_width * base.narrowing, 0.075];
    glow(canvas, [base.u, base.v], wings, Paint::soft(shade(skin, 0.72), 0.75, 0.05));
    let ridge = Paint::soft(shade(skin, 1.10), 0.6, 0.05);
    canvas.fill(reach, ridge, |u, v| stroke(u, v, [root.u, root.v], [tip.u, tip.v], nose.bridge * 0.55));
    let ball = [nose.tip, nose.tip * 0.9];
    glow(canvas, [tip.u, tip.v], ball, Paint::soft(shade(skin, 1.08), 0.8, 0.04));
    for sign in [-1.0, 1.0] {
        let x = sign * nose.half_width * 0.5;
        let nostril = sitter.view.on_face(x, nose.y + 0.075, 0.35 * nose.lift);
        let half_size = [nose.half_width * 0.26 * nostril.narrowing, 0.026];
        let dark = Paint::soft(shade(skin, 0.25), 0.85, 0.02);
        glow(canvas, [nostril.u, nostril.v], half_size, dark);
    }
}

fn paint_mouth(canvas: &mut Canvas, sitter: &Sitter) {
    let mouth = &sitter.identity.mouth;
    let expression = &sitter.snapshot.expression;
    let spot = sitter.view.on_face(0.0, mouth.y + 0.04 * expression.open_mouth, 0.03);
    let half_width =
        mouth.half_width * spot.narrowing * (1.0 + 0.16 * expression.smile.max(0.0) - 0.12 * expression.open_mouth);
    let gap = 0.11 * expression.open_mouth;
    let bend = mouth.bend + 0.055 * expression.smile;
    let within = Circle { u: spot.u, v: spot.v, radius: half_width + 0.15 };
    // In bent coordinates the mouth is straight.
    let bent = |u: f32, v: f32| {
        let u = u - spot.u;
        let across = u / half_width;
        (u, v - spot.v + bend * (across * across - 0.4))
    };
    let lips = Paint::solid(mouth.color);
    canvas.fill(within, lips, |u, v| {
        let (u, v) = bent(u, v);
        leaf(u, v, half_width, mouth.upper + gap, mouth.lower + gap)
    });
    let inside = Paint::solid(shade(mouth.color, 0.32));
    canvas.fill(within, inside, |u, v| {
        let (u, v) = bent(u, v);
        leaf(u, v, half_width * 0.94, gap + 0.010, gap + 0.010)
    });
    if gap > 0.03 {
        let teeth = Paint::soft([0.93, 0.91, 0.86], 0.95, 0.0);
        canvas.fill(within, teeth, |u, v| {
            let (u, v) = bent(u, v);
            leaf(u, v, half_width * 0.75, gap, -gap * 0.2)
        });
    }
    let below = [half_width * 0.6, 0.03];
    let fold = Paint::soft(shade(sitter.identity.skin, 0.68), 0.5, 0.06);
    glow(canvas, [spot.u, spot.v + mouth.lower + gap + 0.07], below, fold);
}

fn paint_eye(canvas: &mut Canvas, sitter: &Sitter, sign: f32) {
    let eyes = &sitter.identity.eyes;
    let expression = &sitter.snapshot.expression;
    let skin = sitter.identity.skin;
    let spot = sitter.view.on_face(sign * eyes.half_spacing, eyes.y, 0.0);
    let half_width = eyes.half_width * spot.narrowing;
    let above = eyes.half_height * expression.open_eyes;
    let below = above * 0.65;
    let within = Circle { u: spot.u, v: spot.v, radius: eyes.half_width * 1.6 };
    let level = slanted(spot, -sign * eyes.tilt);

    let socket = Paint::soft(shade(skin, 0.55), eyes.socket + 0.12, 0.12);
    glow(canvas, [spot.u, spot.v - 0.02], [half_width * 1.1, eyes.half_width * 0.7], socket);
    let lid = move |u: f32, v: f32| {
        let (u, v) = level(u, v);
        leaf(u, v, half_width, above, below)
    };
    canvas.fill(within, Paint::solid([0.93, 0.92, 0.90]), lid);

    let gaze = [expression.gaze[0] * eyes.half_width, expression.gaze[1] * eyes.half_width];
    let (iris_u, iris_v) = (spot.u + gaze[0], spot.v + gaze[1] - 0.1 * above);
    for (radius, color) in [(eyes.iris_radius, eyes.iris), (eyes.iris_radius * 0.45, [0.02; 3])] {
        canvas.fill(within, Paint::solid(color), |u, v| {
            let disc = ellipse(u - iris_u, v - iris_v, radius * spot.narrowing, radius);
            disc.max(lid(u, v))
        });
    }
    // The upper lid and its lashes.
    let lashes = eyes.lashes;
    canvas.fill(within, Paint::solid([0.08, 0.05, 0.05]), |u, v| {
        let (u, v) = level(u, v);
        let inner = leaf(u, v, half_width * 1.05, above, above.max(0.03));
        let outer = leaf(u, v, half_width * 1.12, above + 2.0 * lashes, 0.0);
        outer.max(-inner)
    });
}

fn paint_brow(canvas: &mut Canvas, sitter: &Sitter, sign: f32) {
    let (brows, eyes) = (&sitter.identity.brows, &sitter.identity.eyes);
    let expression = &sitter.snapshot.expression;
    let y = eyes.y - brows.gap - 0.05 * expression.brows;
    let spot = sitter.view.on_face(sign * (eyes.half_spacing + 0.01), y, 0.05);
    let half_length = brows.half_length * spot.narrowing;
    // A frown lowers the inner end.
    let level = slanted(spot, sign * (0.12 * expression.brows.min(0.0).abs()) - sign * brows.tilt);
    let within = Circle { u: spot.u, v: spot.v, radius: brows.half_length * 1.3 + 0.1 };
    canvas.fill(within, Paint::soft(brows.color, 0.9, 0.02), |u, v| {
        let (u, v) = level(u, v);
        let across = u / half_length;
        let v = v + brows.arch * (0.5 - across * across);
        // Thinner towards the temples.
        let thick = brows.half_thickness * (1.0 - 0.45 * (sign * across).clamp(-1.0, 1.0));
        (v.abs() - thick).max(u.abs() - half_length)
    });
}

/// Coordinates around a spot along a line that rises by `slope` to the right.
fn slanted(spot: Spot, slope: f32) -> impl Fn(f32, f32) -> (f32, f32) + Copy {
    move |u, v| {
        let (u, v) = (u - spot.u, v - spot.v);
        (u, v + slope * u)
    }
}

/// A soft ellipse: for shadows, highlights and blushes.
fn glow(canvas: &mut Canvas, middle: [f32; 2], half_size: [f32; 2], paint: Paint) {
    let [u0, v0] = middle;
    let radius = half_size[0].max(half_size[1]) + paint.edge;
    canvas.fill(Circle { u: u0, v: v0, radius }, paint, |u, v| ellipse(u - u0, v - v0, half_size[0], half_size[1]));
}
