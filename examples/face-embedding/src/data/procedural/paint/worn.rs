//! Glasses and sunglasses.

use super::super::canvas::{Canvas, Circle, Paint};
use super::super::identity::Glasses;
use super::super::shape::{rounded_box, stroke};
use super::super::snapshot::Eyewear;
use super::sitter::Sitter;

/// How far in front of the face the lenses are.
const LENS_LIFT: f32 = 0.14;

/// The same for everybody: sunglasses hide a person and must not tell who it is.
const SUNGLASSES: Glasses =
    Glasses { half_width: 0.24, half_height: 0.16, roundness: 0.5, thickness: 0.03, color: [0.04; 3] };

pub(super) fn paint_eyewear(canvas: &mut Canvas, sitter: &Sitter) {
    match (sitter.snapshot.eyewear, &sitter.identity.glasses) {
        (Eyewear::Sunglasses, _) => paint_glasses(canvas, sitter, &SUNGLASSES, 0.92),
        (Eyewear::Glasses, Some(glasses)) => paint_glasses(canvas, sitter, glasses, 0.08),
        (Eyewear::Glasses, None) | (Eyewear::Nothing, _) => {}
    }
}

/// `tint` is how dark the lenses are.
fn paint_glasses(canvas: &mut Canvas, sitter: &Sitter, glasses: &Glasses, tint: f32) {
    let eyes = &sitter.identity.eyes;
    let half_height = glasses.half_height;
    let thickness = glasses.thickness;
    let y = eyes.y + 0.02;
    let frame = Paint::solid(glasses.color);
    let mut inner = [[0.0; 2]; 2];
    for (place, sign) in [-1.0_f32, 1.0].into_iter().enumerate() {
        // Lenses must not overlap above the nose.
        let x = eyes.half_spacing.max(glasses.half_width + 0.04);
        let spot = sitter.view.on_face(sign * x, y, LENS_LIFT);
        let half_width = glasses.half_width * spot.narrowing;
        let corner = 0.03 + glasses.roundness * (half_height.min(half_width) - 0.03);
        let within = Circle { u: spot.u, v: spot.v, radius: half_width + half_height + 0.1 };
        let lens = |u: f32, v: f32| rounded_box(u - spot.u, v - spot.v, half_width, half_height, corner);
        canvas.fill(within, Paint::soft([0.03; 3], tint, 0.0), lens);
        canvas.fill(within, frame, |u, v| lens(u, v).abs() - thickness);
        let hinge = [spot.u + sign * half_width, spot.v - 0.04];
        let skull = sitter.identity.head.skull;
        let ear = sitter.view.at(sign * skull.half_width, y, 0.0);
        let within = Circle { u: hinge[0], v: hinge[1], radius: 1.0 };
        if ear.depth > -0.1 || ear.u * sign > hinge[0] * sign {
            canvas.fill(within, frame, |u, v| stroke(u, v, hinge, [ear.u, ear.v], thickness));
        }
        inner[place] = [spot.u - sign * half_width, spot.v - 0.03];
    }
    let within = Circle { u: inner[0][0], v: inner[0][1], radius: 0.6 };
    canvas.fill(within, frame, |u, v| stroke(u, v, inner[0], inner[1], thickness));
}
