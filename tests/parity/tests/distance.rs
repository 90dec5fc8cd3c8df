use burn::tensor::Tensor;
use burn_losses::distance::Distance;
use parity::backends;
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
