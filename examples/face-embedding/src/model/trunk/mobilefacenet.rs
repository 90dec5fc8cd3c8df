//! The network of InsightFace for small devices.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PRelu, PReluConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, assert_shape};

use super::prelu::prelu;

/// Side length of the pictures; the first convolution and three stages halve it.
const IMAGE_SIZE: usize = 112;
/// Side length of the last features.
const LAST_SIDE: usize = IMAGE_SIZE / 16;
/// Channels of the first two convolutions.
const FIRST: usize = 128;
/// Channels of what is embedded.
const LAST: usize = 512;

/// Settings of [`MobileFaceNet`].
#[derive(Config, Debug)]
pub struct MobileFaceNetConfig {
    /// Length of an embedding; at least 1.
    #[config(default = 512)]
    pub embedding_size: usize,
}

impl MobileFaceNetConfig {
    /// Builds a network with random weights, drawn as InsightFace draws them.
    ///
    /// # Panics
    ///
    /// If a setting is too small.
    pub fn init(&self, device: &Device) -> MobileFaceNet {
        let Self { embedding_size } = *self;
        assert!(embedding_size >= 1, "MobileFaceNet: embedding_size must be >= 1, got 0");
        // Channels in, out and between of the first block, channels between of the others, and how many these are.
        let stages = [(FIRST, FIRST, 128, 128, 4), (FIRST, 256, 256, 256, 6), (256, 256, 512, 256, 2)];
        let stages = stages.map(|(channels_in, channels, first, between, residuals)| Stage {
            down: DepthWise::new([channels_in, channels], first, 2, device),
            residuals: (0..residuals).map(|_| DepthWise::new([channels, channels], between, 1, device)).collect(),
        });
        MobileFaceNet {
            first: ConvBlock::new(Shape { kernel: 3, padding: 1, stride: 2, ..Shape::pointwise(3, FIRST) }, device),
            second: ConvBlock::new(
                Shape { kernel: 3, padding: 1, groups: 64, ..Shape::pointwise(FIRST, FIRST) },
                device,
            ),
            stages: stages.into(),
            conv_sep: ConvBlock::new(Shape::pointwise(256, LAST), device),
            features: Gdc {
                depthwise: LinearBlock::new(
                    Shape { kernel: LAST_SIDE, padding: 0, groups: LAST, ..Shape::pointwise(LAST, LAST) },
                    device,
                ),
                linear: LinearConfig::new(LAST, embedding_size)
                    .with_bias(false)
                    .with_initializer(kaiming_fan_out(embedding_size))
                    .init(device),
                norm: BatchNormConfig::new(embedding_size).init(device),
            },
        }
    }
}

/// Maps pictures to embeddings.
///
/// ```text
/// two 3x3 convolutions -> three stages of depthwise blocks, stride 2 each -> 1x1 convolution
///   -> 7x7 depthwise convolution -> linear -> norm
/// ```
///
/// # Source
///
/// Chen, Liu, Gao, Han: [MobileFaceNets](https://arxiv.org/abs/1804.07573), 2018; `backbones/mobilefacenet.py` of
/// InsightFace's arcface_torch, as its `mbf`: twice the channels of the paper in all but the last layers.
#[derive(Module, Debug)]
pub struct MobileFaceNet {
    first: ConvBlock,
    second: ConvBlock,
    stages: Vec<Stage>,
    conv_sep: ConvBlock,
    features: Gdc,
}

impl MobileFaceNet {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pictures: `[batch, 3, 112, 112]`, values in `[-1, 1]`
    /// - output: `[batch, embedding_size]`
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        assert_shape!(pictures, [_, 3, IMAGE_SIZE, IMAGE_SIZE]);
        let mut features = self.second.forward(self.first.forward(pictures));
        for stage in &self.stages {
            features = stage.down.forward(features);
            for block in &stage.residuals {
                features = block.forward(features.clone()) + features;
            }
        }
        let Gdc { depthwise, linear, norm } = &self.features;
        let flat = depthwise.forward(self.conv_sep.forward(features)).flatten(1, 3);
        norm.forward(linear.forward(flat))
    }
}

/// A depthwise block that halves the side length, and others whose result is added to what they began with.
#[derive(Module, Debug)]
struct Stage {
    down: DepthWise,
    residuals: Vec<DepthWise>,
}

/// A global depthwise convolution: what is left of each channel is one number, in which every place has its own weight.
#[derive(Module, Debug)]
struct Gdc {
    depthwise: LinearBlock,
    linear: Linear,
    norm: BatchNorm,
}

/// To as many channels as are between, a depthwise convolution, and back, without an activation.
#[derive(Module, Debug)]
struct DepthWise {
    expand: ConvBlock,
    depthwise: ConvBlock,
    project: LinearBlock,
}

impl DepthWise {
    fn new([channels_in, channels_out]: [usize; 2], between: usize, stride: usize, device: &Device) -> Self {
        let depthwise = Shape { kernel: 3, padding: 1, stride, groups: between, ..Shape::pointwise(between, between) };
        Self {
            expand: ConvBlock::new(Shape::pointwise(channels_in, between), device),
            depthwise: ConvBlock::new(depthwise, device),
            project: LinearBlock::new(Shape::pointwise(between, channels_out), device),
        }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        self.project.forward(self.depthwise.forward(self.expand.forward(features)))
    }
}

/// A convolution, its norm and an activation.
#[derive(Module, Debug)]
struct ConvBlock {
    conv: Conv2d,
    norm: BatchNorm,
    activation: PRelu,
}

impl ConvBlock {
    fn new(shape: Shape, device: &Device) -> Self {
        let LinearBlock { conv, norm } = LinearBlock::new(shape, device);
        Self { conv, norm, activation: PReluConfig::new().with_num_parameters(shape.channels_out).init(device) }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        prelu(&self.activation, self.norm.forward(self.conv.forward(features)))
    }
}

/// A convolution and its norm.
#[derive(Module, Debug)]
struct LinearBlock {
    conv: Conv2d,
    norm: BatchNorm,
}

impl LinearBlock {
    fn new(shape: Shape, device: &Device) -> Self {
        let Shape { channels_in, channels_out, kernel, padding, stride, groups } = shape;
        let conv = Conv2dConfig::new([channels_in, channels_out], [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_groups(groups)
            .with_bias(false)
            .with_initializer(kaiming_fan_out(channels_out * kernel * kernel))
            .init(device);
        Self { conv, norm: BatchNormConfig::new(channels_out).init(device) }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(features))
    }
}

/// What a convolution is.
#[derive(Clone, Copy)]
struct Shape {
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    padding: usize,
    stride: usize,
    groups: usize,
}

impl Shape {
    fn pointwise(channels_in: usize, channels_out: usize) -> Self {
        Self { channels_in, channels_out, kernel: 1, padding: 0, stride: 1, groups: 1 }
    }
}

/// PyTorch's `kaiming_normal_` by what goes out, for ReLU. It does not divide that by the groups; Burn's does.
fn kaiming_fan_out(fan_out: usize) -> Initializer {
    Initializer::Normal { mean: 0.0, std: (2.0 / fan_out as f64).sqrt() }
}
