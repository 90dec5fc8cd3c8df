use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;
use burn_losses_kernels::math::{cast_to, widen};

use super::log_probabilities::log_probabilities;
use crate::reduction::EmbeddingReduction;

/// Settings of [`JensenShannonLoss`].
#[derive(Config, Debug)]
pub struct JensenShannonLossConfig {}

impl JensenShannonLossConfig {
    /// Builds the loss.
    pub fn init(&self) -> JensenShannonLoss {
        JensenShannonLoss {}
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
/// # Source
///
/// Hendrycks et al.: [AugMix](https://arxiv.org/abs/1912.02781), 2019, section 3, equation 3.
#[derive(Module, Debug)]
pub struct JensenShannonLoss {}

impl JensenShannonLoss {
    /// The reduced loss; a mean is over rows.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward(&self, views: Vec<Tensor<2>>, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = views.first().map(Tensor::dtype);
        let losses = self.forward_no_reduction(views.into_iter().map(widen).collect());
        let reduced = reduction.apply(losses);
        match dtype {
            Some(dtype) => cast_to(reduced, dtype),
            None => reduced,
        }
    }

    /// The loss of every row.
    ///
    /// # Shapes
    ///
    /// - views: `[batch, classes]` each, two or more, row `i` of each from the same sample
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If there are fewer than two views or their shapes differ.
    pub fn forward_no_reduction(&self, views: Vec<Tensor<2>>) -> Tensor<1> {
        assert!(views.len() >= 2, "JensenShannonLoss: views must be two or more, got {}", views.len());
        let (dims, dtype) = (views[0].dims(), views[0].dtype());
        for view in &views {
            assert!(
                view.dims() == dims,
                "JensenShannonLoss: views must have the shape {dims:?}, got {:?}",
                view.dims()
            );
        }
        let share = 1.0 / views.len() as f64;
        if dims.contains(&0) {
            let nothing = Tensor::zeros([dims[0]], (&views[0].device(), dtype));
            return views.into_iter().fold(nothing, |total, view| total + cast_to(view, dtype).sum());
        }
        let views: Vec<_> = views.into_iter().map(|view| log_probabilities(widen(view))).collect();
        // log(mean of exp), with the largest taken out.
        let largest = views.iter().map(|view| view.clone().detach()).reduce(Tensor::max_pair).expect("two views");
        let shares = views.iter().map(|view| (view.clone() - largest.clone()).exp());
        let mixture = shares.reduce(|total, share| total + share).expect("two views").mul_scalar(share).log() + largest;

        let divergence = |view: Tensor<2>| view.clone().exp() * (view - mixture.clone());
        let total = views.into_iter().map(divergence).reduce(|total, view| total + view).expect("two views");
        cast_to(total.sum_dim(1).squeeze_dim(1).mul_scalar(share), dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use burn::tensor::Device;

    #[test]
    fn views_that_contradict_each_other_differ_by_the_logarithm_of_two() {
        let view = |row: [f32; 2]| Tensor::<2>::from_data([row], &Device::flex());
        let loss = JensenShannonLossConfig::new().init();
        let opposite = loss.forward_no_reduction(vec![view([50.0, -50.0]), view([-50.0, 50.0])]).into_scalar::<f32>();
        let equal = loss.forward_no_reduction(vec![view([1.0, 3.0]), view([1.0, 3.0])]).into_scalar::<f32>();

        assert!((opposite - core::f32::consts::LN_2).abs() < 1e-6 && equal.abs() < 1e-7, "{opposite} {equal}");
    }

    #[test]
    #[should_panic(expected = "JensenShannonLoss: views must be two or more, got 0")]
    fn no_views_are_rejected() {
        JensenShannonLossConfig::new().init().forward_no_reduction(vec![]);
    }
}
