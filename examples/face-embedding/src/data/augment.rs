//! Small changes to a training picture that leave the person recognisable.

use image::imageops::{FilterType, blur, resize};
use image::{ImageBuffer, Rgb};

use super::random::{Random, random};
use crate::settings::augmentation::Augmentation;

/// Purposes of a random number; each picture draws one number per purpose.
const FLIP: u64 = 0;
const SHIFT_DOWN: u64 = 1;
const SHIFT_RIGHT: u64 = 2;
const BRIGHTEN: u64 = 3;
const OTHERS: u64 = 4;

/// How far a blur reaches, in sides of the picture: 0.4 to 1.2 pixels of 40.
const BLUR: [f32; 2] = [0.01, 0.03];
/// The share of a picture that is covered; the sides of the rectangle are at most as one to two.
const COVERED: [f32; 2] = [0.02, 0.25];

/// How one picture is changed in one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    mirrored: bool,
    down: isize,
    right: isize,
    brighter: f32,
    /// In radians.
    turned: f32,
    /// Factor on the size of what is on the picture.
    enlarged: f32,
    /// Factor on the difference to the mean of the picture.
    contrast: f32,
    /// Spread in pixels; 0 for none.
    blurred: f32,
    /// The resolution is divided by this.
    coarsened: u32,
    /// First row, first column, height and width of what is covered.
    covered: [usize; 4],
}

impl Change {
    /// No change at all.
    pub(crate) const NONE: Self = Self {
        mirrored: false,
        down: 0,
        right: 0,
        brighter: 0.0,
        turned: 0.0,
        enlarged: 1.0,
        contrast: 1.0,
        blurred: 0.0,
        coarsened: 1,
        covered: [0; 4],
    };
    /// No change but mirroring.
    pub(crate) const MIRROR: Self = Self { mirrored: true, ..Self::NONE };

    /// This change, and so many pixels down and to the right; beyond the border the border is repeated.
    pub(crate) fn moved(self, [down, right]: [isize; 2]) -> Self {
        Self { down: self.down + down, right: self.right + right, ..self }
    }

    /// The change of a picture; it depends on the settings and these numbers and on nothing else, so a resumed run sees
    /// the pictures that an uninterrupted one would have seen.
    pub(crate) fn of(settings: &Augmentation, seed: u64, epoch: usize, picture: usize, size: usize) -> Self {
        let draw = |purpose| random(&[seed, epoch as u64, picture as u64, purpose]);
        let amount = |setting: Option<f64>| setting.unwrap_or(0.0) as f32;
        let most = (settings.shift.unwrap_or(0.0) * size as f64) as isize;
        let shift = |purpose| (draw(purpose) % (2 * most as u64 + 1)) as isize - most;
        // 24 bits are what an f32 holds exactly.
        let unit = (draw(BRIGHTEN) >> 40) as f32 / (1u64 << 24) as f32;
        // Every picture draws all of these, so that one setting does not change what another draws.
        let mut others = Random::of(draw(OTHERS), &[]);
        let mut either_way = |setting| amount(setting) * others.between(-1.0, 1.0);
        let (turned, zoom, contrast) =
            (either_way(settings.rotation), either_way(settings.zoom), either_way(settings.contrast));
        let (blurs, spread) = (others.chance(amount(settings.blur)), others.between(BLUR[0], BLUR[1]));
        let (coarsens, factor) = (others.chance(amount(settings.low_resolution)), 2 + others.below(2) as u32);
        let (covers, covered) = (others.chance(amount(settings.erasing)), rectangle(&mut others, size));
        Self {
            mirrored: settings.mirror == Some(true) && draw(FLIP) % 2 == 1,
            down: shift(SHIFT_DOWN),
            right: shift(SHIFT_RIGHT),
            brighter: amount(settings.brightness) * (2.0 * unit - 1.0),
            turned,
            enlarged: 1.0 + zoom,
            contrast: 1.0 + contrast,
            blurred: if blurs { spread * size as f32 } else { 0.0 },
            coarsened: if coarsens { factor } else { 1 },
            covered: if covers { covered } else { [0; 4] },
        }
    }

