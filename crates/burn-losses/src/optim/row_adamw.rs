use burn::config::Config;
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::drawn_rows::{AdamWRule, Moments, adamw_step};
use burn_losses_kernels::math::widen;

use super::as_rows::{as_rows, rows_of};
use super::record::record_state;

/// Settings of [`RowAdamW`]. The defaults are PyTorch's.
#[derive(Config, Debug)]
pub struct RowAdamWConfig {
    /// How much of the mean of the gradients stays; in `[0, 1)`.
    /// Default: `0.9`.
    #[config(default = 0.9)]
    pub beta_1: f64,
    /// How much of the mean of their squares stays; in `[0, 1)`.
    /// Default: `0.999`.
    #[config(default = 0.999)]
    pub beta_2: f64,
    /// What is added to the root of the mean of the squares; finite and `> 0`.
    /// Default: `1e-8`.
    #[config(default = 1e-8)]
    pub epsilon: f64,
    /// How much of a drawn row is taken off, times the learning rate; finite and `>= 0`. Rows that are not drawn do not
    /// decay.
    /// Default: `0.01`.
    #[config(default = 0.01)]
    pub weight_decay: f64,
}

impl RowAdamWConfig {
    /// The optimizer of a group of parameters, for `ModuleOptimizer::with_group`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn build(&self) -> RowAdamW {
        let Self { beta_1, beta_2, epsilon, weight_decay } = *self;
        for (field, beta) in [("beta_1", beta_1), ("beta_2", beta_2)] {
            assert!((0.0..1.0).contains(&beta), "RowAdamW: {field} must be in [0, 1), got {beta}");
        }
        assert!(epsilon > 0.0 && epsilon.is_finite(), "RowAdamW: epsilon must be finite and > 0, got {epsilon}");
        let decays = weight_decay >= 0.0 && weight_decay.is_finite();
        assert!(decays, "RowAdamW: weight_decay must be finite and >= 0, got {weight_decay}");
        RowAdamW { rule: AdamWRule { beta_1, beta_2, epsilon, weight_decay } }
    }

    /// The optimizer of all parameters of a module.
    ///
    /// # Panics
    ///
    /// As [`build`](Self::build).
    #[track_caller]
    pub fn init(&self) -> ModuleOptimizer {
        self.build().into()
    }
}

/// AdamW, on the rows that a batch drew.
///
/// ```text
/// first  = beta_1·first + (1 - beta_1)·gradient
/// second = beta_2·second + (1 - beta_2)·gradient²
/// row    = row - learning_rate·(weight_decay·row
///                               + first/(1 - beta_1^steps) / (sqrt(second/(1 - beta_2^steps)) + epsilon))
/// ```
///
/// `steps` counts the steps in which the row was drawn. With the gradient of
/// [`RowGradient::Drawn`](super::RowGradient::Drawn) all rows that were not drawn, and their means, stay as they are to the
/// bit. With a dense gradient of any rank every number takes the step, and this is PyTorch's `AdamW`.
///
/// The means are twice as large as the parameter.
///
/// See [the module](super) for how to use it beside another optimizer.
///
/// # Deviations
///
/// InsightFace's `PartialFCAdamW` has one count of steps for all rows: a row that is first drawn late takes steps that are
/// too small by `1 - beta_1` and too large by the root of `1 - beta_2`, three times too large in all with its defaults.
///
/// # When to take it
///
/// For centers with [`RowGradient::Drawn`](super::RowGradient::Drawn) where the trunk has AdamW, too; its state is twice as large
/// as that of [`RowSgd`](super::RowSgd).
///
/// # Source
///
/// Loshchilov, Hutter: [Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101), 2019, algorithm 2.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::optim::RowAdamWConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 1).with_bias(false).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[1.0], [2.0]], &device));
/// let loss = layer.forward(Tensor::<2>::ones([1, 2], &device)).sum();
/// let gradients = GradientsParams::from_grads(loss.backward(), &layer);
/// let layer = RowAdamWConfig::new().with_weight_decay(0.0).init().step(0.1, layer, gradients);
/// // The gradients are 1; the first step is as large as the learning rate, whatever they are.
/// let weights = layer.weight.val().try_into_vec_as::<f32>().unwrap();
/// assert!((weights[0] - 0.9).abs() < 1e-6 && (weights[1] - 1.9).abs() < 1e-6, "{weights:?}");
/// ```
#[derive(Clone, Debug)]
pub struct RowAdamW {
    rule: AdamWRule,
}

/// What [`RowAdamW`] keeps of a parameter, in `f32` where that is in half precision.
#[derive(Clone, Debug)]
pub struct RowAdamWState<const D: usize> {
    /// The mean of the gradients, as the parameter.
    pub first: Tensor<D>,
    /// The mean of their squares, as the parameter.
    pub second: Tensor<D>,
    /// `1 - beta^steps` of both means for every row, `[2·rows, 1, ..]`; a vector is one row.
    pub shares: Tensor<D>,
}

impl<const D: usize> RowAdamWState<D> {
    fn new(weights: &Tensor<D>) -> Self {
        let zeros = || widen(weights.zeros_like());
        let (first, second) = (zeros(), zeros());
        let mut shape = [1; D];
        shape[0] = 2 * rows_of(weights.dims())[0];
        let shares = Tensor::zeros(shape, (&first.device(), first.dtype()));
        Self { first, second, shares }
    }
}

record_state!(RowAdamWState { first, second, shares });

impl Optimizer for RowAdamW {
    type State<const D: usize> = RowAdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<RowAdamWState<D>>,
    ) -> (Tensor<D>, Option<RowAdamWState<D>>) {
        let state = state.unwrap_or_else(|| RowAdamWState::new(&weights));
        let (shape, of_shares) = (weights.dims(), state.shares.dims());
        if shape.contains(&0) {
            return (weights, Some(state));
        }
        let size = rows_of(shape);
        let moments = Moments {
            first: state.first.reshape(size),
            second: state.second.reshape(size),
            shares: state.shares.reshape([size[0], 2]),
        };
        let [weights, gradient] = as_rows(weights, gradient);
        let (weights, moments) = adamw_step(weights, moments, gradient, self.rule, learning_rate);
        let Moments { first, second, shares } = moments;
        let state = RowAdamWState {
            first: first.reshape(shape),
            second: second.reshape(shape),
            shares: shares.reshape(of_shares),
        };
        (weights.reshape(shape), Some(state))
    }

    fn to_device<const D: usize>(state: RowAdamWState<D>, device: &Device) -> RowAdamWState<D> {
        let RowAdamWState { first, second, shares } = state;
        RowAdamWState {
            first: first.to_device(device),
            second: second.to_device(device),
            shares: shares.to_device(device),
        }
    }
}
