//! Small changes to a training picture that leave the person recognisable.

use super::face_set::Face;
use super::random::random;

/// Brightness changes by at most this share of the full range.
const BRIGHTNESS: f32 = 0.15;
/// A picture moves by at most one part in so many of its side length.
const SHIFT_PARTS: usize = 16;

/// Purposes of a random number; each picture draws one number per purpose.
const FLIP: u64 = 0;
const SHIFT_DOWN: u64 = 1;
const SHIFT_RIGHT: u64 = 2;
const BRIGHTEN: u64 = 3;

/// How one picture is changed in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Change {
    mirrored: bool,
    down: isize,
    right: isize,
    brighter: f32,
}

impl Change {
    /// The change of a picture; it depends on these three numbers and on nothing else, so a
    /// resumed run sees the pictures that an uninterrupted one would have seen.
    pub(crate) fn of(seed: u64, epoch: usize, picture: usize, size: usize) -> Self {
        let draw = |purpose| random(&[seed, epoch as u64, picture as u64, purpose]);
        let most = (size / SHIFT_PARTS) as isize;
        let shift = |purpose| (draw(purpose) % (2 * most as u64 + 1)) as isize - most;
        // 24 bits are what an f32 holds exactly.
        let unit = (draw(BRIGHTEN) >> 40) as f32 / (1u64 << 24) as f32;
        Self {
            mirrored: draw(FLIP) % 2 == 1,
            down: shift(SHIFT_DOWN),
            right: shift(SHIFT_RIGHT),
            brighter: BRIGHTNESS * (2.0 * unit - 1.0),
        }
    }

    /// No change but mirroring.
    pub(crate) fn mirror() -> Self {
        Self { mirrored: true, ..Self::default() }
    }

    /// Appends the changed picture: three planes (red, green, blue) of values in `[-1, 1]`.
    pub(crate) fn append(self, face: &Face, size: usize, out: &mut Vec<f32>) {
        let last = size as isize - 1;
        for color in 0..3 {
            for row in 0..size as isize {
                // Beyond the border the border is repeated.
                let row = (row - self.down).clamp(0, last) as usize;
                for column in 0..size as isize {
                    let column = (column - self.right).clamp(0, last);
                    let column = if self.mirrored { last - column } else { column } as usize;
                    let byte = face.pixels[(row * size + column) * 3 + color];
                    let value = f32::from(byte) / 127.5 - 1.0 + 2.0 * self.brighter;
                    out.push(value.clamp(-1.0, 1.0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Face {
        // Two pixels by two: the red channel counts 0, 1, 2, 3 and the others are white.
        let pixels = (0..4u8).flat_map(|pixel| [pixel, 255, 255]).collect::<Vec<u8>>();
        Face { person: 0, pixels: pixels.into(), file: None }
    }

    fn red(change: Change) -> Vec<u8> {
        let mut out = Vec::new();
        change.append(&face(), 2, &mut out);
        assert_eq!(out.len(), 12);
        out[..4].iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect()
    }

    #[test]
    fn no_change_keeps_the_pixels() {
        assert_eq!(red(Change::default()), [0, 1, 2, 3]);
    }

    #[test]
    fn mirroring_swaps_left_and_right() {
        assert_eq!(red(Change::mirror()), [1, 0, 3, 2]);
    }

    #[test]
    fn shifting_repeats_the_border() {
        assert_eq!(red(Change { down: 1, ..Change::default() }), [0, 1, 0, 1]);
        assert_eq!(red(Change { right: -1, ..Change::default() }), [1, 1, 3, 3]);
    }

    #[test]
    fn changes_differ_between_epochs_and_repeat_within_one() {
        let change = |epoch| (0..8).map(|picture| Change::of(7, epoch, picture, 32)).collect::<Vec<_>>();
        assert_eq!(change(1), change(1));
        assert_ne!(change(1), change(2));
    }
}
