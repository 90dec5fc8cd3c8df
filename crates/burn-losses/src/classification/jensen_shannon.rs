use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, assert_shape};
use burn_losses_kernels::precision::{cast_to, widen};

use crate::reduction::Reduction;

/// Settings of [`JensenShannon`]: there are none.
#[derive(Config, Debug)]
pub struct JensenShannonConfig {}

impl JensenShannonConfig {
    /// Builds the loss.
    pub fn init(&self) -> JensenShannon {
        JensenShannon {}
    }
}

/// How unlike two distributions are, in `[0, ln 2]` and the same both ways.
///
/// ```text
/// p, q    = softmax(first[i]), softmax(second[i])
/// loss[i] = 1/2·sum over c of p[c]·log(p[c] / m[c]) + 1/2·sum over c of q[c]·log(q[c] / m[c])     with m = (p + q) / 2
/// ```
///
/// Both sides have a gradient. A class that is masked out by minus infinity in both counts for nothing.
///
/// # Source
///
/// Lin: Divergence Measures Based on the Shannon Entropy, 1991, section IV.
#[derive(Module, Debug)]
pub struct JensenShannon {}

impl JensenShannon {
    /// One number for the batch.
    ///
    /// # Shapes
    ///
    /// - first, second: logits of `[batch, classes]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn forward(&self, first: Tensor<2>, second: Tensor<2>, reduction: Reduction) -> Tensor<1> {
        reduction.apply(self.forward_no_reduction(first, second))
    }

    /// The divergence of every row.
    ///
    /// # Shapes
    ///
    /// - first, second: logits of `[batch, classes]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_no_reduction(&self, first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
        let (dtype, [batch, classes]) = (first.dtype(), first.dims());
        assert_shape!(second, [batch, classes]);
        if batch == 0 {
            return first.reshape([0]);
        }
        let first = log_softmax(widen(first), 1);
        let second = log_softmax(cast_to(second, first.dtype()), 1);
        // A probability of 0 has a logarithm that is finite and as good as minus infinity.
        let (first, second) = (first.clamp_min(-1e30), second.clamp_min(-1e30));
        let apart = (first.clone() - second.clone()).abs().neg();
        let middle = first.clone().max_pair(second.clone()) + apart.exp().log1p();
        let middle = middle.sub_scalar(core::f64::consts::LN_2);
        let half = |log: Tensor<2>| log.clone().exp() * (log - middle.clone());
        let losses = (half(first) + half(second)).sum_dim(1).squeeze_dim::<1>(1).mul_scalar(0.5);

        cast_to(losses, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn equal_distributions_have_zero_and_disjoint_ones_ln_2() {
        let device = Device::flex();
        let loss = JensenShannonConfig::new().init();
        let first = Tensor::<2>::from_data([[0.3_f32, -2.0], [0.0, f32::NEG_INFINITY]], &device);
        let second = Tensor::<2>::from_data([[10.3_f32, 8.0], [f32::NEG_INFINITY, 5.0]], &device);
        let losses = loss.forward_no_reduction(first, second).try_into_vec_as::<f32>().unwrap();

        assert!(losses[0].abs() < 1e-6 && (losses[1] - core::f32::consts::LN_2).abs() < 1e-6, "{losses:?}");
    }
}
