//! Gradients by finite differences, in `f64`.

use crate::close::{Tolerance, compare};

/// The step, for numbers of size 1 and a function that bends over a length of 1.
const STEP: f64 = 1e-3;

/// Up to this many inputs every coordinate is checked; beyond it, this many directions.
const COORDINATES: usize = 12;
const DIRECTIONS: usize = 12;

/// The derivative of `function` at a point along a direction, by the five-point stencil:
///
/// ```text
/// (f(x - 2h) - 8·f(x - h) + 8·f(x + h) - f(x + 2h)) / 12h
/// ```
///
/// Its error falls with the fourth power of the step `h`.
pub fn five_point(function: &mut impl FnMut(&[f64]) -> f64, at: &[f64], direction: &[f64], step: f64) -> f64 {
    let mut value = |offset: f64| {
        let moved: Vec<f64> = at.iter().zip(direction).map(|(x, d)| x + offset * step * d).collect();
        function(&moved)
    };
    (value(-2.0) - 8.0 * value(-1.0) + 8.0 * value(1.0) - value(2.0)) / (12.0 * step)
}

/// Compares a gradient with finite differences: along every coordinate, or along twelve directions when the inputs are
/// many. `sharpness` divides the step, for a function that bends sharply (the scale of a head).
///
/// # Errors
///
/// The message of [`compare`].
pub fn check(
    mut function: impl FnMut(&[f64]) -> f64,
    at: &[f64],
    gradient: &[f64],
    sharpness: f64,
    tolerance: Tolerance,
) -> Result<f64, String> {
    let directions: Vec<Vec<f64>> = if at.len() <= COORDINATES {
        (0..at.len()).map(|index| (0..at.len()).map(|other| f64::from(u8::from(other == index))).collect()).collect()
    } else {
        // Directions of length 1 that no symmetry of a loss is blind to.
        let wave = |turn: usize| (0..at.len()).map(move |index| ((index * (2 * turn + 1) + turn) as f64).sin());
        (0..DIRECTIONS).map(|turn| unit(wave(turn).collect())).collect()
    };
    let step = STEP / sharpness.max(1.0);
    let (mut actual, mut expected) = (Vec::new(), Vec::new());
    for direction in &directions {
        actual.push(gradient.iter().zip(direction).map(|(slope, part)| slope * part).sum());
        expected.push(five_point(&mut function, at, direction, step));
    }
    compare(&actual, &expected, tolerance)
}

fn unit(direction: Vec<f64>) -> Vec<f64> {
    let length = direction.iter().map(|part| part * part).sum::<f64>().sqrt();
    direction.into_iter().map(|part| part / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_exact_for_a_polynomial_of_degree_four() {
        let mut function = |x: &[f64]| x[0].powi(4) * x[1];
        let slope = five_point(&mut function, &[0.5, 3.0], &[1.0, 2.0], 1e-3);

        // By hand: 4·x³·y + 2·x⁴ = 1.5 + 0.125.
        assert!((slope - 1.625).abs() < 1e-11, "{slope}");
    }

    #[test]
    fn a_wrong_gradient_is_found_among_few_and_many_inputs() {
        let squares = |x: &[f64]| x.iter().map(|number| number * number).sum::<f64>();
        for count in [1, 500] {
            let at = vec![3.0; count];
            let mut gradient = vec![6.0; count];
            assert!(check(squares, &at, &gradient, 1.0, Tolerance::new(1e-7, 1e-7)).is_ok());
            gradient[count / 2] += 0.01;
            assert!(check(squares, &at, &gradient, 1.0, Tolerance::new(1e-6, 1e-6)).is_err());
        }
    }
}
