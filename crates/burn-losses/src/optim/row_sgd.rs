use burn::config::Config;
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::drawn_rows::{SgdRule, sgd_step};
use burn_losses_kernels::math::widen;

use super::as_rows::{as_rows, rows_of};
use super::record::record_state;

/// Settings of [`RowSgd`].
#[derive(Config, Debug)]
pub struct RowSgdConfig {
    /// How much of the velocity stays; in `[0, 1)`.
    /// Default: `0.9`.
    #[config(default = 0.9)]
    pub momentum: f64,
    /// Whether the step looks ahead by one more momentum.
    /// Default: `false`.
    #[config(default = false)]
    pub nesterov: bool,
    /// How much of a drawn row is added to its gradient; finite and `>= 0`. Rows that are not drawn do not decay.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub weight_decay: f64,
}

impl RowSgdConfig {
    /// The optimizer of a group of parameters, for `ModuleOptimizer::with_group`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn build(&self) -> RowSgd {
        let Self { momentum, nesterov, weight_decay } = *self;
        assert!((0.0..1.0).contains(&momentum), "RowSgd: momentum must be in [0, 1), got {momentum}");
        let decays = weight_decay >= 0.0 && weight_decay.is_finite();
        assert!(decays, "RowSgd: weight_decay must be finite and >= 0, got {weight_decay}");
        RowSgd { rule: SgdRule { momentum, nesterov, weight_decay } }
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

/// Gradient descent with momentum, on the rows that a batch drew.
///
/// ```text
/// gradient = gradient + weight_decay·row
/// velocity = momentum·velocity + gradient
/// row      = row - learning_rate·velocity                               (nesterov: (gradient + momentum·velocity))
/// ```
///
/// This is PyTorch's `SGD` with `dampening` 0; Burn's own has a dampening of 0.1 by default. With the gradient of
/// [`RowGradient::Drawn`](super::RowGradient::Drawn) all rows that were not drawn, and their velocity, stay as they are to
/// the bit: Partial FC's rule. With a dense gradient of any rank every number takes the step.
///
/// The velocity is as large as the parameter.
///
/// See [the module](super) for how to use it beside another optimizer.
///
/// # When to take it
///
/// For centers with [`RowGradient::Drawn`](super::RowGradient::Drawn), the rule of InsightFace's PartialFC. Where all
/// classes are compared with, any optimizer of Burn will do.
///
/// # Source
///
/// An et al.: [Partial FC](https://arxiv.org/abs/2010.05222), 2020, and its code, `PartialFC` of InsightFace, which cuts the
/// velocity of the drawn rows out and puts it back.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::optim::RowSgdConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 1).with_bias(false).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[1.0], [2.0]], &device));
/// let loss = layer.forward(Tensor::<2>::ones([1, 2], &device)).sum();
/// let gradients = GradientsParams::from_grads(loss.backward(), &layer);
/// let layer = RowSgdConfig::new().init().step(0.1, layer, gradients);
/// // Every gradient is 1, and so is the first velocity.
/// let weights = layer.weight.val().try_into_vec_as::<f32>().unwrap();
/// assert!((weights[0] - 0.9).abs() < 1e-6 && (weights[1] - 1.9).abs() < 1e-6, "{weights:?}");
/// ```
#[derive(Clone, Debug)]
pub struct RowSgd {
    rule: SgdRule,
}

/// What [`RowSgd`] keeps of a parameter.
#[derive(Clone, Debug)]
pub struct RowSgdState<const D: usize> {
    /// As the parameter; in `f32` where that is in half precision.
    pub velocity: Tensor<D>,
}

record_state!(RowSgdState { velocity });

impl Optimizer for RowSgd {
    type State<const D: usize> = RowSgdState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<RowSgdState<D>>,
    ) -> (Tensor<D>, Option<RowSgdState<D>>) {
        let velocity = state.map_or_else(|| widen(weights.zeros_like()), |state| state.velocity);
        let shape = weights.dims();
        if shape.contains(&0) {
            return (weights, Some(RowSgdState { velocity }));
        }
        let [weights, gradient] = as_rows(weights, gradient);
        let (weights, velocity) =
            sgd_step(weights, velocity.reshape(rows_of(shape)), gradient, self.rule, learning_rate);

        (weights.reshape(shape), Some(RowSgdState { velocity: velocity.reshape(shape) }))
    }

    fn to_device<const D: usize>(state: RowSgdState<D>, device: &Device) -> RowSgdState<D> {
        RowSgdState { velocity: state.velocity.to_device(device) }
    }
}
