use burn::tensor::{DType, Tensor, TensorData};
use burn_losses::distance::Distance;
use burn_losses_kernels::math::in_host_memory;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

const DISTANCES: [Distance; 9] = [
    Distance::SmallestDifference,
    Distance::DifferentCount,
    Distance::Manhattan,
    Distance::Euclidean,
    Distance::SquaredEuclidean,
    Distance::Minkowski(0.5),
    Distance::Minkowski(3.0),
    Distance::Chebyshev,
    Distance::Cosine,
];

/// Rows whose distances are small beside their lengths.
struct Rows {
    name: &'static str,
    dim: usize,
    numbers: Vec<f32>,
}

impl Rows {
    fn new(name: &'static str, count: usize, dim: usize, number: impl Fn(usize, f32) -> f32) -> Self {
        // A linear congruential generator, in [-1, 1).
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let numbers = (0..count * dim).map(|place| number(place / dim, next())).collect();
        Self { name, dim, numbers }
    }

    fn count(&self) -> usize {
        self.numbers.len() / self.dim
    }

    fn row(&self, row: usize) -> impl Iterator<Item = f64> {
        self.numbers[row * self.dim..][..self.dim].iter().map(|&number| f64::from(number))
    }

    fn tensor(&self, backend: &Backend) -> Tensor<2> {
        let data = TensorData::new(self.numbers.clone(), [self.count(), self.dim]);
        Tensor::from_data(data, (&backend.device, backend.dtype))
    }

