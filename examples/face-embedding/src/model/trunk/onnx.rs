//! A trunk as ONNX: its forward pass, recorded by Burn's own exporter.

use anyhow::{Context, Result};
use burn::backend::DispatchDevice;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_onnx::export::{AxisSpec, InputSpec, OnnxExporter};

use super::Trunk;

/// The bytes of an ONNX file (operator set 18) with the weights in it.
///
/// One input, `[batch, 3, image_size, image_size]` in `f32` with values in `[-1, 1]`, and one output, `[batch,
/// embedding_size]`; of any batch.
///
/// # Errors
///
/// If the network has an operation that the exporter does not know.
pub(crate) fn to_onnx(trunk: &Trunk, image_size: usize, device: &Device) -> Result<Vec<u8>> {
    // What is the same in both is fixed; what differs is the batch.
    let [sample, other] = [2, 3].map(|batch| Tensor::<4>::zeros([batch, 3, image_size, image_size], device));
    let axes = [AxisSpec::dynamic("batch"), AxisSpec::Static, AxisSpec::Static, AxisSpec::Static];
    let model = OnnxExporter::new()
        .export_dynamic(&trunk.valid(), sample, other, &[InputSpec::new(axes)], Trunk::forward)
        .context("the network cannot be written as ONNX")?;
    Ok(model.into_bytes())
}

/// Whether what is computed on a device is only written down.
pub(super) fn is_recording(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Capture(_))
}
