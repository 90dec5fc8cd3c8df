//! The layers of the network, in any layout of its features.

use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PRelu, PReluConfig, PaddingConfig2d};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::batch_last::taps;
use super::layout::{Features, batch_last_wins};

/// A convolution without bias, followed by batch normalisation.
#[derive(Module, Debug)]
pub(super) struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
    /// No parameter: it follows the module to another device, and is in no record.
    taps: Tensor<1, Int>,
    side: usize,
}

impl ConvNorm {
    /// A layer for features of `side` x `side` places, with a kernel of odd size.
    pub(super) fn new(
        [channels_in, channels_out]: [usize; 2],
        kernel: usize,
        stride: usize,
        side: usize,
        device: &Device,
    ) -> Self {
        let padding = kernel / 2;
        let taps = TensorData::from(taps(channels_in, kernel, stride, side).as_slice());
        // Flex reads 64 bits as they are; a GPU may have no such numbers, and has no use for these.
        let taps = if batch_last_wins(device) {
            Tensor::from_data(taps, (device, DType::I64))
        } else {
            Tensor::from_data(taps, device)
        };
        Self {
            conv: Conv2dConfig::new([channels_in, channels_out], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
                .with_bias(false)
                .with_initializer(Initializer::KaimingNormal { gain: 1.0, fan_out_only: false })
                .init(device),
            norm: BatchNormConfig::new(channels_out).init(device),
            taps,
            side: side.div_ceil(stride),
        }
    }

    /// Side length of what it makes.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    pub(super) fn forward<F: Features>(&self, features: F) -> F {
        features.convolve(&self.conv, &self.taps).normalise(&self.norm)
    }
}

/// Two convolutions whose result is added to a shortcut; halves the side length.
#[derive(Module, Debug)]
pub(super) struct ResidualBlock {
    first: ConvNorm,
    first_activation: PRelu,
    second: ConvNorm,
    shortcut: ConvNorm,
    second_activation: PRelu,
}

impl ResidualBlock {
    /// A block for features of `side` x `side` places.
    pub(super) fn new([channels_in, channels_out]: [usize; 2], side: usize, device: &Device) -> Self {
        let activation = PReluConfig::new().with_num_parameters(channels_out);
        let first = ConvNorm::new([channels_in, channels_out], 3, 2, side, device);
        let second = ConvNorm::new([channels_out, channels_out], 3, 1, first.side(), device);
        Self {
            first,
            first_activation: activation.init(device),
            second,
            shortcut: ConvNorm::new([channels_in, channels_out], 1, 2, side, device),
            second_activation: activation.init(device),
        }
    }

    /// Side length of what it makes.
    pub(super) fn side(&self) -> usize {
        self.second.side()
    }

    pub(super) fn forward<F: Features>(&self, features: F) -> F {
        let shortcut = self.shortcut.forward(features.clone());
        let features = self.first.forward(features).activate(&self.first_activation);
        self.second.forward(features).plus(shortcut).activate(&self.second_activation)
    }
}