    /// Appends the changed picture: three planes (red, green, blue) of values in `[-1, 1]`.
    pub(crate) fn append(self, pixels: &[u8], size: usize, out: &mut Vec<f32>) {
        let begin = out.len();
        self.place(pixels, size, out);
        let values = &mut out[begin..];
        if self.coarsened > 1 || self.blurred > 0.0 {
            self.soften(values, size);
        }
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        for value in values.iter_mut() {
            let contrasted = if self.contrast == 1.0 { *value } else { mean + (*value - mean) * self.contrast };
            *value = (contrasted + 2.0 * self.brighter).clamp(-1.0, 1.0);
        }
        let [first_row, first_column, height, width] = self.covered;
        for plane in values.chunks_exact_mut(size * size) {
            for row in plane.chunks_exact_mut(size).skip(first_row).take(height) {
                // Middle grey.
                row[first_column..first_column + width].fill(0.0);
            }
        }
    }

    /// The picture moved, turned and enlarged.
    fn place(self, pixels: &[u8], size: usize, out: &mut Vec<f32>) {
        let last = size as isize - 1;
        let value = |row: isize, column: isize, color: usize| {
            // Beyond the border the border is repeated.
            let (row, column) = (row.clamp(0, last) as usize, column.clamp(0, last));
            let column = if self.mirrored { last - column } else { column } as usize;
            f32::from(pixels[(row * size + column) * 3 + color]) / 127.5 - 1.0
        };
        let moves_only = self.turned == 0.0 && self.enlarged == 1.0;
        let (sin, cos) = (self.turned.sin() / self.enlarged, self.turned.cos() / self.enlarged);
        let middle = 0.5 * last as f32;
        for color in 0..3 {
            for row in 0..size as isize {
                for column in 0..size as isize {
                    let (row, column) = (row - self.down, column - self.right);
                    if moves_only {
                        out.push(value(row, column, color));
                        continue;
                    }
                    let (y, x) = (row as f32 - middle, column as f32 - middle);
                    let (y, x) = (cos * y + sin * x + middle, cos * x - sin * y + middle);
                    let (top, left) = (y.floor(), x.floor());
                    let (below, beside) = (y - top, x - left);
                    let at = |down: isize, right: isize| value(top as isize + down, left as isize + right, color);
                    let above = at(0, 0) + beside * (at(0, 1) - at(0, 0));
                    let under = at(1, 0) + beside * (at(1, 1) - at(1, 0));
                    out.push(above + below * (under - above));
                }
            }
        }
    }

    /// The picture with less detail.
    fn soften(self, values: &mut [f32], size: usize) {
        let pixels = size * size;
        let side = size as u32;
        let mut picture = ImageBuffer::from_fn(side, side, |x, y| {
            let at = y as usize * size + x as usize;
            Rgb([values[at], values[pixels + at], values[2 * pixels + at]])
        });
        if self.coarsened > 1 {
            let small = (side / self.coarsened).max(1);
            picture = resize(&resize(&picture, small, small, FilterType::Triangle), side, side, FilterType::Triangle);
        }
        if self.blurred > 0.0 {
            picture = blur(&picture, self.blurred);
        }
        for (at, pixel) in picture.pixels().enumerate() {
            for color in 0..3 {
                values[color * pixels + at] = pixel.0[color];
            }
        }
    }
}

