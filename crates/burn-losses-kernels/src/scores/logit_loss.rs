//! What logits cost as one number, whose gradient is computed while they are there.
//!
//! A loss whose weights are known beforehand needs no second look at its logits: of a chunk of queries they are computed for
//! all keys, turned into their gradient where they lie, and multiplied at once. That is three matrix products where
//! [`scores`](super::scores), which does not know what becomes of its sums, needs four.

#[cfg(feature = "cpu-path")]
mod op;

use burn::tensor::{Int, Tensor, assert_shape};

use super::Streaming;

/// What the logits of queries cost, added up over the queries.
///
/// ```text
/// logit[i, j] = cap·tanh((<queries[i], keys[j]> + bias[j]) / cap), or what the hyperbolic tangent is of without a cap
/// lse[i]      = log(sum over j of exp(logit[i, j]))
/// loss        = sum over i of  of_target[i]·(lse[i] - logit[i, labels[i]])
///                            + of_all[i]·sum over j of weights[j]·(lse[i] - logit[i, j])
///                            + of_square[i]·lse[i]²
/// ```
#[derive(Clone, Debug)]
pub struct LogitLoss {
    /// Added to the logit of every key, `[M]`; it receives a gradient.
    pub bias: Option<Tensor<1>>,
    /// What a logit stays below, in `[1e-3, 1e6]`; `None` leaves it.
    pub cap: Option<f64>,
    /// What the logits of each key are multiplied with, `[M]`; constants. `None` is 0.
    pub weights: Option<Tensor<1>>,
    /// `[N]`; a constant, as are the next two.
    pub of_target: Tensor<1>,
    /// `[N]`.
    pub of_all: Tensor<1>,
    /// `[N]`.
    pub of_square: Tensor<1>,
    /// Logits of as many queries at once as [`kept_bytes`](Streaming::kept_bytes) hold with all that is beyond the gradients.
    pub streaming: Streaming,
}

/// The loss, `[1]`, or `None` where this is no way to compute it: where tensors are not memory of this process, are of
/// half precision or of two types, or where so few queries fit that products with them are slower than one product more.
///
/// A query whose label is the position of no key costs nothing, whatever its numbers are. If `queries`, `keys` or the bias are
/// tracked, their gradients are computed here and kept until the backward pass; else nothing but the loss is. The result
/// depends on the number of threads, but not on their speed.
///
/// # Shapes
///
/// - queries: `[N, D]`
/// - keys: `[M, D]`
/// - labels: `[N]`
///
/// # Panics
///
/// If the shapes do not agree, or the cap is not in its range.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::scores::{LogitLoss, Streaming, logit_loss};
///
/// let device = Device::default();
/// let numbers = |numbers: [f32; 1]| Tensor::<1>::from_floats(numbers, &device);
/// // Logits 0 and ln 3: probabilities 1/4 and 3/4.
/// let keys = Tensor::<2>::from_floats([[0.0], [3.0_f32.ln()]], &device);
/// let loss = LogitLoss {
///     bias: None,
///     cap: None,
///     weights: None,
///     of_target: numbers([2.0]),
///     of_all: numbers([0.0]),
///     of_square: numbers([0.0]),
///     streaming: Streaming::new(),
/// };
/// let label = Tensor::<1, Int>::from_ints([1], &device);
/// let loss = logit_loss(Tensor::ones([1, 1], &device), keys, label, loss);
/// // None, unless the feature of its backend is on here.
/// if let Some(loss) = loss {
///     assert!((loss.into_scalar::<f32>() - 2.0 * (4.0_f32 / 3.0).ln()).abs() < 1e-6);
/// }
/// ```
pub fn logit_loss(queries: Tensor<2>, keys: Tensor<2>, labels: Tensor<1, Int>, loss: LogitLoss) -> Option<Tensor<1>> {
    let ([batch, dim], [count, _]) = (queries.dims(), keys.dims());
    assert_shape!(keys, [count, dim]);
    assert_shape!(labels, [batch]);
    for numbers in [&loss.of_target, &loss.of_all, &loss.of_square] {
        assert_shape!(numbers, [batch]);
    }
    for numbers in [&loss.bias, &loss.weights].into_iter().flatten() {
        assert_shape!(numbers, [count]);
    }
    if let Some(cap) = loss.cap {
        assert!((1e-3..=1e6).contains(&cap), "logit_loss: cap must be in [1e-3, 1e6], got {cap}");
    }
    #[cfg(feature = "cpu-path")]
    return op::on_host(queries, keys, labels, loss);
    #[cfg(not(feature = "cpu-path"))]
    None
}
