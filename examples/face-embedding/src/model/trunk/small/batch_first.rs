//! The usual layout, with Burn's own convolution and activation.

use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PRelu};
use burn::tensor::{Int, Tensor};

use super::super::prelu::prelu;
use super::layout::Features;

/// Features of shape `[batch, channels, height, width]`.
#[derive(Clone)]
pub(super) struct BatchFirst(Tensor<4>);

impl Features for BatchFirst {
    fn of_pictures(pictures: Tensor<4>) -> Self {
        Self(pictures)
    }

    fn convolve(self, convolution: &Conv2d, _taps: &Tensor<1, Int>) -> Self {
        Self(convolution.forward(self.0))
    }

    fn normalise(self, norm: &BatchNorm) -> Self {
        Self(norm.forward(self.0))
    }

    fn activate(self, activation: &PRelu) -> Self {
        Self(prelu(activation, self.0))
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    fn flatten(self) -> Tensor<2> {
        self.0.flatten(1, 3)
    }
}
