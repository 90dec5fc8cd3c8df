//! A picture in the making: smooth shapes laid over each other. (tiny-skia has no signed distances with soft edges and
//! rounds to bytes after every shape: it would paint other pictures, and every accuracy of a seed would change.)

use super::view::Turn;

/// A color; 0 is black and 1 is as bright as a screen shows.
pub(super) type Color = [f32; 3];

/// Mixes two colors; `share` is how much of the second.
pub(super) fn mix(first: Color, second: Color, share: f32) -> Color {
    std::array::from_fn(|channel| first[channel] + (second[channel] - first[channel]) * share)
}

/// A darker or brighter version of a color.
pub(super) fn shade(color: Color, factor: f32) -> Color {
    color.map(|channel| channel * factor)
}

/// Where the plane of the face lies in the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Picture position of the middle of the head, in pixels.
    pub(super) middle: [f32; 2],
    /// Pixels per unit of the face.
    pub(super) scale: f32,
    /// How far the head is tilted to the side.
    pub(super) roll: Turn,
}

impl Frame {
    /// Position on the plane of the face of a pixel's middle.
    fn plane(&self, column: usize, row: usize) -> [f32; 2] {
        let x = (column as f32 + 0.5 - self.middle[0]) / self.scale;
        let y = (row as f32 + 0.5 - self.middle[1]) / self.scale;
        let Turn { sine, cosine } = self.roll;
        [x * cosine + y * sine, y * cosine - x * sine]
    }

    /// The pixels a circle on the plane of the face may touch: columns and rows.
    fn pixels(&self, circle: Circle, size: usize) -> [std::ops::Range<usize>; 2] {
        let Turn { sine, cosine } = self.roll;
        let x = self.middle[0] + self.scale * (circle.u * cosine - circle.v * sine);
        let y = self.middle[1] + self.scale * (circle.u * sine + circle.v * cosine);
        let reach = circle.radius * self.scale + 1.0;
        [x, y].map(|middle| {
            // Conversion of a negative float to an integer gives zero, which is what is wanted.
            let first = (middle - reach) as usize;
            first.min(size)..((middle + reach + 1.0) as usize).min(size)
        })
    }
}

/// The part of the plane that a shape may cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circle {
    pub(super) u: f32,
    pub(super) v: f32,
    pub(super) radius: f32,
}

impl Circle {
    /// Large enough for every picture.
    pub(super) const EVERYWHERE: Self = Self { u: 0.0, v: 0.0, radius: 1e4 };
}

/// How a shape is colored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) color: Color,
    /// From 0, invisible, to 1.
    pub(super) opacity: f32,
    /// Width of the fading edge in units of the face; an edge is never sharper than one pixel.
    pub(super) edge: f32,
}

impl Paint {
    /// Covers what is below, with an edge as sharp as the pixels allow.
    pub(super) fn solid(color: Color) -> Self {
        Self { color, opacity: 1.0, edge: 0.0 }
    }

    /// Lets some of what is below shine through, with a fading edge.
    pub(super) fn soft(color: Color, opacity: f32, edge: f32) -> Self {
        Self { color, opacity, edge }
    }
}

/// A square picture with the plane of a face in it.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    size: usize,
    frame: Frame,
    pixels: Vec<Color>,
}

impl Canvas {
    pub(super) fn new(size: usize, frame: Frame) -> Self {
        Self { size, frame, pixels: vec![[0.0; 3]; size * size] }
    }

    /// Lays a shape over the picture; `distance` is its signed distance on the plane of the face.
    pub(super) fn fill(&mut self, within: Circle, paint: Paint, distance: impl Fn(f32, f32) -> f32) {
        let [columns, rows] = self.frame.pixels(within, self.size);
        let softness = self.frame.scale / (paint.edge * self.frame.scale).max(1.0);
        for row in rows {
            for column in columns.clone() {
                let [u, v] = self.frame.plane(column, row);
                let cover = (0.5 - distance(u, v) * softness).clamp(0.0, 1.0) * paint.opacity;
                let pixel = &mut self.pixels[row * self.size + column];
                *pixel = mix(*pixel, paint.color, cover);
            }
        }
    }

    /// Replaces every pixel, given its place on the plane of the face.
    pub(super) fn change(&mut self, mut change: impl FnMut([f32; 2], Color) -> Color) {
        for row in 0..self.size {
            for column in 0..self.size {
                let place = self.frame.plane(column, row);
                let pixel = &mut self.pixels[row * self.size + column];
                *pixel = change(place, *pixel);
            }
        }
    }

    /// Mixes every pixel with its neighbors: `amount` of 0.25 gives the weights 1, 2, 1.
    pub(super) fn blur(&mut self, amount: f32) {
        let size = self.size;
        // One pass along rows and one along columns; pixels at the border repeat.
        for step in [1, size] {
            let across = |index: usize| {
                if step == 1 { index % size } else { index / size }
            };
            let source = self.pixels.clone();
            for (index, pixel) in self.pixels.iter_mut().enumerate() {
                let before = if across(index) == 0 { index } else { index - step };
                let after = if across(index) == size - 1 { index } else { index + step };
                let beside = mix(source[before], source[after], 0.5);
                *pixel = mix(source[index], beside, 2.0 * amount);
            }
        }
    }

    /// The picture as bytes, row by row, red before green before blue.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let channels = self.pixels.iter().flatten();
        channels.map(|channel| (channel.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::ellipse;
    use super::*;

    fn canvas(size: usize, roll: f32) -> Canvas {
        let middle = [size as f32 / 2.0; 2];
        Canvas::new(size, Frame { middle, scale: size as f32 / 2.0, roll: Turn::of(roll) })
    }

    #[test]
    fn coverage_of_a_disc_is_its_area() {
        let mut canvas = canvas(64, 0.3);
        let within = Circle { u: 0.1, v: -0.2, radius: 0.5 };
        canvas.fill(within, Paint::solid([1.0; 3]), |u, v| ellipse(u - 0.1, v + 0.2, 0.5, 0.5));
        let covered: f32 = canvas.pixels.iter().map(|pixel| pixel[0]).sum();
        // A disc of radius 16 pixels covers pi * 256.
        assert!((covered - 804.2).abs() < 2.0, "{covered}");
    }

    #[test]
    fn bounding_circle_does_not_cut_the_shape() {
        let disc = |u: f32, v: f32| ellipse(u - 0.4, v - 0.5, 0.3, 0.3);
        let (mut bounded, mut unbounded) = (canvas(40, 0.5), canvas(40, 0.5));
        bounded.fill(Circle { u: 0.4, v: 0.5, radius: 0.3 }, Paint::solid([1.0; 3]), disc);
        unbounded.fill(Circle::EVERYWHERE, Paint::solid([1.0; 3]), disc);
        assert_eq!(bounded.bytes(), unbounded.bytes());
        assert!(bounded.bytes().contains(&255));
    }

    #[test]
    fn blur_keeps_the_sum_and_spreads_a_point() {
        let mut canvas = canvas(9, 0.0);
        canvas.pixels[4 * 9 + 4] = [1.0; 3];
        canvas.blur(0.25);
        let total: f32 = canvas.pixels.iter().map(|pixel| pixel[0]).sum();
        assert!((total - 1.0).abs() < 1e-6);
        // By hand: (1/4, 1/2, 1/4) along rows times the same along columns.
        assert_eq!(canvas.pixels[4 * 9 + 4][0], 0.25);
        assert_eq!(canvas.pixels[3 * 9 + 3][0], 0.0625);
    }
}
