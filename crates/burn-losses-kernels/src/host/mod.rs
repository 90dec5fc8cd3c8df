//! The memory of the tensors of CPU backends, and loops over it.

mod exponential;
#[cfg(feature = "flex")]
mod flex;
mod memory;
#[cfg(feature = "ndarray")]
mod ndarray;
mod product;
mod sums;
pub(crate) mod threads;
mod vectorised;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

pub(crate) use exponential::Real;
pub(crate) use memory::{Host, Key, Strided, tensor};
pub(crate) use product::{Matrix, product, product_apart};
pub(crate) use sums::{LogSumExp, Same, Square, Summand, log_sum_exp, sum, sum_of_both};
pub(crate) use vectorised::{Vectorised, vectorised};

/// Whether the tensors of a device are such memory, and the feature of its backend is on in this crate.
pub(crate) fn is_host(device: &Device) -> bool {
    fn dispatch(device: &DispatchDevice) -> bool {
        match device {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => true,
            DispatchDevice::Autodiff(device) => dispatch(device),
            #[allow(unreachable_patterns, reason = "which backends there are, the features of burn decide")]
            _ => false,
        }
    }
    dispatch(device.as_dispatch())
}
