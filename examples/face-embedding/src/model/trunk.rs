//! The trunk: a compact residual network from a picture to its embedding.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PRelu, PReluConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, assert_shape};

/// How many times a residual block halves the side length, after the first convolution did.
const STAGES: usize = 3;

/// Settings of [`Trunk`].
#[derive(Config, Debug)]
pub struct TrunkConfig {
    /// Side length of the pictures in pixels; at least 16.
    pub image_size: usize,
    /// Length of an embedding; at least 1.
    pub embedding_size: usize,
    /// Channels after the first convolution; each stage doubles them; at least 1.
    #[config(default = 16)]
    pub width: usize,
}

impl TrunkConfig {
    /// Builds a trunk with random weights.
    ///
    /// # Panics
    ///
    /// If a setting is too small.
    pub fn init(&self, device: &Device) -> Trunk {
        let Self { image_size, embedding_size, width } = *self;
        assert!(image_size >= 16, "Trunk: image_size must be >= 16, got {image_size}");
        assert!(embedding_size >= 1, "Trunk: embedding_size must be >= 1, got 0");
        assert!(width >= 1, "Trunk: width must be >= 1, got 0");

        let stages: Vec<ResidualBlock> =
            (0..STAGES).map(|stage| ResidualBlock::new(width << stage, width << (stage + 1), device)).collect();
        // A stride of two rounds the side length up.
        let side = image_size.div_ceil(1 << (STAGES + 1));
        let features = (width << STAGES) * side * side;

        Trunk {
            first: ConvNorm::new(3, width, 3, 2, device),
            first_activation: PReluConfig::new().with_num_parameters(width).init(device),
            stages,
            embedding: LinearConfig::new(features, embedding_size)
                .with_bias(false)
                .with_initializer(Initializer::XavierNormal { gain: 1.0 })
                .init(device),
            embedding_norm: BatchNormConfig::new(embedding_size).init(device),
        }
    }
}

/// Maps pictures to embeddings whose directions tell people apart.
///
/// ```text
/// 3x3 convolution, stride 2 -> three residual blocks, stride 2 each -> flatten -> linear -> norm
/// ```
///
/// The features are flattened, not averaged: faces are aligned, so where a feature is matters.
/// There is no dropout, since the embedding norm and the margin regularise enough at this size.
///
/// # Source
///
/// Deng, Guo, Xue, Zafeiriou: [ArcFace](https://arxiv.org/abs/1801.07698), 2019, section 3.1, for
/// the order of the last layers and PReLU; He et al.: [ResNet](https://arxiv.org/abs/1512.03385).
#[derive(Module, Debug)]
pub struct Trunk {
    first: ConvNorm,
    first_activation: PRelu,
    stages: Vec<ResidualBlock>,
    embedding: Linear,
    embedding_norm: BatchNorm,
}

impl Trunk {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pictures: `[batch, 3, image_size, image_size]`, values in `[-1, 1]`
    /// - output: `[batch, embedding_size]`
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        assert_shape!(pictures, [_, 3, ..]);
        let mut features = self.first_activation.forward(self.first.forward(pictures));
        for stage in &self.stages {
            features = stage.forward(features);
        }
        let embeddings = self.embedding.forward(features.flatten::<2>(1, 3));
        self.embedding_norm.forward(embeddings)
    }
}

/// A convolution without bias, followed by batch normalisation.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(channels_in: usize, channels_out: usize, kernel: usize, stride: usize, device: &Device) -> Self {
        let padding = kernel / 2;
        Self {
            conv: Conv2dConfig::new([channels_in, channels_out], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
                .with_bias(false)
                .with_initializer(Initializer::KaimingNormal { gain: 1.0, fan_out_only: false })
                .init(device),
            norm: BatchNormConfig::new(channels_out).init(device),
        }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(features))
    }
}

/// Two convolutions whose result is added to a shortcut; halves the side length.
#[derive(Module, Debug)]
struct ResidualBlock {
    first: ConvNorm,
    first_activation: PRelu,
    second: ConvNorm,
    shortcut: ConvNorm,
    second_activation: PRelu,
}

impl ResidualBlock {
    fn new(channels_in: usize, channels_out: usize, device: &Device) -> Self {
        let activation = PReluConfig::new().with_num_parameters(channels_out);
        Self {
            first: ConvNorm::new(channels_in, channels_out, 3, 2, device),
            first_activation: activation.init(device),
            second: ConvNorm::new(channels_out, channels_out, 3, 1, device),
            shortcut: ConvNorm::new(channels_in, channels_out, 1, 2, device),
            second_activation: activation.init(device),
        }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let shortcut = self.shortcut.forward(features.clone());
        let features = self.first_activation.forward(self.first.forward(features));
        self.second_activation.forward(self.second.forward(features) + shortcut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_give_embeddings_too() {
        let device = Device::flex();
        for image_size in [16, 17, 33] {
            let trunk = TrunkConfig::new(image_size, 5).with_width(2).init(&device);
            let pictures = Tensor::zeros([3, 3, image_size, image_size], &device);
            assert_eq!(trunk.forward(pictures).dims(), [3, 5]);
        }
    }
}
