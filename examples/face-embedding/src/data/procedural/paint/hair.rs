//! Hair behind the head and in front of it.

use super::super::canvas::{Canvas, Circle, Paint, shade};
use super::super::identity::HairStyle;
use super::super::shape::{ellipse, rounded_box, wave};
use super::head::outline;
use super::sitter::Sitter;

pub(super) fn paint_behind(canvas: &mut Canvas, sitter: &Sitter) {
    let hair = &sitter.identity.hair;
    let skull = sitter.identity.head.skull;
    let back = sitter.view.at(0.0, 0.0, -0.35);
    let (half_width, curl) = (skull.half_width + hair.volume, hair.curl);
    let dark = Paint::solid(shade(hair.color, 0.8));
    let end = match hair.style {
        HairStyle::Bob => 0.75,
        HairStyle::Long => 1.6,
        HairStyle::Round => {
            canvas.fill(Circle::EVERYWHERE, dark, |u, v| {
                let (u, v) = (u - back.u, v - back.v + 0.25);
                ellipse(u, v, half_width, 0.8 + hair.volume) + curl * wave((u + v) * 2.5)
            });
            return;
        }
        HairStyle::Knot => {
            let top = sitter.view.at(0.0, -skull.half_height - 0.06, -0.2);
            let within = Circle { u: top.u, v: top.v, radius: 0.5 };
            canvas.fill(within, dark, |u, v| ellipse(u - top.u, v - top.v, 0.26, 0.22));
            return;
        }
        HairStyle::Bald | HairStyle::Ring | HairStyle::Short | HairStyle::Tall => return,
    };
    canvas.fill(Circle::EVERYWHERE, dark, |u, v| {
        let half_height = (end + 0.9) / 2.0;
        let middle = end - half_height;
        let u = u - back.u;
        rounded_box(u, v - middle, half_width, half_height, 0.5) + curl * wave(v * 1.7)
    });
}

pub(super) fn paint_front(canvas: &mut Canvas, sitter: &Sitter) {
    let hair = &sitter.identity.hair;
    let skull = sitter.identity.head.skull;
    // How far down the sides the hair reaches.
    let sides = match hair.style {
        HairStyle::Bald => return,
        HairStyle::Ring | HairStyle::Short | HairStyle::Tall => 0.05,
        HairStyle::Round | HairStyle::Knot => -0.05,
        HairStyle::Bob => 0.6,
        HairStyle::Long => 1.0,
    };
    let line = sitter.view.on_face(0.0, -hair.line, 0.0);
    let brow = sitter.view.on_face(0.0, 0.1, 0.0);
    let ear = sitter.view.at(0.0, sides, 0.0);
    let parting = sitter.view.on_face(hair.parting, -hair.line, 0.0);
    let fringe = hair.fringe.map(|y| sitter.view.on_face(0.0, -y, 0.0).v);
    let (opening, volume, curl) = (hair.opening, hair.volume, hair.curl);
    let lift = if hair.style == HairStyle::Tall { 0.16 } else { 0.0 };
    let is_ring = hair.style == HairStyle::Ring;
    let outline = outline(sitter);
    let shape = move |u: f32, v: f32| {
        // Tall hair stands on the top only; elsewhere it lies as close as any.
        let top = (-v / skull.half_height).max(0.0);
        let head = outline(u, v, 0.02 + volume * (0.35 + 0.65 * top) + lift * top * top);
        // The face shows through an opening; its top rises towards the parting.
        let rise = 0.09 * (1.0 - (u - parting.u).abs() * 3.0).max(0.0);
        let half_height = brow.v - line.v + rise;
        let face = ellipse(u - brow.u, v - brow.v, opening * brow.narrowing, half_height.max(0.2));
        // Below the brows the opening keeps its width.
        let below = (u - brow.u).abs() - opening * brow.narrowing;
        let face = if v > brow.v { below } else { face };
        let face = match fringe {
            Some(edge) => face.max(edge - v),
            None if is_ring => face.min(v - line.v * 0.55),
            None => face,
        };
        head.max(-face).max(v - ear.v) + curl * wave(u * 2.3 + v)
    };
    canvas.fill(Circle::EVERYWHERE, Paint::solid(hair.color), &shape);
    // Strands: faint stripes that follow the skull.
    let strands = Paint::soft(shade(hair.color, 1.35), 0.35, 0.05);
    canvas.fill(Circle::EVERYWHERE, strands, |u, v| {
        shape(u, v).max(0.04 * wave(u * (2.5 + 1.5 * v) + hair.parting * 5.0))
    });
}
