use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};

use super::elementwise::{elementwise, reduced};
use crate::targets::check_range;

/// What the predictions are.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum PoissonInput {
    /// Logarithms of rates.
    LogRate,
    /// Rates, `>= 0`.
    Rate,
}

/// What is added that depends on the targets only.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TargetTerm {
    /// Nothing: the loss can be negative.
    Omitted,
    /// Stirling's approximation of the logarithm of the target's factorial, for targets above 1.
    Stirling,
}

/// Settings of [`PoissonNllLoss`].
#[derive(Config, Debug)]
pub struct PoissonNllLossConfig {
    /// What the predictions are.
    /// Default: `PoissonInput::LogRate`.
    #[config(default = "PoissonInput::LogRate")]
    pub input: PoissonInput,
    /// What is added that depends on the targets only.
    /// Default: `TargetTerm::Omitted`.
    #[config(default = "TargetTerm::Omitted")]
    pub target_term: TargetTerm,
    /// Added to a rate under the logarithm; in `[1e-12, 1]`.
    /// Default: `1e-8`.
    #[config(default = 1e-8)]
    pub epsilon: f64,
}

impl PoissonNllLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> PoissonNllLoss {
        let Self { input, target_term, epsilon } = *self;
        assert!((1e-12..=1.0).contains(&epsilon), "PoissonNllLoss: epsilon must be in [1e-12, 1], got {epsilon}");
        PoissonNllLoss { input, target_term, epsilon }
    }
}

/// Negative log-likelihood of counts.
///
/// ```text
/// loss = exp(predictions) - targets·predictions               with LogRate
/// loss = predictions - targets·log(predictions + epsilon)     with Rate
///        + targets·log(targets) - targets + log(2·pi·targets) / 2    with Stirling, for targets > 1
/// ```
///
/// Burn's `PoissonNllLoss` has the same values, but reads its targets back from the device in every forward, to check
/// them; this one looks at them only where they lie in host memory. In `f32` the logarithm of a rate must be below 88.
///
/// # When to take it
///
/// For counts, which have their mean as variance in this model. For numbers of 0 and more that are no counts, take
/// [`MeanSquaredLogarithmicErrorLoss`](super::MeanSquaredLogarithmicErrorLoss).
///
/// # Source
///
/// The likelihood of Poisson regression; the same as `poisson_nll_loss` of PyTorch.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regression::{PoissonNllLossConfig, Reduction};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([0.0], &device);
/// let targets = Tensor::<1>::from_data([2.0], &device);
/// let loss = PoissonNllLossConfig::new().init(&device).forward(predictions, targets, Reduction::Mean);
/// // A rate of exp(0), and nothing for the logarithm of it.
/// assert!((loss.into_scalar::<f32>() - 1.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct PoissonNllLoss {
    #[module(skip)]
    input: PoissonInput,
    #[module(skip)]
    target_term: TargetTerm,
    epsilon: f64,
}

impl PoissonNllLoss {
    /// The reduced loss; `BatchMean` divides the sum by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize>(
        &self,
        predictions: Tensor<D>,
        targets: Tensor<D>,
        reduction: Reduction,
    ) -> Tensor<1> {
        reduced(predictions, reduction, |predictions| self.forward_no_reduction(predictions, targets))
    }

    /// The loss of every number.
    ///
    /// # Shapes
    ///
    /// - predictions: any
    /// - targets: the same
    /// - output: the same
    ///
    /// # Panics
    ///
    /// If the shapes differ, or a target in host memory is below 0.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize>(&self, predictions: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
        check_range("PoissonNllLoss", "targets", &targets, [0.0, f64::INFINITY], None);
        elementwise("PoissonNllLoss", predictions, targets, |predictions, targets| {
            let losses = match self.input {
                PoissonInput::LogRate => predictions.clone().exp() - targets.clone() * predictions,
                PoissonInput::Rate => {
                    let logarithm = predictions.clone().add_scalar(self.epsilon).log();
                    predictions - targets.clone() * logarithm
                }
            };
            match self.target_term {
                TargetTerm::Omitted => losses,
                TargetTerm::Stirling => losses + log_factorial(targets),
            }
        })
    }
}

/// Stirling's approximation of `log(targets!)`; 0 up to 1.
fn log_factorial<const D: usize>(targets: Tensor<D>) -> Tensor<D> {
    let small = targets.clone().lower_equal_scalar(1.0);
    let targets = targets.mask_fill(small.clone(), 1.0);
    let logarithm = targets.clone().log();
    let half = logarithm.clone().add_scalar(libm::log(2.0 * core::f64::consts::PI)).mul_scalar(0.5);

    (targets.clone() * logarithm - targets + half).mask_fill(small, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &PoissonNllLoss, predictions: [f32; 3], targets: [f32; 3]) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_rate_and_its_logarithm_cost_the_same() {
        let rate = losses(
            &PoissonNllLossConfig::new().with_input(PoissonInput::Rate).init(&Device::flex()),
            [1.0, 2.0, 0.0],
            [3.0, 0.0, 0.0],
        );
        let logarithm =
            losses(&PoissonNllLossConfig::new().init(&Device::flex()), [0.0, 2.0_f32.ln(), -1e4], [3.0, 0.0, 0.0]);

        // By hand: 1 - 3·0, 2 - 0 and 0.
        for losses in [rate, logarithm] {
            assert!((losses[0] - 1.0).abs() < 1e-6 && (losses[1] - 2.0).abs() < 1e-6 && losses[2] == 0.0, "{losses:?}");
        }
    }

    #[test]
    #[should_panic(expected = "PoissonNllLoss: targets[1] is -1, but must be in [0, inf]")]
    fn a_negative_count_is_named() {
        losses(&PoissonNllLossConfig::new().init(&Device::flex()), [0.0; 3], [2.0, -1.0, 0.0]);
    }

    #[test]
    fn small_targets_have_no_factorial() {
        let loss = PoissonNllLossConfig::new().with_target_term(TargetTerm::Stirling).init(&Device::flex());
        let losses = losses(&loss, [0.0, 0.0, 0.0], [0.0, 1.0, 2.0]);

        // By hand: 1, 1 and 1 + 2·ln 2 - 2 + ln(4·pi) / 2 = 1.6518061.
        assert_eq!(losses[..2], [1.0, 1.0]);
        assert!((losses[2] - 1.651_806_1).abs() < 1e-6, "{losses:?}");
    }
}
