//! The improved residual network of InsightFace.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PRelu, PReluConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, assert_shape};

use super::prelu::prelu;

/// Side length of the pictures; four stages halve it.
const IMAGE_SIZE: usize = 112;
/// Side length of the last features.
const LAST_SIDE: usize = IMAGE_SIZE / 16;
/// Channels after each stage.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];

/// Settings of [`IResNet`].
#[derive(Config, Debug)]
pub struct IResNetConfig {
    /// Blocks in each stage; at least 1.
    pub blocks: [usize; 4],
    /// Length of an embedding; at least 1.
    #[config(default = 512)]
    pub embedding_size: usize,
}

impl IResNetConfig {
    /// Builds a network with random weights, drawn as InsightFace draws them.
    ///
    /// # Panics
    ///
    /// If a setting is too small.
    pub fn init(&self, device: &Device) -> IResNet {
        let Self { blocks, embedding_size } = *self;
        assert!(blocks.iter().all(|&blocks| blocks >= 1), "IResNet: blocks must be >= 1, got {blocks:?}");
        assert!(embedding_size >= 1, "IResNet: embedding_size must be >= 1, got 0");

        let stage = |stage: usize| {
            let channels_in = if stage == 0 { CHANNELS[0] } else { CHANNELS[stage - 1] };
            let first = Block::new([channels_in, CHANNELS[stage]], 2, device);
            let others = (1..blocks[stage]).map(|_| Block::new([CHANNELS[stage]; 2], 1, device));
            std::iter::once(first).chain(others).collect()
        };
        let mut features = BatchNormConfig::new(embedding_size).init(device);
        // Its weight is 1 and stays so: a head looks at directions, and lengths that differ by place would turn them.
        features.gamma = features.gamma.set_require_grad(false);
        IResNet {
            conv1: convolution([3, CHANNELS[0]], 3, 1, device),
            bn1: BatchNormConfig::new(CHANNELS[0]).init(device),
            prelu: activation(CHANNELS[0], device),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            bn2: BatchNormConfig::new(CHANNELS[3]).init(device),
            fc: LinearConfig::new(CHANNELS[3] * LAST_SIDE * LAST_SIDE, embedding_size).init(device),
            features,
        }
    }
}

/// Maps pictures to embeddings; the fields have the names of arcface_torch.
///
/// ```text
/// 3x3 convolution -> four stages of residual blocks, stride 2 each -> norm -> flatten -> linear -> norm
/// ```
///
/// # Source
///
/// Deng, Guo, Xue, Zafeiriou: [ArcFace](https://arxiv.org/abs/1801.07698), 2019, section 3.1; `backbones/iresnet.py` of
/// InsightFace's arcface_torch, without dropout, as its configurations have it.
#[derive(Module, Debug)]
pub struct IResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    prelu: PRelu,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    bn2: BatchNorm,
    fc: Linear,
    features: BatchNorm,
}

impl IResNet {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pictures: `[batch, 3, 112, 112]`, values in `[-1, 1]`
    /// - output: `[batch, embedding_size]`
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        assert_shape!(pictures, [_, 3, IMAGE_SIZE, IMAGE_SIZE]);
        let mut features = prelu(&self.prelu, self.bn1.forward(self.conv1.forward(pictures)));
        for block in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().flatten() {
            features = block.forward(features);
        }
        let flat = self.bn2.forward(features).flatten(1, 3);
        self.features.forward(self.fc.forward(flat))
    }
}

/// Two convolutions with a norm before, between and after them, added to what they began with.
#[derive(Module, Debug)]
struct Block {
    bn1: BatchNorm,
    conv1: Conv2d,
    bn2: BatchNorm,
    prelu: PRelu,
    conv2: Conv2d,
    bn3: BatchNorm,
    /// Where the shape changes.
    downsample: Option<Downsample>,
}

impl Block {
    fn new([channels_in, channels_out]: [usize; 2], stride: usize, device: &Device) -> Self {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let changes = stride > 1 || channels_in != channels_out;
        Self {
            bn1: norm(channels_in),
            conv1: convolution([channels_in, channels_out], 3, 1, device),
            bn2: norm(channels_out),
            prelu: activation(channels_out, device),
            conv2: convolution([channels_out, channels_out], 3, stride, device),
            bn3: norm(channels_out),
            downsample: changes.then(|| Downsample {
                conv: convolution([channels_in, channels_out], 1, stride, device),
                norm: norm(channels_out),
            }),
        }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.norm.forward(downsample.conv.forward(features.clone())),
            None => features.clone(),
        };
        let inner = self.bn2.forward(self.conv1.forward(self.bn1.forward(features)));
        self.bn3.forward(self.conv2.forward(prelu(&self.prelu, inner))) + shortcut
    }
}

/// Brings the shortcut to the shape of what it is added to.
#[derive(Module, Debug)]
struct Downsample {
    conv: Conv2d,
    norm: BatchNorm,
}

/// A convolution without bias; the padding is half the kernel.
fn convolution(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let padding = kernel / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(Initializer::Normal { mean: 0.0, std: 0.1 })
        .init(device)
}

fn activation(channels: usize, device: &Device) -> PRelu {
    PReluConfig::new().with_num_parameters(channels).init(device)
}
