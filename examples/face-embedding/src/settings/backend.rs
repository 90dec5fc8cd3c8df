//! `--backend`: which of the compiled backends computes.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A backend of Burn; each needs the Cargo feature of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum BackendKind {
    /// The CPU, in pure Rust.
    Flex,
    /// The CPU, through the ndarray crate.
    NdArray,
    /// A GPU through the graphics interface of the platform.
    Wgpu,
    /// An NVIDIA GPU.
    Cuda,
    /// A GPU through Vulkan.
    Vulkan,
    /// An Apple GPU.
    Metal,
}

impl BackendKind {
    /// The default device of this backend.
    ///
    /// # Errors
    ///
    /// If the backend was not compiled in; the message says how to add it.
    pub fn device(self) -> Result<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // Burn keeps it until a later release, and so do we.
            Self::NdArray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(Default::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(Default::default())),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(Default::default())),
            // Unreachable only in a build with every feature.
            #[allow(unreachable_patterns)]
            absent => bail!(
                "backend {absent} is not in this build; add it with: \
                 cargo run --release -p face-embedding --features {absent} -- <command> --backend {absent}"
            ),
        }
    }
}

impl BackendKind {
    /// A device of this backend by its number, of which 0 is the default device.
    ///
    /// # Errors
    ///
    /// As [`device`](Self::device), and if there are not so many.
    pub fn device_at(self, index: usize) -> Result<Device> {
        let default = self.device()?;
        if index == 0 {
            return Ok(default);
        }
        let all = self.all(default);
        let (count, noun) = (all.len(), if all.len() == 1 { "device" } else { "devices" });
        all.into_iter().nth(index).with_context(|| {
            format!("the backend {self} has {count} {noun}, from number 0 on; there is no number {index}")
        })
    }

    /// All devices of this backend; those of the processor are one.
    fn all(self, default: Device) -> Vec<Device> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec(),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec(),
            #[cfg(feature = "metal")]
            Self::Metal => Device::enumerate(burn::tensor::DeviceType::Metal).into_vec(),
            _ => vec![default],
        }
    }
}

impl std::fmt::Display for BackendKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_possible_value() {
            Some(value) => formatter.write_str(value.get_name()),
            None => write!(formatter, "{self:?}"),
        }
    }
}

/// The adapter behind a device, or the number of threads of a processor.
pub fn describe(device: &Device) -> String {
    adapter_name(device).unwrap_or_else(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        format!("CPU, {threads} threads")
    })
}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "vulkan", feature = "metal"))]
fn adapter_name(device: &Device) -> Option<String> {
    device.identity().map(|identity| identity.name.to_string())
}

#[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "vulkan", feature = "metal")))]
fn adapter_name(_device: &Device) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "metal"))]
    #[test]
    fn a_backend_that_was_not_compiled_in_says_which_feature_to_add() {
        let error = BackendKind::Metal.device().expect_err("metal is not in this build");
        assert!(error.to_string().contains("--features metal"), "{error}");
    }
}
