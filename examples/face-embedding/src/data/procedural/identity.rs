//! What stays the same in all pictures of a person.
//!
//! Lengths are in units of about half the height of a head, seen from the front.

use super::canvas::{Color, mix, shade};
use super::view::Skull;
use crate::data::random::Random;

/// A person.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) head: Head,
    pub(super) skin: Color,
    pub(super) hair: Hair,
    pub(super) ears: Ears,
    pub(super) brows: Brows,
    pub(super) eyes: Eyes,
    pub(super) nose: Nose,
    pub(super) mouth: Mouth,
    pub(super) beard: Beard,
    pub(super) marks: Vec<Mark>,
    /// The glasses of those who wear some.
    pub(super) glasses: Option<Glasses>,
}

/// Outline of the head.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) skull: Skull,
    /// Share of the width lost from the middle of the face to the chin.
    pub(super) taper: f32,
    /// Share of the width gained at the cheeks.
    pub(super) cheeks: f32,
    /// How sharply the jaw turns in to the chin: 0 evenly, 1 at its corner.
    pub(super) jaw: f32,
    pub(super) neck: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HairStyle {
    Bald,
    /// A ring around a bald top.
    Ring,
    Short,
    /// Higher than it is wide.
    Tall,
    /// A ball of curls.
    Round,
    /// To the jaw.
    Bob,
    /// Below the shoulders.
    Long,
    /// Tied to a knot on the top.
    Knot,
}

