//! `--backend`: which of the compiled backends computes.

use anyhow::{Result, bail};
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
