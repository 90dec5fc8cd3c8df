use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::class_weights::class_axis;
use super::log_probabilities::log_probabilities;
use super::samples::{by_row, without};
use crate::reduction::{Divisor, reduce};
use crate::shape::check_shape;

const NAME: &str = "JensenShannonLoss";

/// Settings of [`JensenShannonLoss`].
#[derive(Config, Debug)]
pub struct JensenShannonLossConfig {
    /// Which axis of the logits is that of the classes; a negative number counts from the end. 1 is PyTorch's
    /// `[batch, classes, ...]`, -1 is `[..., classes]`.
    /// Default: `1`.
    #[config(default = 1)]
    pub class_dim: isize,
}

impl JensenShannonLossConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> JensenShannonLoss {
        JensenShannonLoss { class_dim: self.class_dim }
    }
}

/// How differently several views of the same samples are classified.
///
/// ```text
/// p[v]    = softmax(views[v][i])
/// mixture = mean over v of p[v]
/// loss[i] = mean over v of sum over c of p[v, c]·(log(p[v, c]) - log(mixture[c]))
/// ```
///
/// In `[0, log(views)]`, 0 when all agree. Added to the cross-entropy of the clean view (AugMix: three views, weight 12).
/// Logits are finite. Deviation: the paper's code floors the mixture at `1e-7` under the logarithm; here the logarithm is
/// of a log-sum-exp and needs no floor.
///
/// # When to take it
///
/// Beside a cross-entropy, for views of one picture that should be told alike (AugMix). Never alone: it knows no
/// labels, and is 0 where all samples get the same answer. For a teacher and a student take
/// [`KLDivLoss`](super::KLDivLoss).
///
/// # Source
///
/// Hendrycks et al.: [AugMix](https://arxiv.org/abs/1912.02781), 2019, section 3, equation 3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::classification::{JensenShannonLossConfig, Reduction};
///
/// let device = Device::default();
/// let loss = JensenShannonLossConfig::new().init(&device);
/// let views = [[[50.0, 0.0]], [[0.0, 50.0]]].map(|logits| Tensor::<2>::from_data(logits, &device));
/// // One view is sure of the first class, the other of the second.
/// let loss = loss.forward(views.to_vec(), Reduction::Mean);
/// assert!((loss.into_scalar::<f32>() - 2.0_f32.ln()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct JensenShannonLoss {
    class_dim: isize,
}

impl JensenShannonLoss {
    /// The reduced loss; a mean is over samples, `BatchMean` divides the sum by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize>(&self, views: Vec<Tensor<D>>, reduction: Reduction) -> Tensor<1> {
        check_count(&views);
        let (batch, dtype) = (views[0].dims()[0], views[0].dtype());
        cast_to(reduce(reduction, self.losses(views), batch, Divisor::Count), dtype)
    }

    /// The loss of every sample.
    ///
    /// # Shapes
    ///
    /// - views: two or more of `[batch, classes]`, or any other with the classes along `class_dim`; the same place of each
    ///   is the same sample
    /// - output: `[batch]`, the shape of a view without the axis of the classes; name its rank, as in
    ///   `let losses: Tensor<1> = loss.forward_no_reduction(views)`
    ///
    /// # Panics
    ///
    /// If there are fewer than two views or their shapes differ.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize, const L: usize>(&self, views: Vec<Tensor<D>>) -> Tensor<L> {
        const { assert!(D == L + 1, "losses have one axis less than logits: that of the classes") }
        check_count(&views);
        let (shape, dtype) = (views[0].dims(), views[0].dtype());
        let shape = without(class_axis::<D>(NAME, self.class_dim), shape);
        let shape: [usize; L] = shape.try_into().expect("one axis less");
        cast_to(self.losses(views), dtype).reshape(shape)
    }

    #[track_caller]
    fn losses<const D: usize>(&self, views: Vec<Tensor<D>>) -> Tensor<1> {
        for view in &views {
            check_shape(NAME, "every view", view.dims(), views[0].dims());
        }
        let axis = class_axis::<D>(NAME, self.class_dim);
        let share = 1.0 / views.len() as f64;
        let views: Vec<Tensor<2>> = views.into_iter().map(|view| widen(by_row(view, axis))).collect();
        let dims = views[0].dims();
        if dims.contains(&0) {
            let nothing = Tensor::zeros([dims[0]], (&views[0].device(), views[0].dtype()));
            return views.into_iter().fold(nothing, |total, view| total + view.sum());
        }
        let views: Vec<_> = views.into_iter().map(log_probabilities).collect();
        // log(mean of exp), with the largest taken out.
        let largest = views.iter().map(|view| view.clone().detach()).reduce(Tensor::max_pair).expect("two views");
        let shares = views.iter().map(|view| (view.clone() - largest.clone()).exp());
        let mixture = shares.reduce(|total, share| total + share).expect("two views").mul_scalar(share).log() + largest;

        let divergence = |view: Tensor<2>| view.clone().exp() * (view - mixture.clone());
        let total = views.into_iter().map(divergence).reduce(|total, view| total + view).expect("two views");
        total.sum_dim(1).squeeze_dim(1).mul_scalar(share)
    }
}

#[track_caller]
fn check_count<const D: usize>(views: &[Tensor<D>]) {
    assert!(views.len() >= 2, "{NAME}: views must be two or more, got {}", views.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn views_that_contradict_each_other_differ_by_the_logarithm_of_two() {
        let view = |row: [f32; 2]| Tensor::<2>::from_data([row], &Device::flex());
        let loss = JensenShannonLossConfig::new().init(&Device::flex());
        let opposite =
            loss.forward_no_reduction::<2, 1>(vec![view([50.0, -50.0]), view([-50.0, 50.0])]).into_scalar::<f32>();
        let equal = loss.forward_no_reduction::<2, 1>(vec![view([1.0, 3.0]), view([1.0, 3.0])]).into_scalar::<f32>();

        assert!((opposite - core::f32::consts::LN_2).abs() < 1e-6 && equal.abs() < 1e-7, "{opposite} {equal}");
    }

    #[test]
    #[should_panic(expected = "JensenShannonLoss: views must be two or more, got 0")]
    fn no_views_are_rejected() {
        JensenShannonLossConfig::new().init(&Device::flex()).forward_no_reduction::<2, 1>(vec![]);
    }
}