#[derive(Clone, Debug)]
pub(super) struct Hair {
    pub(super) style: HairStyle,
    pub(super) color: Color,
    /// Height of the hair line above the middle of the head.
    pub(super) line: f32,
    /// Half the width of the opening for the face.
    pub(super) opening: f32,
    /// Thickness over the skull.
    pub(super) volume: f32,
    /// How far the parting is from the middle; positive is to the right of the picture.
    pub(super) parting: f32,
    /// Height above the middle of the head of the edge of a fringe; none lies higher than `line`.
    pub(super) fringe: Option<f32>,
    /// How far the outline waves.
    pub(super) curl: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Ears {
    pub(super) half_height: f32,
    /// How far they stand out.
    pub(super) spread: f32,
    /// Below the middle of the head.
    pub(super) y: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Brows {
    pub(super) half_length: f32,
    pub(super) half_thickness: f32,
    pub(super) arch: f32,
    /// Positive is lower at the nose.
    pub(super) tilt: f32,
    /// Above the eyes.
    pub(super) gap: f32,
    pub(super) color: Color,
}

#[derive(Clone, Debug)]
pub(super) struct Eyes {
    /// Half the distance between them.
    pub(super) half_spacing: f32,
    /// Below the middle of the head.
    pub(super) y: f32,
    pub(super) half_width: f32,
    pub(super) half_height: f32,
    /// Positive is higher at the temples.
    pub(super) tilt: f32,
    pub(super) iris: Color,
    pub(super) iris_radius: f32,
    /// Darkness of the socket around the eye.
    pub(super) socket: f32,
    pub(super) lashes: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Nose {
    /// Height of its tip below the middle of the head.
    pub(super) y: f32,
    pub(super) half_width: f32,
    pub(super) bridge: f32,
    /// How far it stands out.
    pub(super) lift: f32,
    pub(super) tip: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Mouth {
    /// Below the middle of the head.
    pub(super) y: f32,
    pub(super) half_width: f32,
    pub(super) upper: f32,
    pub(super) lower: f32,
    /// Positive lifts the corners.
    pub(super) bend: f32,
    pub(super) color: Color,
}

/// Hair of the lower face: how dense each part is, from 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Beard {
    pub(super) moustache: f32,
    pub(super) chin: f32,
    pub(super) cheeks: f32,
    pub(super) color: Color,
}

/// A mole, a scar or one of many freckles.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) radius: f32,
    pub(super) opacity: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Glasses {
    pub(super) half_width: f32,
    pub(super) half_height: f32,
    pub(super) roundness: f32,
    pub(super) thickness: f32,
    pub(super) color: Color,
}

impl Identity {
    /// A person of the distribution.
    pub(super) fn of(random: &mut Random) -> Self {
        let head = head(random);
        let skin = skin(random);
        let hair = hair(random, &head);
        let brows = brows(random, &hair);
        let eyes = eyes(random, &head);
        let nose = Nose {
            y: random.bell(0.27, 0.085),
            half_width: random.bell(0.17, 0.055).max(0.08),
            bridge: random.bell(0.06, 0.022).max(0.025),
            lift: random.bell(0.20, 0.05).max(0.08),
            tip: random.bell(0.08, 0.024).max(0.035),
        };
        let mouth = mouth(random, skin);
        let beard = beard(random, &hair);
        Self {
            skin,
            ears: Ears {
                half_height: random.bell(0.20, 0.05).max(0.1),
                spread: random.bell(0.05, 0.05),
                y: random.bell(0.06, 0.05),
            },
            brows,
            eyes,
            nose,
            mouth,
            beard,
            marks: marks(random),
            glasses: random.chance(0.16).then(|| glasses(random)),
            head,
            hair,
        }
    }
}

fn head(random: &mut Random) -> Head {
    Head {
        skull: Skull {
            half_width: random.bell(0.72, 0.07).clamp(0.56, 0.9),
            half_height: random.bell(1.0, 0.045),
            half_depth: random.bell(0.88, 0.04),
        },
        taper: random.bell(0.26, 0.13).clamp(0.0, 0.52),
        cheeks: random.bell(0.04, 0.035),
        jaw: random.unit(),
        neck: random.bell(0.44, 0.09),
    }
}

fn skin(random: &mut Random) -> Color {
    const TONES: [Color; 5] =
        [[0.97, 0.84, 0.76], [0.91, 0.73, 0.60], [0.77, 0.56, 0.41], [0.56, 0.37, 0.26], [0.34, 0.22, 0.17]];
    let tone = random.unit() * (TONES.len() - 1) as f32;
    let lighter = tone as usize;
    let color = mix(TONES[lighter], TONES[lighter + 1], tone - lighter as f32);
    let (red, blue) = (random.bell(1.0, 0.03), random.bell(1.0, 0.06));
    [color[0] * red, color[1], color[2] * blue]
}

fn hair(random: &mut Random, head: &Head) -> Hair {
    use HairStyle::*;
    // Repeated styles are the more frequent ones.
    const STYLES: [HairStyle; 16] =
        [Bald, Ring, Short, Short, Short, Short, Tall, Tall, Round, Round, Bob, Bob, Long, Long, Long, Knot];
    const COLORS: [Color; 11] = [
        [0.06, 0.05, 0.05],
        [0.13, 0.09, 0.07],
        [0.24, 0.15, 0.09],
        [0.38, 0.24, 0.13],
        [0.56, 0.39, 0.20],
        [0.80, 0.64, 0.38],
        [0.58, 0.24, 0.10],
        [0.52, 0.51, 0.50],
        [0.83, 0.82, 0.80],
        [0.42, 0.08, 0.16],
        [0.20, 0.28, 0.52],
    ];
    let style = STYLES[random.below(STYLES.len())];
    let color = mix(COLORS[random.below(COLORS.len())], COLORS[random.below(COLORS.len())], random.between(0.0, 0.3));
    let line = random.bell(0.60, 0.11).clamp(0.38, 0.84);
    let has_fringe = random.chance(0.25) && !matches!(style, Bald | Ring | Knot);
    Hair {
        style,
        color,
        line,
        opening: head.skull.half_width * random.bell(0.88, 0.06).clamp(0.7, 1.0),
        volume: match style {
            Bald => 0.0,
            Ring => random.between(0.02, 0.08),
            Short | Knot => random.between(0.03, 0.14),
            Tall | Bob | Long => random.between(0.06, 0.20),
            Round => random.between(0.18, 0.45),
        },
        parting: random.bell(0.0, 0.28),
        fringe: has_fringe.then(|| random.between(0.3, line)),
        curl: match style {
            Round => random.between(0.02, 0.05),
            _ => random.between(0.0, 0.025),
        },
    }
}

fn brows(random: &mut Random, hair: &Hair) -> Brows {
    Brows {
        half_length: random.bell(0.19, 0.03).max(0.1),
        half_thickness: random.bell(0.045, 0.022).max(0.012),
        arch: random.bell(0.05, 0.06),
        tilt: random.bell(0.0, 0.2),
        gap: random.bell(0.23, 0.06).max(0.13),
        color: shade(hair.color, random.between(0.5, 0.85)),
    }
}

fn eyes(random: &mut Random, head: &Head) -> Eyes {
    const IRISES: [Color; 6] = [
        [0.13, 0.08, 0.05],
        [0.28, 0.17, 0.08],
        [0.45, 0.33, 0.14],
        [0.30, 0.42, 0.24],
        [0.30, 0.47, 0.66],
        [0.46, 0.52, 0.56],
    ];
    let half_width = random.bell(0.165, 0.035).max(0.09);
    Eyes {
        half_spacing: head.skull.half_width * random.bell(0.47, 0.08).clamp(0.32, 0.64),
        y: random.bell(-0.10, 0.08),
        half_width,
        half_height: half_width * random.bell(0.54, 0.18).clamp(0.24, 0.95),
        tilt: random.bell(0.04, 0.17),
        iris: IRISES[random.below(IRISES.len())],
        iris_radius: half_width * random.bell(0.5, 0.06),
        socket: random.between(0.0, 0.35),
        lashes: random.between(0.010, 0.030),
    }
}

fn mouth(random: &mut Random, skin: Color) -> Mouth {
    let red = mix([0.70, 0.28, 0.28], [0.55, 0.20, 0.26], random.unit());
    Mouth {
        y: random.bell(0.57, 0.065),
        half_width: random.bell(0.27, 0.07).max(0.13),
        upper: random.bell(0.055, 0.03).max(0.012),
        lower: random.bell(0.08, 0.036).max(0.018),
        bend: random.bell(0.0, 0.022),
        color: mix(shade(skin, 0.8), red, random.between(0.1, 1.0)),
    }
}

fn beard(random: &mut Random, hair: &Hair) -> Beard {
    let color = shade(hair.color, random.between(0.7, 1.0));
    let density = random.between(0.35, 0.95);
    let [moustache, chin, cheeks] = match random.below(20) {
        0 | 1 => [density, density, density],
        2 | 3 => [density, density, 0.0],
        4 => [density, 0.0, 0.0],
        5 => [0.0, density, 0.0],
        // Stubble.
        6 | 7 => [density * 0.35; 3],
        _ => [0.0; 3],
    };
    Beard { moustache, chin, cheeks, color }
}

fn marks(random: &mut Random) -> Vec<Mark> {
    let mut marks = Vec::new();
    if random.chance(0.15) {
        let opacity = random.between(0.25, 0.5);
        for _ in 0..14 + random.below(20) {
            let (x, y) = (random.bell(0.0, 0.26), random.bell(0.14, 0.10));
            marks.push(Mark { x, y, radius: random.between(0.012, 0.024), opacity });
        }
    }
    let moles = [0, 0, 0, 1, 1, 2][random.below(6)];
    for _ in 0..moles {
        let (x, y) = (random.between(-0.5, 0.5), random.between(-0.3, 0.75));
        marks.push(Mark { x, y, radius: random.between(0.025, 0.05), opacity: 0.8 });
    }
    marks
}

fn glasses(random: &mut Random) -> Glasses {
    const FRAMES: [Color; 5] = [[0.05; 3], [0.25, 0.15, 0.1], [0.5, 0.5, 0.52], [0.6, 0.1, 0.12], [0.1, 0.15, 0.35]];
    Glasses {
        half_width: random.between(0.18, 0.27),
        half_height: random.between(0.11, 0.2),
        roundness: random.unit(),
        thickness: random.between(0.015, 0.04),
        color: FRAMES[random.below(FRAMES.len())],
    }
}
