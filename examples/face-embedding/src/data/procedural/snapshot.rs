//! What changes from one picture of a person to the next.

use super::canvas::Color;
use super::identity::Identity;
use crate::data::random::Random;

/// The circumstances of one picture.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) pose: Pose,
    pub(super) expression: Expression,
    pub(super) light: Light,
    pub(super) camera: Camera,
    pub(super) background: Background,
    pub(super) clothes: Color,
    /// Worn in this picture; not everybody who owns glasses always wears them.
    pub(super) eyewear: Eyewear,
    /// Something in front of the face.
    pub(super) obstacle: Option<Obstacle>,
}

/// Angles in radians; shifts as shares of the picture's side.
#[derive(Clone, Debug)]
pub(super) struct Pose {
    pub(super) yaw: f32,
    pub(super) pitch: f32,
    pub(super) roll: f32,
    pub(super) shift: [f32; 2],
    /// Half the head's height as a share of the picture's side.
    pub(super) scale: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// From -1, frowning, to 1.
    pub(super) smile: f32,
    /// From 0, closed, to 1.
    pub(super) open_mouth: f32,
    /// From 0, closed, to above 1, staring.
    pub(super) open_eyes: f32,
    /// From -1, frowning, to 1, raised.
    pub(super) brows: f32,
    /// Where the eyes look, in widths of an eye.
    pub(super) gaze: [f32; 2],
}

#[derive(Clone, Debug)]
pub(super) struct Light {
    /// To the lamp; of length one.
    pub(super) direction: [f32; 3],
    /// Share of the light that comes from the lamp; the rest comes from everywhere.
    pub(super) lamp: f32,
    /// Factor on everything.
    pub(super) brightness: f32,
    /// Factors of red, green and blue.
    pub(super) tint: Color,
}

#[derive(Clone, Debug)]
pub(super) struct Camera {
    pub(super) contrast: f32,
    pub(super) saturation: f32,
    /// Weight of the neighbors in the blur; `0..=0.25`.
    pub(super) blur: f32,
    pub(super) noise: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Background {
    pub(super) top: Color,
    pub(super) bottom: Color,
    /// Blurred things behind the person: place on the plane of the face, half sizes, color.
    pub(super) things: Vec<([f32; 4], Color)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eyewear {
    Nothing,
    Glasses,
    Sunglasses,
}

#[derive(Clone, Debug)]
pub(super) struct Obstacle {
    /// Middle and half sizes on the plane of the face.
    pub(super) place: [f32; 4],
    pub(super) round: bool,
    pub(super) color: Color,
}

impl Snapshot {
    /// A picture of the distribution for this person.
    pub(super) fn of(random: &mut Random, identity: &Identity) -> Self {
        Self {
            pose: pose(random),
            expression: expression(random),
            light: light(random),
            camera: Camera {
                contrast: random.between(0.85, 1.15),
                saturation: random.between(0.8, 1.15),
                blur: random.between(0.0, 0.10),
                noise: random.between(0.005, 0.02),
            },
            background: background(random),
            clothes: any_color(random),
            eyewear: eyewear(random, identity.glasses.is_some()),
            obstacle: random.chance(0.06).then(|| obstacle(random, identity)),
        }
    }
}

fn any_color(random: &mut Random) -> Color {
    let gray = random.between(0.05, 0.95);
    let colorful = random.unit() * 0.6;
    std::array::from_fn(|_| gray + (random.unit() - gray) * colorful)
}

fn pose(random: &mut Random) -> Pose {
    Pose {
        yaw: random.bell(0.0, 0.13).clamp(-0.4, 0.4),
        pitch: random.bell(0.0, 0.09).clamp(-0.25, 0.25),
        roll: random.bell(0.0, 0.07),
        shift: [random.bell(0.0, 0.02), random.bell(0.0, 0.02)],
        scale: random.bell(0.44, 0.018),
    }
}

fn expression(random: &mut Random) -> Expression {
    let open_mouth = if random.chance(0.35) { random.between(0.1, 1.0) } else { 0.0 };
    let blinks = random.chance(0.04);
    Expression {
        smile: random.between(-0.4, 1.0),
        open_mouth,
        open_eyes: if blinks { 0.08 } else { random.between(0.65, 1.15) },
        brows: random.bell(0.0, 0.4),
        gaze: [random.bell(0.0, 0.18), random.bell(0.0, 0.08)],
    }
}

fn light(random: &mut Random) -> Light {
    let direction = [random.bell(0.0, 0.8), random.bell(-0.4, 0.5), random.between(0.35, 1.0)];
    let length = direction.iter().map(|part| part * part).sum::<f32>().sqrt();
    let warmth = random.bell(0.0, 0.04);
    Light {
        direction: direction.map(|part| part / length),
        lamp: random.between(0.1, 0.48),
        brightness: random.between(0.88, 1.2),
        tint: [1.0 + warmth, 1.0 + random.bell(0.0, 0.02), 1.0 - warmth],
    }
}

fn background(random: &mut Random) -> Background {
    let thing = |random: &mut Random| {
        let place = [random.between(-1.4, 1.4), random.between(-1.4, 1.4)];
        let size = [random.between(0.1, 0.7), random.between(0.1, 0.7)];
        ([place[0], place[1], size[0], size[1]], any_color(random))
    };
    Background {
        top: any_color(random),
        bottom: any_color(random),
        things: (0..random.below(4)).map(|_| thing(random)).collect(),
    }
}

fn eyewear(random: &mut Random, owns_glasses: bool) -> Eyewear {
    let wears = random.unit();
    if wears < 0.02 {
        Eyewear::Sunglasses
    } else if owns_glasses && wears < 0.98 {
        Eyewear::Glasses
    } else {
        Eyewear::Nothing
    }
}

fn obstacle(random: &mut Random, identity: &Identity) -> Obstacle {
    let half_size = [random.between(0.12, 0.36), random.between(0.12, 0.36)];
    let color = match random.below(3) {
        // A hand.
        0 => identity.skin,
        1 => [0.08; 3],
        _ => any_color(random),
    };
    let [x, y] = if random.chance(0.4) {
        // A scarf or a cup: the lower face.
        [random.between(-0.3, 0.3), random.between(0.7, 1.0)]
    } else {
        [random.between(-0.8, 0.8), random.between(-0.8, 0.8)]
    };
    Obstacle { place: [x, y, half_size[0], half_size[1]], round: random.chance(0.5), color }
}
