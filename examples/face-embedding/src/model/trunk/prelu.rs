//! PReLU with a slope per channel.

use burn::nn::PRelu;
use burn::tensor::Tensor;

/// Burn's own, but where a forward pass is recorded for ONNX: Burn's is of masks, which the recording cannot write.
pub(super) fn prelu(activation: &PRelu, features: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "onnx")]
    if super::onnx::is_recording(&features.device()) {
        let slope = activation.alpha.val().reshape([1, -1, 1, 1]);
        let positive = burn::tensor::activation::relu(features.clone());
        return positive.clone() + (features - positive) * slope;
    }
    activation.forward(features)
}
