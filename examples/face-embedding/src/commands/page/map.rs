//! Embeddings on a plane.

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};

/// Rounds of the iteration: directions that spread a tenth less are told apart.
const ROUNDS: usize = 60;

/// The two principal components of rows of `dim` numbers, each divided by its length first.
///
/// # Errors
///
/// If the numbers cannot be read from the device.
pub(super) fn principal_plane(rows: &[f32], dim: usize, device: &Device) -> Result<Vec<[f64; 2]>> {
    let count = rows.len() / dim;
    let rows = Tensor::<2>::from_data(TensorData::new(rows.to_vec(), [count, dim]), device);
    let length = rows.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    let unit = rows / length.expand([count, dim]);
    let centered = unit.clone() - unit.mean_dim(0).expand([count, dim]);

    let mut found: Vec<Tensor<2>> = Vec::new();
    for component in 0..2 {
        // No direction of the data is perpendicular to all of this, but by chance.
        let start: Vec<f32> = (0..dim).map(|place| ((place * 7 + component * 3) as f32 * 0.61).sin() + 0.1).collect();
        let mut axis = Tensor::<2>::from_data(TensorData::new(start, [dim, 1]), device);
        for _ in 0..ROUNDS {
            let next = centered.clone().transpose().matmul(centered.clone().matmul(axis));
            let next = found.iter().fold(next, |next, other| {
                let along = other.clone().transpose().matmul(next.clone());
                next - other.clone() * along.expand([dim, 1])
            });
            let length = next.clone().square().sum_dim(0).sqrt().clamp_min(1e-30);
            axis = next / length.expand([dim, 1]);
        }
        found.push(axis);
    }
    let plane = centered.matmul(Tensor::cat(found, 1)).try_into_data()?;
    let numbers: Vec<f64> = plane.iter::<f64>().collect();
    Ok(numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axes_are_those_of_the_largest_spread() {
        // Around (0, 0, 1): far along the second axis, less along the first; by hand the plane is (y, x) up to signs.
        let rows: Vec<f32> = (0..12)
            .flat_map(|place| {
                let angle = place as f32 / 12.0 * std::f32::consts::TAU;
                let [x, y] = [0.1 * angle.cos(), 0.4 * angle.sin()];
                [x, y, (1.0 - x * x - y * y).sqrt()]
            })
            .collect();
        let plane = principal_plane(&rows, 3, &Device::flex()).expect("numbers");
        for (point, row) in plane.iter().zip(rows.chunks(3)) {
            assert!((point[0].abs() - f64::from(row[1].abs())).abs() < 1e-5, "{point:?} {row:?}");
        }
        let spread = |axis: usize| plane.iter().map(|point| point[axis].powi(2)).sum::<f64>();
        assert!(spread(0) > 4.0 * spread(1) && spread(1) > 0.01);
    }
}
