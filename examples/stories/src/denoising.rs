//! Small pictures, two kinds of noise, and a network that takes it away.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{PaddingConfig2d, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn_losses::reduction::EmbeddingReduction;
use burn_losses::regression::{LpLossConfig, MseLoss};
use rand::rngs::StdRng;
use rand_distr::{Distribution, Normal, Uniform};

use crate::generator;

/// Pictures are squares of this many pixels a side.
pub const SIDE: usize = 32;

const CHANNELS: usize = 12;
const BATCH: usize = 16;

/// What was done to the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// A quarter of the pixels black or white.
    SaltAndPepper,
    /// A normal number added to every pixel.
    Gaussian,
}

impl Noise {
    /// Both.
    pub const ALL: [Self; 2] = [Self::SaltAndPepper, Self::Gaussian];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SaltAndPepper => "salt and pepper",
            Self::Gaussian => "Gaussian",
        }
    }
}

/// What the network is trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The absolute error of a pixel.
    L1,
    /// The squared one.
    L2,
}

/// Clean pictures: rectangles and discs of random gray on a slope, row by row, in `[0, 1]`.
pub fn pictures(count: usize, random: &mut StdRng) -> Vec<f64> {
    let unit = Uniform::new(0.0, 1.0).expect("a range");
    let mut draw = || -> f64 { unit.sample(random) };
    let mut pixels = Vec::with_capacity(count * SIDE * SIDE);
    for _ in 0..count {
        let (from, to) = (draw(), draw());
        let shapes: Vec<[f64; 6]> = (0..5).map(|_| std::array::from_fn(|_| draw())).collect();
        for place in 0..SIDE * SIDE {
            let (x, y) = ((place % SIDE) as f64 / SIDE as f64, (place / SIDE) as f64 / SIDE as f64);
            let mut gray = from + (to - from) * x;
            for &[left, top, width, height, shade, kind] in &shapes {
                let inside = if kind < 0.5 {
                    (left..left + 0.5 * width).contains(&x) && (top..top + 0.5 * height).contains(&y)
                } else {
                    (x - left).hypot(y - top) < 0.25 * width + 0.05
                };
                gray = if inside { shade } else { gray };
            }
            pixels.push(gray);
        }
    }
    pixels
}

/// The pictures with noise.
pub fn spoil(noise: Noise, clean: &[f64], random: &mut StdRng) -> Vec<f64> {
    let unit = Uniform::new(0.0, 1.0).expect("a range");
    let normal = Normal::new(0.0, 0.15).expect("a deviation");
    let spoil = |&gray: &f64| match noise {
        Noise::SaltAndPepper => match unit.sample(random) {
            chance if chance < 0.125 => 0.0,
            chance if chance < 0.25 => 1.0,
            _ => gray,
        },
        Noise::Gaussian => (gray + normal.sample(random)).clamp(0.0, 1.0),
    };
    clean.iter().map(spoil).collect()
}

/// Three convolutions. The noisy picture is not added to what they give: where most pixels are untouched, a network that
/// changes nothing is the best at first, and L1 would never leave it.
#[derive(Module, Debug)]
pub struct Denoiser {
    first: Conv2d,
    second: Conv2d,
    last: Conv2d,
}

impl Denoiser {
    fn new(device: &Device) -> Self {
        let convolution = |channels: [usize; 2]| {
            Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
        };
        Self {
            first: convolution([1, CHANNELS]),
            second: convolution([CHANNELS, CHANNELS]),
            last: convolution([CHANNELS, 1]),
        }
    }

    /// # Shapes
    ///
    /// - pictures: `[batch, 1, height, width]`
    fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let features = Relu::new().forward(self.first.forward(pictures));
        let features = Relu::new().forward(self.second.forward(features));
        self.last.forward(features)
    }

    /// Pictures without their noise, as numbers in `[0, 1]`.
    pub fn clean(&self, noisy: &[f64], device: &Device) -> Vec<f64> {
        let cleaned = self.forward(tensor(noisy, device)).clamp(0.0, 1.0);
        cleaned.try_into_vec_as::<f64>().expect("pictures can be read")
    }
}

fn tensor(pixels: &[f64], device: &Device) -> Tensor<4> {
    let count = pixels.len() / (SIDE * SIDE);
    Tensor::from_data(TensorData::new(pixels.to_vec(), [count, 1, SIDE, SIDE]), device)
}

/// Trains a network from pictures that are new in every step; without autodiff at the end.
pub fn train(noise: Noise, loss: Loss, steps: usize, seed: u64, device: &Device) -> Denoiser {
    device.seed(seed);
    let mut random = generator(seed);
    let mut model = Denoiser::new(device);
    let mut optimizer = AdamConfig::new().init();
    for step in 0..steps {
        let clean = pictures(BATCH, &mut random);
        let noisy = spoil(noise, &clean, &mut random);
        let (cleaned, clean) = (model.forward(tensor(&noisy, device)), tensor(&clean, device));
        let losses = match loss {
            Loss::L1 => LpLossConfig::l1().forward_no_reduction(cleaned, clean),
            Loss::L2 => MseLoss::new().forward_no_reduction(cleaned, clean),
        };
        let gradients = GradientsParams::from_grads(EmbeddingReduction::Mean.apply(losses).backward(), &model);
        let learning_rate = 0.005 * 0.1_f64.powf(step as f64 / steps as f64);
        model = optimizer.step(learning_rate, model, gradients);
    }
    model.valid()
}

/// Peak signal-to-noise ratio in decibels, of pixels in `[0, 1]`.
pub fn psnr(pixels: &[f64], clean: &[f64]) -> f64 {
    let squares: f64 = pixels.iter().zip(clean).map(|(a, b)| (a - b) * (a - b)).sum();
    -10.0 * (squares / clean.len() as f64).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_ten_times_the_logarithm_of_the_error() {
        // By hand: a mean squared error of 0.01 is 20 dB.
        assert!((psnr(&[0.1, 0.4], &[0.0, 0.5]) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_network_takes_noise_away() {
        let device = Device::flex().autodiff();
        let mut random = generator(9);
        let clean = pictures(4, &mut random);
        let noisy = spoil(Noise::SaltAndPepper, &clean, &mut random);
        let model = train(Noise::SaltAndPepper, Loss::L1, 60, 3, &device);
        let cleaned = model.clean(&noisy, &device.clone().inner());
        assert!(psnr(&cleaned, &clean) > psnr(&noisy, &clean) + 1.0);
    }
}
