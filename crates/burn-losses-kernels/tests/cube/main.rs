//! What only a GPU has, or a driver that stands in for one: grids, units, kernels in place. All else is in the tests that run
//! on every backend.

#![cfg(all(feature = "wgpu", feature = "flex"))]

mod elements;
mod log_odds;
mod scores;
mod soft_targets;
mod speed;

use burn::tensor::{Device, DeviceKind, Tensor, TensorData};

fn flex() -> Device {
    Device::flex().autodiff()
}

fn gpu() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice).autodiff()
}

/// Numbers that look random, the same on every device.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn matrix(rows: usize, columns: usize, seed: u32, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers(rows * columns, seed), [rows, columns]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// Every number as close to what is expected as its own size allows.
fn assert_each_close(actual: &[f32], expected: &[f64], relative: f64, absolute: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (index, (&actual, expected)) in actual.iter().zip(expected).enumerate() {
        let actual = f64::from(actual);
        let reach = relative * expected.abs() + absolute;
        assert!((actual - expected).abs() <= reach, "{what}[{index}]: {actual} is not {expected}, by {reach}");
    }
}
