//! What a layout of features can do, and which one a device computes faster.

use burn::backend::DispatchDevice;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PRelu};
use burn::tensor::{Device, Int, Tensor};

/// Features of a batch of pictures, in one of the layouts.
pub(super) trait Features: Clone {
    /// Pictures, `[batch, channels, side, side]`.
    fn of_pictures(pictures: Tensor<4>) -> Self;

    /// A square convolution without bias, with `taps` as [`batch_last::taps`](super::batch_last::taps) makes them.
    fn convolve(self, convolution: &Conv2d, taps: &Tensor<1, Int>) -> Self;

    /// Batch normalisation: every channel by itself, over all places of all pictures.
    fn normalise(self, norm: &BatchNorm) -> Self;

    /// PReLU with a slope per channel.
    fn activate(self, activation: &PRelu) -> Self;

    /// The sum with features of the same shape.
    fn plus(self, other: Self) -> Self;

    /// All features of a picture in a row, `[batch, channels * places]`.
    fn flatten(self) -> Tensor<2>;
}

/// Whether a device computes the network faster with the batch as the last axis: Flex does.
pub(super) fn batch_last_wins(device: &Device) -> bool {
    fn dispatch(device: &DispatchDevice) -> bool {
        match device {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(device) => dispatch(device),
            #[allow(unreachable_patterns, reason = "which backends there are, the features of burn decide")]
            _ => false,
        }
    }
    dispatch(device.as_dispatch())
}