/// First row, first column, height and width of a rectangle inside a picture.
fn rectangle(random: &mut Random, size: usize) -> [usize; 4] {
    let area = random.between(COVERED[0], COVERED[1]);
    let tall = random.between(0.5, 2.0);
    let side = |share: f32| ((share.sqrt() * size as f32) as usize).clamp(1, size);
    let (height, width) = (side(area * tall), side(area / tall));
    [random.below(size - height + 1), random.below(size - width + 1), height, width]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Vec<u8> {
        // Two pixels by two: the red channel counts 0, 1, 2, 3 and the others are white.
        (0..4u8).flat_map(|pixel| [pixel, 255, 255]).collect()
    }

    fn red(change: Change) -> Vec<u8> {
        let mut out = Vec::new();
        change.append(&face(), 2, &mut out);
        assert_eq!(out.len(), 12);
        out[..4].iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect()
    }

    #[test]
    fn no_change_keeps_the_pixels() {
        assert_eq!(red(Change::NONE), [0, 1, 2, 3]);
    }

    #[test]
    fn a_moved_picture_repeats_its_border() {
        assert_eq!(red(Change::NONE.moved([1, 0])), [0, 1, 0, 1]);
        assert_eq!(red(Change::NONE.moved([0, -1])), [1, 1, 3, 3]);
    }

    #[test]
    fn mirroring_swaps_left_and_right() {
        assert_eq!(red(Change::MIRROR), [1, 0, 3, 2]);
    }

    #[test]
    fn shifting_repeats_the_border() {
        assert_eq!(red(Change { down: 1, ..Change::NONE }), [0, 1, 0, 1]);
        assert_eq!(red(Change { right: -1, ..Change::NONE }), [1, 1, 3, 3]);
    }

    #[test]
    fn changes_differ_between_epochs_and_repeat_within_one() {
        let settings = Augmentation::default().resolve(true).expect("defaults are in range");
        let change = |epoch| (0..8).map(|picture| Change::of(&settings, 7, epoch, picture, 32)).collect::<Vec<_>>();
        assert_eq!(change(1), change(1));
        assert_ne!(change(1), change(2));
    }

    /// By hand: the right column becomes the first row, and the other way round.
    #[test]
    fn a_quarter_turn_turns_the_picture() {
        let quarter = std::f32::consts::FRAC_PI_2;
        assert_eq!(red(Change { turned: quarter, ..Change::NONE }), [1, 3, 0, 2]);
        assert_eq!(red(Change { turned: -quarter, ..Change::NONE }), [2, 0, 3, 1]);
    }

    /// A picture of 4 x 4 with a value per column, halved: by hand, the middle columns are at 1.25 and 1.75.
    #[test]
    fn enlarging_keeps_the_middle() {
        let pixels: Vec<u8> = (0..16).flat_map(|pixel| [40 * (pixel % 4); 3]).collect();
        let mut out = Vec::new();
        Change { enlarged: 2.0, ..Change::NONE }.append(&pixels, 4, &mut out);
        let row: Vec<f32> = out[..4].iter().map(|value| ((value + 1.0) * 127.5).round()).collect();
        assert_eq!(row, [30.0, 50.0, 70.0, 90.0]);
    }

    #[test]
    fn contrast_is_around_the_mean_and_a_cover_is_grey() {
        let pixels: Vec<u8> = (0..16).flat_map(|pixel| [if pixel < 8 { 100 } else { 120 }; 3]).collect();
        let of = |change: Change| {
            let mut out = Vec::new();
            change.append(&pixels, 4, &mut out);
            out[..16].iter().map(|value| (value + 1.0) * 127.5).collect::<Vec<f32>>()
        };
        // The mean is 110.
        let contrasted = of(Change { contrast: 1.5, ..Change::NONE });
        assert!((contrasted[0] - 95.0).abs() < 1e-3 && (contrasted[15] - 125.0).abs() < 1e-3, "{contrasted:?}");
        let covered = of(Change { covered: [1, 2, 2, 2], ..Change::NONE });
        let grey: Vec<usize> = (0..16).filter(|&at| covered[at] == 127.5).collect();
        assert_eq!(grey, [6, 7, 10, 11]);
    }

    #[test]
    fn less_detail_keeps_the_mean_and_takes_the_edges() {
        let size = 24;
        let pixels: Vec<u8> = (0..size * size).flat_map(|pixel| [if pixel % 2 == 0 { 60 } else { 200 }; 3]).collect();
        for change in [Change { coarsened: 2, ..Change::NONE }, Change { blurred: 1.0, ..Change::NONE }] {
            let mut out = Vec::new();
            change.append(&pixels, size, &mut out);
            let mean = out.iter().sum::<f32>() / out.len() as f32;
            // Between 60 and 200: 130 of 255.
            assert!((mean - (130.0 / 127.5 - 1.0)).abs() < 0.02, "{change:?}: {mean}");
            let rough = out.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f32>() / out.len() as f32;
            // It was 140 of 127.5.
            assert!(rough < 0.4, "{change:?}: {rough}");
        }
    }

    /// How often a thing happens is its setting, and no setting moves what another draws.
    #[test]
    fn settings_are_shares_and_bounds() {
        let settings = Augmentation { erasing: Some(0.3), ..Augmentation::default() }.resolve(true).expect("in range");
        let others = Augmentation { blur: Some(0.9), rotation: Some(0.0), ..settings.clone() };
        let of = |settings: &Augmentation| (0..4000).map(|at| Change::of(settings, 1, 2, at, 40)).collect::<Vec<_>>();
        let (changes, other_changes) = (of(&settings), of(&others));
        let covered = changes.iter().filter(|change| change.covered != [0; 4]).count();
        // Within five deviations of 1200, each sqrt(4000 * 0.3 * 0.7) = 29.
        assert!(covered.abs_diff(1200) < 145, "{covered}");
        for (change, other) in changes.iter().zip(&other_changes) {
            assert_eq!((change.covered, change.contrast, change.down), (other.covered, other.contrast, other.down));
            assert!(change.turned.abs() <= 0.17 && other.turned == 0.0, "{change:?}");
            let [row, column, height, width] = change.covered;
            assert!(row + height <= 40 && column + width <= 40, "{change:?}");
        }
    }
}
