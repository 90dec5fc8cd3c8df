//! What pairs cost where each is a question of its own, as one number whose gradient is computed while their scores are there.
//!
//! A sigmoid needs no sum over its row, so what a pair costs and its gradient are known as soon as its score is: that is three matrix
//! products where [`scores`](super::scores), which does not know what becomes of its sums, needs four.

#[cfg(feature = "cpu-path")]
pub(super) mod op;

use burn::tensor::{Tensor, assert_shape};

use super::{Scale, Sides};

/// The sum of what all pairs of two sides cost, `[1]`, or `None` where this is no way to compute it: where tensors are not memory of
/// this process, are of half precision, of two types or on two devices.
///
/// ```text
/// score[i, j] = scale·cosine(first[i], second[j]) + bias
/// loss        = sum over the i with labels[0][i] >= 0 of softplus(-score[i, i])
///             + sum over the i and j that are compared of softplus(score[i, j])
/// ```
///
/// The row at the place of another on the other side is its partner, which is compared with it, too, if their labels differ; what else
/// is compared, [`Sides`] says. Rows with negative labels cost nothing, but must be numbers. If a side, the scale or the bias is tracked,
/// their gradients are computed here and kept until the backward pass. The result depends on the number of threads,
/// but not on their speed.
///
/// # Shapes
///
/// - bias: `[1]`
///
/// # Panics
///
/// If the shapes do not agree, the sides have not as many rows, or a constant scale is not in `[1e-10, 1e10]`.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::scores::{Scale, Sides, sigmoid_loss};
///
/// let device = Device::default();
/// let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 2.0]], &device);
/// let sides = Sides { first: rows.clone(), second: rows, labels: [labels.clone(), labels] };
/// let loss = sigmoid_loss(sides, Scale::Constant(10.0), Tensor::from_floats([-10.0], &device));
/// // None, unless the feature of its backend is on here.
/// if let Some(loss) = loss {
///     // Partners have the score 0, the others -10.
///     assert!((loss.into_scalar::<f32>() - 2.0 * (2.0_f32.ln() + (-10.0_f32).exp().ln_1p())).abs() < 1e-6);
/// }
/// ```
pub fn sigmoid_loss(sides: Sides, scale: impl Into<Scale>, bias: Tensor<1>) -> Option<Tensor<1>> {
    let (Sides { first, second, labels: [labels, other_labels] }, scale) = (&sides, scale.into());
    let [rows, dim] = first.dims();
    assert_shape!(second, [rows, dim]);
    assert_shape!(labels, [rows]);
    assert_shape!(other_labels, [rows]);
    assert_shape!(bias, [1]);
    match &scale {
        Scale::Constant(scale) => {
            assert!((1e-10..=1e10).contains(scale), "sigmoid_loss: scale must be in [1e-10, 1e10], got {scale}");
        }
        Scale::Tensor(scale) => assert_shape!(scale, [1]),
    }
    #[cfg(feature = "cpu-path")]
    return op::on_host(sides, scale, bias);
    #[cfg(not(feature = "cpu-path"))]
    None
}
