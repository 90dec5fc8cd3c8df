//! Brings a face to its place in a picture by five points of it.

use image::{Rgb, RgbImage};

/// Eyes, nose and corners of the mouth, those on the left of the picture first, as `[x, y]` in pixels.
pub(super) type Points = [[f64; 2]; 5];

/// Where arcface_torch has them in a picture of [`TEMPLATE_SIZE`] pixels.
const TEMPLATE: Points =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];
const TEMPLATE_SIZE: f64 = 112.0;

/// A turn, a scale and a shift: `[x, y]` becomes `[a·x - b·y + shift[0], b·x + a·y + shift[1]]`.
#[derive(Clone, Copy, Debug)]
struct Similarity {
    a: f64,
    b: f64,
    shift: [f64; 2],
}

impl Similarity {
    /// The one that brings points nearest to others, in the sum of squares; none for points that are all the same.
    ///
    /// # Source
    ///
    /// Umeyama: Least-Squares Estimation of Transformation Parameters Between Two Point Patterns, 1991. In the plane, and
    /// without a reflection, it is the line of best fit of complex numbers.
    fn between(from: &Points, to: &Points) -> Option<Self> {
        let mean = |points: &Points| [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / 5.0);
        let (center, target) = (mean(from), mean(to));
        let (mut a, mut b, mut spread) = (0.0, 0.0, 0.0);
        for (from, to) in from.iter().zip(to) {
            let [x, y] = [from[0] - center[0], from[1] - center[1]];
            let [u, v] = [to[0] - target[0], to[1] - target[1]];
            a += x * u + y * v;
            b += x * v - y * u;
            spread += x * x + y * y;
        }
        let [a, b] = [a / spread, b / spread];
        let shift = [target[0] - a * center[0] + b * center[1], target[1] - b * center[0] - a * center[1]];
        // Points that are all the same, or turned in no direction.
        (spread > 0.0 && a.hypot(b) > 1e-9).then_some(Self { a, b, shift })
    }

    /// Where a point comes from.
    fn back(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [x, y] = [x - self.shift[0], y - self.shift[1]];
        let square = self.a * self.a + self.b * self.b;
        [(self.a * x + self.b * y) / square, (self.a * y - self.b * x) / square]
    }
}

fn template(side: u32) -> Points {
    TEMPLATE.map(|point| point.map(|place| place * f64::from(side) / TEMPLATE_SIZE))
}

/// Sides of a pixel of the picture in one of a face of this side, where its points can be brought to the template.
pub(super) fn scale(points: &Points, side: u32) -> Option<f64> {
    Similarity::between(points, &template(side)).map(|similarity| similarity.a.hypot(similarity.b))
}

/// A square picture of a face, brought to the template by its points, with two-way linear interpolation and black where
/// there is no picture.
pub(super) fn align(picture: &RgbImage, points: &Points, side: u32) -> Result<RgbImage, String> {
    let similarity = Similarity::between(points, &template(side)).ok_or("its points are all at one place")?;
    Ok(RgbImage::from_fn(side, side, |x, y| at(picture, similarity.back([x.into(), y.into()]))))
}

fn at(picture: &RgbImage, [x, y]: [f64; 2]) -> Rgb<u8> {
    let [left, top] = [x.floor(), y.floor()];
    let mut sums = [0.0; 3];
    for (column, row) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
        let (place, line) = (left + column, top + row);
        let share = (1.0 - (x - place).abs()) * (1.0 - (y - line).abs());
        if place >= 0.0 && line >= 0.0 && place < picture.width().into() && line < picture.height().into() {
            let pixel = picture.get_pixel(place as u32, line as u32).0;
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += share * f64::from(value));
        }
    }
    Rgb(sums.map(|sum| sum.round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected by python/umeyama.py, with NumPy 2.4.6; the second face is seen in a mirror.
    #[test]
    fn the_similarity_is_umeyamas() {
        let faces: [(Points, [f64; 4]); 2] = [
            (
                [[310.5, 220.25], [402.0, 251.5], [340.75, 300.0], [285.5, 333.0], [370.25, 361.5]],
                [0.335778636, -0.09852545, -87.635565733, 7.109693835],
            ),
            (
                [[80.0, 40.0], [20.0, 42.0], [50.0, 75.0], [72.0, 101.0], [28.0, 99.0]],
                [0.111754217, -0.001597027, 50.324421419, 64.001380211],
            ),
        ];
        for (face, expected) in faces {
            let Similarity { a, b, shift } = Similarity::between(&face, &TEMPLATE).expect("the points are apart");
            for (found, expected) in [a, b, shift[0], shift[1]].into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-8, "{found}, {expected}");
            }
            let similarity = Similarity { a, b, shift };
            let [x, y] = similarity.back([a * 3.0 - b * 5.0 + shift[0], b * 3.0 + a * 5.0 + shift[1]]);
            assert!((x - 3.0).abs() < 1e-9 && (y - 5.0).abs() < 1e-9);
        }
    }

    /// Every pixel says where it is.
    fn places(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 7]))
    }

    #[test]
    fn a_face_that_is_shifted_and_enlarged_comes_to_its_place() {
        let same = align(&places(112, 112), &TEMPLATE, 112).expect("the points are apart");
        assert_eq!(same, places(112, 112));
        // Twice as large, 10 to the right and 4 down.
        let face = TEMPLATE.map(|[x, y]| [2.0 * x + 10.0, 2.0 * y + 4.0]);
        let found = align(&places(250, 230), &face, 112).expect("the points are apart");
        for (x, y) in [(0, 0), (56, 30), (111, 100)] {
            assert_eq!(found.get_pixel(x, y).0, [2 * x as u8 + 10, 2 * y as u8 + 4, 7]);
        }
        // To half the size, and beyond the edge of the picture, which is black.
        let found = align(&places(112, 60), &TEMPLATE, 56).expect("the points are apart");
        assert_eq!(found.get_pixel(20, 10).0, [40, 20, 7]);
        assert_eq!(found.get_pixel(20, 40).0, [0, 0, 0]);
    }

    #[test]
    fn points_at_one_place_are_refused() {
        let error = align(&places(9, 9), &[[3.0, 4.0]; 5], 8).expect_err("there is no direction");
        assert_eq!(error, "its points are all at one place");
    }
}
