//! Draws one picture: from the background forward, then light and camera.

use super::super::canvas::{Canvas, Circle, Frame, Paint, mix};
use super::super::identity::Identity;
use super::super::shape::rounded_box;
use super::super::snapshot::{Background, Camera, Light, Obstacle, Snapshot};
use super::super::view::{Turn, View};
use super::sitter::Sitter;
use super::{face, hair, head, worn};
use crate::data::random::Random;

/// The bytes of a picture: row by row, red before green before blue.
pub(crate) fn paint(size: usize, identity: &Identity, snapshot: &Snapshot, random: &mut Random) -> Vec<u8> {
    let pose = &snapshot.pose;
    let side = size as f32;
    let frame = Frame {
        middle: pose.shift.map(|shift| side * (0.5 + shift)),
        scale: side * pose.scale,
        roll: Turn::of(pose.roll),
    };
    let view = View::new(identity.head.skull, pose.yaw, pose.pitch);
    let sitter = Sitter { identity, snapshot, view };

    let mut canvas = Canvas::new(size, frame);
    paint_background(&mut canvas, &snapshot.background);
    hair::paint_behind(&mut canvas, &sitter);
    head::paint_body(&mut canvas, &sitter);
    head::paint_ears(&mut canvas, &sitter, head::Side::Far);
    head::paint_head(&mut canvas, &sitter);
    head::paint_ears(&mut canvas, &sitter, head::Side::Near);
    face::paint_face(&mut canvas, &sitter);
    hair::paint_front(&mut canvas, &sitter);
    worn::paint_eyewear(&mut canvas, &sitter);
    if let Some(obstacle) = &snapshot.obstacle {
        paint_obstacle(&mut canvas, obstacle);
    }
    light_up(&mut canvas, &sitter, &snapshot.light);
    photograph(&mut canvas, size, &snapshot.camera, random);
    canvas.bytes()
}

fn paint_background(canvas: &mut Canvas, background: &Background) {
    canvas.change(|[_, v], _| mix(background.top, background.bottom, (0.5 + 0.4 * v).clamp(0.0, 1.0)));
    for &([x, y, half_width, half_height], color) in &background.things {
        let within = Circle { u: x, v: y, radius: half_width + half_height + 0.2 };
        canvas.fill(within, Paint::soft(color, 0.8, 0.15), |u, v| {
            rounded_box(u - x, v - y, half_width, half_height, 0.1)
        });
    }
}

fn paint_obstacle(canvas: &mut Canvas, obstacle: &Obstacle) {
    let [x, y, half_width, half_height] = obstacle.place;
    let within = Circle { u: x, v: y, radius: half_width + half_height };
    let radius = if obstacle.round { half_width.min(half_height) } else { 0.02 };
    canvas
        .fill(within, Paint::solid(obstacle.color), |u, v| rounded_box(u - x, v - y, half_width, half_height, radius));
}

/// Shades the picture as if it were the surface of the skull, so that a lamp from the side
/// darkens the other side.
fn light_up(canvas: &mut Canvas, sitter: &Sitter, light: &Light) {
    let half_width = sitter.view.outline_half_width();
    let half_height = sitter.view.outline_half_height();
    let [lamp_x, lamp_y, lamp_z] = light.direction;
    canvas.change(|[u, v], color| {
        let (x, y) = (u / half_width, v / half_height);
        let square = x * x + y * y;
        // Beyond the outline the surface stays as steep as at the edge.
        let outside = square.max(1.0).sqrt();
        let z = (1.0 - square).max(0.0).sqrt();
        let facing = (x / outside * lamp_x + y / outside * lamp_y + z * lamp_z).max(0.0);
        let glow = light.brightness * (1.0 - light.lamp + light.lamp * 1.35 * facing);
        std::array::from_fn(|channel| color[channel] * glow * light.tint[channel])
    });
}

fn photograph(canvas: &mut Canvas, size: usize, camera: &Camera, random: &mut Random) {
    // A larger picture is blurred more often, so that it loses about as much detail.
    for _ in 0..size.div_ceil(48) {
        canvas.blur(camera.blur);
    }
    canvas.change(|_, color| {
        let gray = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2];
        color.map(|channel| {
            let channel = gray + (channel - gray) * camera.saturation;
            0.5 + (channel - 0.5) * camera.contrast + random.bell(0.0, camera.noise)
        })
    });
}
