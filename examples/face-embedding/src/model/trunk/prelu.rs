//! PReLU with a slope per channel.

use burn::nn::PRelu;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Burn's own, but where a forward pass is recorded for ONNX: Burn's is of masks, which the recording cannot write.
pub(super) fn prelu(activation: &PRelu, features: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "onnx")]
    if super::onnx::is_recording(&features.device()) {
        return of_relu(features, activation.alpha.val().reshape([1, -1, 1, 1]));
    }
    activation.forward(features)
}

/// `relu(x) + slope·(x - relu(x))`, with a slope that fits the features by broadcasting.
pub(super) fn of_relu<const D: usize>(features: Tensor<D>, slope: Tensor<D>) -> Tensor<D> {
    let positive = relu(features.clone());
    positive.clone() + (features - positive) * slope
}
