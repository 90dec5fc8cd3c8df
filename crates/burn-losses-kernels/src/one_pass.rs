//! Where losses have passes of their own.

use burn::backend::DispatchDevice;
#[cfg(any(feature = "cpu-path", feature = "cube"))]
use burn::backend::tensor::FloatTensor;
#[cfg(any(feature = "cpu-path", feature = "cube"))]
use burn::backend::{Backend, ExtensionType};
use burn::tensor::{DType, Device};

/// Whether [`elements`](crate::elements), [`log_odds`](crate::log_odds) and [`soft_targets`](crate::soft_targets) run in one
/// pass on this device, and in one for each gradient. Elsewhere they are composed of ordinary tensor operations with the same
/// results.
pub fn one_pass_on(device: &Device) -> bool {
    fn dispatch(device: &DispatchDevice) -> bool {
        match device {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => true,
            #[cfg(feature = "cube")]
            DispatchDevice::Cube(_) => true,
            DispatchDevice::Autodiff(device) => dispatch(device),
            #[allow(unreachable_patterns, reason = "which backends there are, the features of burn decide")]
            _ => false,
        }
    }
    dispatch(device.as_dispatch())
}

/// The same of numbers of a type: the passes compute in that of their tensors, which half precision is not fit for.
#[cfg_attr(not(any(feature = "cpu-path", feature = "cube")), allow(dead_code, reason = "there are no passes"))]
pub(crate) fn has_passes(device: &Device, dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64) && one_pass_on(device)
}

/// What a forward pass over rows gives.
#[cfg(any(feature = "cpu-path", feature = "cube"))]
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct Passed<B: Backend> {
    pub(crate) output: FloatTensor<B>,
    /// What the backward pass needs to know of every row.
    pub(crate) sums: FloatTensor<B>,
}
