//! The layout with the batch as the last axis.
//!
//! The numbers of all pictures at one place lie side by side. So a convolution is one `select` of rows, which are copied
//! whole, and one matrix product, and what is done to a channel is done to one stretch of memory.

use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PRelu};
use burn::tensor::{Int, Tensor};

use super::super::prelu::of_relu;
use super::layout::Features;
use super::patches::{blocks, product_with_patches};

/// Features of shape `[channels, height * width * batch]`.
#[derive(Clone)]
pub(super) struct BatchLast {
    numbers: Tensor<2>,
    batch: usize,
}

impl Features for BatchLast {
    fn of_pictures(pictures: Tensor<4>) -> Self {
        let [batch, channels, height, width] = pictures.dims();
        let numbers = pictures.reshape([batch, channels * height * width]).swap_dims(0, 1);

        Self { numbers: numbers.reshape([channels, height * width * batch]), batch }
    }

    fn convolve(self, convolution: &Conv2d, taps: &Tensor<1, Int>) -> Self {
        let Self { numbers, batch } = self;
        let features = numbers.reshape([-1, batch as i64]);
        let [_, _, kernel, _] = convolution.weight.dims();
        let weights = convolution.weight.val().flatten(1, 3);

        Self { numbers: product_with_patches(features, weights, taps.clone(), kernel > 1), batch }
    }

    fn normalise(self, norm: &BatchNorm) -> Self {
        Self { numbers: norm.forward(self.numbers.unsqueeze::<3>()).squeeze_dim(0), ..self }
    }

    /// Of `relu`: Flex has it and its gradient in one pass each, and PReLU only of masks.
    fn activate(self, activation: &PRelu) -> Self {
        Self { numbers: of_relu(self.numbers, activation.alpha.val().unsqueeze_dim(1)), ..self }
    }

    fn plus(self, other: Self) -> Self {
        Self { numbers: self.numbers + other.numbers, ..self }
    }

    fn flatten(self) -> Tensor<2> {
        self.numbers.reshape([-1, self.batch as i64]).swap_dims(0, 1)
    }
}

/// Which rows of features `[channels * side * side, batch]` a convolution multiplies, as
/// [`product_with_patches`] wants them. The padding is half the kernel.
///
/// A patch counts channel, row and column of the kernel, as the weights lie; places count row and column of the output.
pub(super) fn taps(channels: usize, kernel: usize, stride: usize, side: usize) -> Vec<i64> {
    let padding = kernel / 2;
    let out_side = side.div_ceil(stride);
    let zeros = channels * side * side;
    // The place in the input of a place in the output, seen through one place of the kernel.
    let at = |out: usize, tap: usize| (out * stride + tap).checked_sub(padding).filter(|&place| place < side);

    let mut taps = Vec::with_capacity(channels * kernel * kernel * out_side * out_side);
    for places in blocks(channels * kernel * kernel, out_side * out_side) {
        for channel in 0..channels {
            for (tap_row, tap_column) in (0..kernel * kernel).map(|tap| (tap / kernel, tap % kernel)) {
                for (out_row, out_column) in places.clone().map(|place| (place / out_side, place % out_side)) {
                    let row = match (at(out_row, tap_row), at(out_column, tap_column)) {
                        (Some(row), Some(column)) => (channel * side + row) * side + column,
                        _ => zeros,
                    };
                    taps.push(row as i64);
                }
            }
        }
    }
    taps
}
