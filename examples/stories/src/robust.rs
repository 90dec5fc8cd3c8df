//! A line through points of which some are far off: what each loss and each optimizer makes of it.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_losses::regression::{HuberLossConfig, LpLossConfig, MseLoss, QuantileLossConfig, Reduction};
use rand_distr::{Distribution, Normal, Uniform};

use crate::generator;

/// The slope and the height of the line the points are made of.
pub const TRUE: [f64; 2] = [2.0, 1.0];

const POINTS: usize = 25;
const OUTLIERS: usize = 5;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The squared error.
    L2,
    /// The absolute error.
    L1,
    /// Squared near 0, absolute beyond 0.5.
    Huber,
    /// The median, by the quantile loss at 0.5.
    Median,
    /// The quantile 0.9: above nine tenths of the points.
    UpperTenth,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::L2, Self::L1, Self::Huber, Self::Median, Self::UpperTenth];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::L1 => "L1",
            Self::Huber => "Huber",
            Self::Median => "quantile 0.5",
            Self::UpperTenth => "quantile 0.9",
        }
    }

    /// The mean over the points.
    pub fn mean(self, predictions: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        let device = predictions.device();
        let quantile = |quantile| QuantileLossConfig::new().with_quantile(quantile).init(&device);
        match self {
            Self::L2 => MseLoss::new().forward(predictions, targets, Reduction::Mean),
            Self::L1 => LpLossConfig::l1().forward(predictions, targets, Reduction::Mean),
            Self::Huber => HuberLossConfig::new(0.5).init().forward(predictions, targets, Reduction::Mean),
            Self::Median => quantile(0.5).forward(predictions, targets, Reduction::Mean),
            Self::UpperTenth => quantile(0.9).forward(predictions, targets, Reduction::Mean),
        }
    }
}

/// What takes the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    /// Plain gradient descent.
    Sgd,
    /// With momentum.
    Momentum,
    /// Adam.
    Adam,
    /// Plain, with a learning rate that falls to a hundredth.
    DecayingSgd,
}

impl Descent {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sgd, Self::Momentum, Self::Adam, Self::DecayingSgd];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "SGD",
            Self::Momentum => "momentum",
            Self::Adam => "Adam",
            Self::DecayingSgd => "SGD, decaying",
        }
    }

    fn optimizer(self) -> ModuleOptimizer {
        match self {
            Self::Sgd | Self::DecayingSgd => SgdConfig::new().init(),
            Self::Momentum => SgdConfig::new().with_momentum(Some(MomentumConfig::new().with_momentum(0.9))).init(),
            Self::Adam => AdamConfig::new().init(),
        }
    }

    fn learning_rate(self, progress: f64) -> f64 {
        match self {
            Self::Sgd => 0.5,
            Self::Momentum | Self::Adam => 0.05,
            Self::DecayingSgd => 0.5 * 0.01_f64.powf(progress),
        }
    }
}

/// The points, `[25, 1]` each: a fifth of them far above the line.
pub fn data(seed: u64, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let mut random = generator(seed);
    let normal = Normal::new(0.0, 0.2).expect("a deviation");
    let uniform = Uniform::new(-1.0, 1.0).expect("a range");
    let far = Uniform::new(4.0, 8.0).expect("a range");
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for point in 0..POINTS {
        let place: f64 = uniform.sample(&mut random);
        let noise: f64 = normal.sample(&mut random);
        // Those far off are on the right, where they tilt a line most.
        let (place, off) = if point < OUTLIERS { (place.abs(), far.sample(&mut random)) } else { (place, 0.0) };
        x.push(place);
        y.push(TRUE[0] * place + TRUE[1] + noise + off);
    }
    let column = |numbers: Vec<f64>| Tensor::from_data(TensorData::new(numbers, [POINTS, 1]), device);
    (column(x), column(y))
}

/// A line and how it was found.
pub struct Fit {
    /// Slope and height.
    pub line: [f64; 2],
    /// The mean loss before every step.
    pub losses: Vec<f64>,
}

impl Fit {
    /// How much the loss still goes up and down at the end: its mean change from step to step over the last tenth.
    pub fn oscillation(&self) -> f64 {
        let last = &self.losses[self.losses.len() - self.losses.len() / 10..];
        last.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f64>() / (last.len() - 1) as f64
    }
}

/// Fits a line from zero.
pub fn fit(loss: Loss, descent: Descent, steps: usize, data: &(Tensor<2>, Tensor<2>), device: &Device) -> Fit {
    let mut model: Linear = LinearConfig::new(1, 1).init(device);
    model.weight = Param::from_tensor(Tensor::zeros([1, 1], device));
    model.bias = Some(Param::from_tensor(Tensor::zeros([1], device)));
    let mut optimizer = descent.optimizer();
    let mut losses = Vec::new();
    for step in 0..steps {
        let value = loss.mean(model.forward(data.0.clone()), data.1.clone());
        losses.push(value.clone().into_scalar::<f64>());
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        model = optimizer.step(descent.learning_rate(step as f64 / steps as f64), model, gradients);
    }
    let model = model.valid();
    let number = |data: Vec<f64>| data[0];
    let slope = number(model.weight.val().try_into_vec_as::<f64>().expect("a weight"));
    let bias = model.bias.expect("the model has a bias").val();
    Fit { line: [slope, number(bias.try_into_vec_as::<f64>().expect("a bias"))], losses }
}

/// The largest distance between a line and the true one in `[-1, 1]`.
pub fn error(line: [f64; 2]) -> f64 {
    let at = |x: f64| ((line[0] - TRUE[0]) * x + line[1] - TRUE[1]).abs();
    at(-1.0).max(at(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_move_the_line_of_l2_and_hardly_those_of_the_robust_losses() {
        let device = Device::flex().autodiff();
        let data = data(7, &device);
        let of = |loss| error(fit(loss, Descent::DecayingSgd, 250, &data, &device).line);
        assert!(of(Loss::L2) > 1.0, "{}", of(Loss::L2));
        for loss in [Loss::L1, Loss::Huber, Loss::Median] {
            assert!(of(loss) < 0.5 * of(Loss::L2), "{loss:?}: {}", of(loss));
        }
    }

    #[test]
    fn a_decaying_learning_rate_stills_the_subgradient() {
        let device = Device::flex().autodiff();
        let data = data(7, &device);
        let of = |descent| fit(Loss::L1, descent, 250, &data, &device).oscillation();
        assert!(of(Descent::DecayingSgd) < 0.5 * of(Descent::Sgd), "{} {}", of(Descent::DecayingSgd), of(Descent::Sgd));
    }
}
