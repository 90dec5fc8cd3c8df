//! The network from a picture to its embedding.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PRelu, PReluConfig};
use burn::tensor::{Device, Tensor, assert_shape};

use super::batch_first::BatchFirst;
use super::batch_last::BatchLast;
use super::layers::{ConvNorm, ResidualBlock};
use super::layout::{Features, batch_last_wins};

/// How many times a residual block halves the side length, after the first convolution did.
const STAGES: usize = 3;

/// Settings of [`SmallNetwork`].
#[derive(Config, Debug)]
pub struct SmallNetworkConfig {
    /// Side length of the pictures in pixels; at least 16.
    pub image_size: usize,
    /// Length of an embedding; at least 1.
    pub embedding_size: usize,
    /// Channels after the first convolution; each stage doubles them; at least 1.
    #[config(default = 16)]
    pub width: usize,
}

impl SmallNetworkConfig {
    /// How many features a picture has before the linear layer.
    pub fn features(&self) -> usize {
        let side = (0..=STAGES).fold(self.image_size, |side, _| side.div_ceil(2));
        (self.width << STAGES) * side * side
    }

    /// Builds a trunk with random weights.
    ///
    /// # Panics
    ///
    /// If a setting is too small.
    pub fn init(&self, device: &Device) -> SmallNetwork {
        let Self { image_size, embedding_size, width } = *self;
        assert!(image_size >= 16, "SmallNetwork: image_size must be >= 16, got {image_size}");
        assert!(embedding_size >= 1, "SmallNetwork: embedding_size must be >= 1, got 0");
        assert!(width >= 1, "SmallNetwork: width must be >= 1, got 0");

        let first = ConvNorm::new([3, width], 3, 2, image_size, device);
        let first_activation = PReluConfig::new().with_num_parameters(width).init(device);
        let mut side = first.side();
        let mut stages = Vec::new();
        for stage in 0..STAGES {
            let block = ResidualBlock::new([width << stage, width << (stage + 1)], side, device);
            side = block.side();
            stages.push(block);
        }
        SmallNetwork {
            first,
            first_activation,
            stages,
            embedding: LinearConfig::new(self.features(), embedding_size)
                .with_bias(false)
                .with_initializer(Initializer::XavierNormal { gain: 1.0 })
                .init(device),
            embedding_norm: BatchNormConfig::new(embedding_size).init(device),
            image_size,
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
/// Before the linear layer the training may drop some of them, as the paper does.
///
/// # Source
///
/// Deng, Guo, Xue, Zafeiriou: [ArcFace](https://arxiv.org/abs/1801.07698), 2019, section 3.1, for
/// the order of the last layers and PReLU; He et al.: [ResNet](https://arxiv.org/abs/1512.03385).
#[derive(Module, Debug)]
pub struct SmallNetwork {
    first: ConvNorm,
    first_activation: PRelu,
    stages: Vec<ResidualBlock>,
    embedding: Linear,
    embedding_norm: BatchNorm,
    image_size: usize,
}

impl SmallNetwork {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pictures: `[batch, 3, image_size, image_size]`, values in `[-1, 1]`
    /// - output: `[batch, embedding_size]`
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        self.forward_with(pictures, None)
    }

    /// Embeds pictures in training, with factors on the flattened features, which dropout draws.
    ///
    /// # Shapes
    ///
    /// - pictures: as of [`forward`](Self::forward)
    /// - factors: `[batch, features]`, see [`SmallNetworkConfig::features`]
    /// - output: `[batch, embedding_size]`
    pub fn forward_with(&self, pictures: Tensor<4>, factors: Option<Tensor<2>>) -> Tensor<2> {
        if batch_last_wins(&pictures.device()) {
            self.embed::<BatchLast>(pictures, factors)
        } else {
            self.embed::<BatchFirst>(pictures, factors)
        }
    }

    fn embed<F: Features>(&self, pictures: Tensor<4>, factors: Option<Tensor<2>>) -> Tensor<2> {
        assert_shape!(pictures, [_, 3, self.image_size, self.image_size]);
        let mut features = self.first.forward(F::of_pictures(pictures)).activate(&self.first_activation);
        for stage in &self.stages {
            features = stage.forward(features);
        }
        let features = features.flatten();
        let features = match factors {
            Some(factors) => features * factors,
            None => features,
        };
        let embeddings = self.embedding.forward(features);
        self.embedding_norm.forward(embeddings)
    }
}

#[cfg(test)]
mod tests;