    /// In `f64`, by differences.
    fn distance(&self, a: usize, b: usize) -> f64 {
        self.row(a).zip(self.row(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    /// Of `sum over a, b of weight(a, b)·distance(a, b)`, in `f64`.
    fn gradient(&self, row: usize) -> Vec<f64> {
        let mut gradient = vec![0.0; self.dim];
        for other in 0..self.count() {
            let distance = self.distance(row, other);
            if distance > 0.0 {
                let weight = (weight(row, other) + weight(other, row)) / distance;
                let slopes = self.row(row).zip(self.row(other)).map(|(a, b)| weight * (a - b));
                gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
            }
        }
        gradient
    }
}

fn weight(a: usize, b: usize) -> f64 {
    ((5 * a + 3 * b) % 7) as f64 - 2.0
}

fn weights(count: usize, backend: &Backend) -> Tensor<2> {
    let weights: Vec<f64> = (0..count * count).map(|place| weight(place / count, place % count)).collect();
    Tensor::from_data(TensorData::new(weights, [count, count]), (&backend.device, backend.dtype))
}

/// Values to 1e-4 of each, gradients to `slope` of the longest row of them.
fn check(rows: &Rows, slope: f64, backend: &Backend) {
    let (count, name) = (rows.count(), format!("{} on {}", rows.name, backend.name));
    let leaf = rows.tensor(backend).require_grad();
    let matrix = Distance::Euclidean.matrix(leaf.clone(), leaf.clone());
    let squares = host(Distance::SquaredEuclidean.matrix(leaf.clone().detach(), rows.tensor(backend)));
    let values = host(matrix.clone());
    for a in 0..count {
        for b in 0..count {
            let expected = rows.distance(a, b);
            let (value, square) = (values[a * count + b], squares[a * count + b]);
            assert!((value - expected).abs() <= 1e-4 * expected, "{name}: {value} is not {expected} for {a}, {b}");
            let expected = expected * expected;
            assert!((square - expected).abs() <= 2e-4 * expected, "{name}: {square} is not {expected} for {a}, {b}");
        }
    }
    let gradients = (matrix * weights(count, backend)).sum().backward();
    let gradients = host(leaf.grad(&gradients).expect("a gradient"));
    let expected: Vec<Vec<f64>> = (0..count).map(|row| rows.gradient(row)).collect();
    let length = |row: &[f64]| row.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
    let longest = expected.iter().map(|row| length(row)).fold(0.0, f64::max);
    for (row, expected) in gradients.chunks(rows.dim).zip(&expected) {
        let error: Vec<f64> = row.iter().zip(expected).map(|(slope, expected)| slope - expected).collect();
        assert!(length(&error) <= slope * longest, "{name}: off by {} of {longest}", length(&error));
    }
}

/// PyTorch issue 42479, and what happens to a model that collapses.
#[test]
fn close_rows_far_from_the_origin_have_right_distances_and_gradients() {
    let sign = |row: usize| if row.is_multiple_of(2) { 1.0 } else { -1.0 };
    let cases = [
        Rows { name: "pytorch 42479", dim: 1, numbers: vec![512_695.0, 512_804.0, 512_705.0] },
        Rows { name: "two rows", dim: 2, numbers: vec![100.0, 100.0, 100.01, 100.0] },
        Rows::new("one cluster", 16, 64, |_, noise| 5.0 + 0.001 * noise),
        Rows::new("two clusters", 16, 64, |row, noise| sign(row) * 5.0 + 0.001 * noise),
        Rows::new("eight clusters of duplicates", 32, 5, |row, _| 0.1 + (row % 8) as f32 * 0.01),
        Rows::new("an outlier", 16, 8, |row, noise| if row == 3 { 1e6 } else { 3.0 + 0.001 * noise }),
        Rows::new("huge and tiny", 12, 4, |row, noise| [1e-15, 1.0, 1e15][row % 3] * (1.0 + 0.001 * noise)),
        Rows::new("about the origin", 16, 8, |_, noise| noise),
    ];
    for backend in backends() {
        for rows in &cases {
            check(rows, 1e-4, &backend);
        }
    }
}

/// So many that not all differences can be kept for the backward.
#[test]
fn many_close_rows_have_right_distances_and_gradients() {
    let rows = 130;
    let cluster = |count: usize| {
        let place = move |row: usize| 2.0 + (row % count) as f32;
        Rows::new("many rows", rows, 512, move |row, noise| place(row) + 0.005 * noise)
    };
    for backend in backends() {
        check(&cluster(1), 1e-4, &backend);
        // Of several clusters elsewhere only the mean place is taken out.
        if backend.name == "flex" || backend.name == "ndarray" {
            check(&cluster(2), 1e-4, &backend);
        }
    }
}

#[test]
fn a_row_that_is_not_finite_disturbs_no_other() {
    for backend in backends().iter().filter(|backend| backend.dtype == DType::F32) {
        // A few rows; and in host memory, as above, so many close ones that the mean place is taken out.
        let sizes = if in_host_memory(&backend.device) { &[[12, 6], [130, 512]][..] } else { &[[12, 6]] };
        for (&[count, dim], broken) in
            sizes.iter().flat_map(|size| [f32::NAN, f32::INFINITY, f32::MAX].map(|broken| (size, broken)))
        {
            let place = |row: usize, noise: f32| if row == 4 { broken } else { 7.0 + 0.001 * noise };
            let rows = Rows::new("broken", count, dim, place);
            let values = host(Distance::Euclidean.matrix(rows.tensor(backend), rows.tensor(backend)));
            for (a, b) in (0..count * 12).map(|place| (place / 12, place % 12)) {
                if a != 4 && b != 4 {
                    let (value, expected) = (values[a * count + b], rows.distance(a, b));
                    let close = (value - expected).abs() <= 1e-4 * expected;
                    assert!(close, "{value} is not {expected} beside {broken} on {}", backend.name);
                }
            }
        }
    }
}

#[test]
fn references_far_from_the_batch_do_not_disturb_it() {
    for backend in backends() {
        let rows = Rows::new("batch", 10, 6, |_, noise| -40.0 + 0.01 * noise);
        let references = Rows::new("references", 9, 6, |row, noise| if row < 4 { 1e4 } else { -40.0 - 0.01 * noise });
        let leaf = rows.tensor(&backend).require_grad();
        let matrix = Distance::Euclidean.matrix(leaf.clone(), references.tensor(&backend));
        let values = host(matrix.clone());
        for (place, value) in values.iter().enumerate() {
            let (a, b) = (rows.row(place / 9), references.row(place % 9));
            let expected = a.zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            assert!((value - expected).abs() <= 1e-4 * expected, "{value} is not {expected} on {}", backend.name);
        }
        let gradient = host(leaf.grad(&matrix.sum().backward()).expect("a gradient"));
        assert!(gradient.iter().all(|slope| slope.is_finite()));
    }
}

/// Lengths whose square, where a distance has one, is still a number.
#[test]
fn distances_of_zero_tiny_and_huge_rows_and_their_gradients_are_finite() {
    for backend in backends() {
        for distance in DISTANCES {
            for length in [0.0, 1e-38, 1e-30, 1e-20, 1e-12, 1e18, 1e20, 1e36] {
                if length > 1e18 && distance == Distance::SquaredEuclidean {
                    continue;
                }
                let rows = [[length, 0.0, -length], [0.0, length, 2.0 * length], [length, 0.0, -length]];
                let other = [[0.0, 0.0, length], [1.0, 0.0, 0.0], [length, 0.0, -length]];
                let leaf =
                    |rows: [[f64; 3]; 3]| Tensor::<2>::from_data(rows, (&backend.device, backend.dtype)).require_grad();
                let (first, second) = (leaf(rows), leaf(other));
                let rowwise = distance.rowwise(first.clone(), second.clone());
                let matrix = distance.matrix(first.clone(), second.clone()).reshape([9]);
                let losses = Tensor::cat(vec![rowwise, matrix], 0);
                let what = format!("{distance:?} of {length:e} on {} {:?}", backend.name, backend.dtype);
                assert_finite(&what, &host(losses.clone()));
                let gradients = losses.sum().backward();
                for leaf in [first, second] {
                    assert_finite(&format!("gradient of {what}"), &host(leaf.grad(&gradients).expect("a gradient")));
                }
            }
        }
    }
}

#[test]
fn a_nan_row_stays_in_its_own_distances() {
    for backend in backends() {
        for distance in DISTANCES {
            let options = (&backend.device, backend.dtype);
            let first = Tensor::<2>::from_data([[1.0, 2.0], [3.0, -1.0]], options);
            let second = Tensor::<2>::from_data([[0.5, 0.0], [f64::NAN, 1.0], [-2.0, 4.0]], options);
            let matrix = host(distance.matrix(first, second));

            for (place, value) in matrix.into_iter().enumerate() {
                assert_eq!(value.is_nan(), place % 3 == 1, "{distance:?} {place} on {}", backend.name);
            }
        }
    }
}

/// One row of a huge length takes no digit from the distances of the others.
#[test]
fn a_huge_row_leaves_the_other_distances_alone() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let first = Tensor::<2>::from_data([[3.0, 0.0], [1e20, 0.0]], options);
        let second = Tensor::<2>::from_data([[0.0, 4.0], [0.0, 1e20]], options);
        let matrix = host(Distance::Euclidean.matrix(first, second));

        let expected = [5.0, 1e20, 1e20, 2.0_f64.sqrt() * 1e20];
        assert_close(&backend.name, &matrix, &expected, Tolerance::new(1e-6, 0.0));
    }
}
