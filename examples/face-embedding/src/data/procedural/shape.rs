//! Signed distances: negative inside a shape, positive outside, in the units of the arguments.

/// An ellipse around the origin. Exact on its outline and close to it, which is where it matters.
pub(super) fn ellipse(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    let (across, along) = (x / half_width, y / half_height);
    let level = (across * across + along * along).sqrt();
    let (across, along) = (across / half_width, along / half_height);
    let slope = (across * across + along * along).sqrt();
    // At the very middle level and slope are both zero.
    if slope < 1e-6 { -half_width.min(half_height) } else { level * (level - 1.0) / slope }
}

/// A rectangle around the origin with rounded corners.
pub(super) fn rounded_box(x: f32, y: f32, half_width: f32, half_height: f32, radius: f32) -> f32 {
    let radius = radius.min(half_width).min(half_height);
    let (right, below) = (x.abs() - half_width + radius, y.abs() - half_height + radius);
    let corner = (right.max(0.0) * right.max(0.0) + below.max(0.0) * below.max(0.0)).sqrt();
    corner + right.max(below).min(0.0) - radius
}

/// A leaf along the x axis that is pointed at both ends and reaches `above` and `below` the axis.
pub(super) fn leaf(x: f32, y: f32, half_width: f32, above: f32, below: f32) -> f32 {
    let across = x / half_width;
    let swell = 1.0 - across * across;
    let edge = (-y - above * swell).max(y - below * swell);
    // Outside the ends the swell is negative and the distance grows with the square; the box keeps
    // it honest.
    edge.max(x.abs() - half_width)
}

/// A straight stroke between two points.
pub(super) fn stroke(x: f32, y: f32, from: [f32; 2], to: [f32; 2], half_thickness: f32) -> f32 {
    let (along_x, along_y) = (to[0] - from[0], to[1] - from[1]);
    let (x, y) = (x - from[0], y - from[1]);
    let length = (along_x * along_x + along_y * along_y).max(1e-12);
    let place = ((x * along_x + y * along_y) / length).clamp(0.0, 1.0);
    let (x, y) = (x - along_x * place, y - along_y * place);
    (x * x + y * y).sqrt() - half_thickness
}

/// A smooth wave of period 1 between -1 and 1: parabolas in place of a sine.
pub(super) fn wave(phase: f32) -> f32 {
    let phase = phase - phase.floor();
    let half = 2.0 * phase - if phase < 0.5 { 0.0 } else { 1.0 };
    let hump = 4.0 * half * (1.0 - half);
    if phase < 0.5 { hump } else { -hump }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_are_where_the_distance_is_zero() {
        for (name, distance) in [
            ("ellipse, right", ellipse(2.0, 0.0, 2.0, 1.0)),
            ("ellipse, top", ellipse(0.0, -1.0, 2.0, 1.0)),
            ("box, side", rounded_box(2.0, 0.3, 2.0, 1.0, 0.2)),
            ("box, corner", rounded_box(1.8 + 0.12, 0.8 + 0.16, 2.0, 1.0, 0.2)),
            ("leaf, above", leaf(0.0, -0.3, 1.0, 0.3, 0.2)),
            ("leaf, below", leaf(0.5, 0.15, 1.0, 0.3, 0.2)),
            ("stroke, beside", stroke(1.0, 0.1, [0.0, 0.0], [2.0, 0.0], 0.1)),
            ("stroke, end", stroke(2.1, 0.0, [0.0, 0.0], [2.0, 0.0], 0.1)),
        ] {
            assert!(distance.abs() < 1e-6, "{name}: {distance}");
        }
    }

    #[test]
    fn distances_are_negative_inside_and_positive_outside() {
        assert!(ellipse(0.0, 0.0, 2.0, 1.0) < 0.0 && ellipse(1.9, 0.9, 2.0, 1.0) > 0.0);
        assert!(rounded_box(1.9, 0.5, 2.0, 1.0, 0.5) < 0.0);
        assert!(rounded_box(1.95, 0.95, 2.0, 1.0, 0.5) > 0.0);
        assert!(leaf(0.0, 0.1, 1.0, 0.3, 0.2) < 0.0 && leaf(1.1, 0.0, 1.0, 0.3, 0.2) > 0.0);
    }

    #[test]
    fn wave_repeats_and_stays_within_one() {
        for step in 0..100 {
            let phase = step as f32 / 64.0;
            assert!((wave(phase) - wave(phase + 1.0)).abs() < 1e-5);
            assert!(wave(phase).abs() <= 1.0);
        }
        assert_eq!((wave(0.0), wave(0.25), wave(0.75)), (0.0, 1.0, -1.0));
    }
}
