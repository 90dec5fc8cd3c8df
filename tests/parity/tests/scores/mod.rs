//! The engine: against plain loops, against its reference, and against itself with other settings.

mod labels;
mod plain;
mod sides;
mod terms;

use burn::tensor::{Int, Tensor, TensorData};
use burn_losses_kernels::scores::Streaming;
use parity::{Backend, Exactness};
use support::close::Tolerance;

fn streaming(kept_bytes: usize, block: Option<usize>) -> Streaming {
    Streaming::new().with_kept_bytes(kept_bytes).with_block(block)
}

/// Rows without a pattern, with lengths from 0.1 to 10.
fn rows(count: usize, dim: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |row: usize, column: usize| {
        let wave = ((row * 131 + column * 7919 + seed * 31 + 1) as f64 * 0.618_033_988).fract() - 0.5;
        wave * 10_f64.powf((row % 5) as f64 / 2.0 - 1.0) / (dim as f64).sqrt()
    };
    (0..count).map(|row| (0..dim).map(|column| number(row, column)).collect()).collect()
}

/// A third of the labels name no class.
fn labels_of(count: usize, classes: usize) -> Vec<i64> {
    let label = |row: usize| match row % 6 {
        2 => -1,
        4 => classes as i64,
        _ => (row * 7919 % classes) as i64,
    };
    (0..count).map(label).collect()
}

struct On<'a>(&'a Backend);

impl On<'_> {
    fn matrix(&self, rows: &[Vec<f64>]) -> Tensor<2> {
        let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
        Tensor::from_data(data, (&self.0.device, self.0.dtype)).require_grad()
    }

    fn vector(&self, numbers: &[f64]) -> Tensor<1> {
        Tensor::from_data(TensorData::from(numbers), (&self.0.device, self.0.dtype))
    }

    fn integers(&self, numbers: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(numbers), &self.0.device)
    }

    fn is_gpu(&self) -> bool {
        self.0.is_gpu()
    }

    /// Numbers of size 1 and scores of size 16.
    fn tolerance(&self) -> Tolerance {
        match self.0.exactness {
            Exactness::Double => Tolerance::new(1e-13, 1e-13),
            Exactness::Single => Tolerance::new(3e-6, 3e-6),
            Exactness::SoftwareGpu => Tolerance::new(1e-5, 1e-5),
            Exactness::Gpu => Tolerance::new(1e-4, 1e-4),
        }
    }
}

/// An upstream gradient that is different for every number.
fn weigh<const D: usize>(output: Tensor<D>) -> Tensor<1> {
    let count = output.shape().num_elements();
    let weights: Vec<f64> = (0..count).map(|place| 0.5 + (place as f64 * 0.37).sin()).collect();
    let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), (&output.device(), output.dtype()));
    (output.reshape([count]) * weights).sum()
}
