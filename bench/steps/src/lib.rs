//! What the measured programs share: where a step runs.

#![forbid(unsafe_code)]

use burn::tensor::Device;
use clap::ValueEnum;

/// A backend by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Backend {
    /// Burn's own CPU backend.
    Flex,
    /// The deprecated one.
    #[value(name = "ndarray")]
    NdArray,
    /// GPUs, by Vulkan, Metal or DirectX.
    Wgpu,
    /// GPUs of NVIDIA.
    Cuda,
    /// GPUs, by Vulkan and SPIR-V.
    Vulkan,
}

impl Backend {
    /// Its device; `None` if its feature is off.
    pub fn device(self) -> Option<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Some(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "Burn deprecates ndarray in favour of flex; this project supports both")]
            Self::NdArray => Some(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(Device::wgpu(Default::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(Device::cuda(0)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(Device::vulkan(Default::default())),
            #[allow(unreachable_patterns, reason = "reached where a feature is off")]
            _ => None,
        }
    }

    /// Whether its tensors are memory of this process, which the processor computes with.
    pub fn is_host(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }
}
