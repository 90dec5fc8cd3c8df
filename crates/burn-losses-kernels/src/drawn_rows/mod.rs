//! Rows of a large matrix that a batch draws, and steps of an optimizer that touch no others.
//!
//! The gradient of a selection is as large as the matrix, and an optimizer walks all of it. Here the gradient of
//! [`drawn_rows`] is *packed*: it has a row for every one that was drawn, which says where it belongs. A step by
//! [`sgd_step`] or [`adamw_step`] reads it and changes those rows where they lie.
//!
//! | file | what |
//! | --- | --- |
//! | `backend.rs` | the selections as Burn's backends see them, and their gradients |
//! | `cube.rs` | the gradient of all rows on GPUs |
//! | `packed.rs` | what stands behind the gradient of a row |
//! | `mean.rs` | the gradient of several batches |
//! | `rule.rs` | the settings of the steps |
//! | `reference.rs` | the steps from ordinary tensor operations: the definition of correct, and what GPUs run |
//! | `host.rs` | the steps on the memory of Flex and NdArray |

mod backend;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cpu-path")]
mod host;
mod mean;
mod packed;
mod reference;
mod rule;

use burn::tensor::{Bool, Int, Tensor, assert_shape};

pub use mean::mean_of_drawn_rows;
use packed::is_packed;
pub use rule::{AdamWRule, SgdRule};

/// The rows of a matrix at some places, with a packed gradient.
///
/// ```text
/// output[i] = weights[places[i]]
/// ```
///
/// The gradient of the weights is `[drawn, dim + 6]`: that of every row of the output, the four bytes of its place with a
/// check of them, and whether it counts. No ordinary optimizer takes such a gradient. Where this crate does not know the backend, the gradient
/// is that of Burn's selection, `[rows, dim]`.
///
/// # Shapes
///
/// - weights: `[rows, dim]`, of any float type
/// - places: `[drawn]`, in `0..rows`; no row that counts twice
/// - counted: `[drawn]`; what does not count must have the gradient 0
/// - output: `[drawn, dim]`
///
/// # Panics
///
/// If the shapes do not agree.
///
/// ```
/// use burn::tensor::{Bool, Device, Int, Tensor};
/// use burn_losses_kernels::drawn_rows::drawn_rows;
///
/// let device = Device::default();
/// let weights = Tensor::<2>::from_data([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], &device);
/// let places = Tensor::<1, Int>::from_ints([2, 0], &device);
/// let counted = Tensor::<1, Bool>::from_data([true, true], &device);
/// let rows = drawn_rows(weights, places, counted).try_into_vec_as::<f32>().unwrap();
/// assert_eq!(rows, [3.0, 3.0, 1.0, 1.0]);
/// ```
pub fn drawn_rows(weights: Tensor<2>, places: Tensor<1, Int>, counted: Tensor<1, Bool>) -> Tensor<2> {
    let [drawn] = places.dims();
    assert_shape!(counted, [drawn]);
    if !crate::scores::streams_on(&weights.device()) {
        return weights.select(0, places);
    }
    backend::drawn_rows(weights, places, counted)
}

/// The rows of a matrix at some places, none of which counts twice, with a gradient of all rows.
///
/// ```text
/// output[i] = weights[places[i]]
/// ```
///
/// The same as Burn's selection. Its gradient is written by one kernel on GPUs, where Burn's adds up the rows of the output one after
/// the other, since it must expect a place to be there twice.
///
/// # Shapes
///
/// - weights: `[rows, dim]`, of any float type
/// - places: `[drawn]`, in `0..rows`; no row that counts twice
/// - used: `[drawn]`, negative for what does not count, which must have the gradient 0
/// - output: `[drawn, dim]`
///
/// # Panics
///
/// If the shapes do not agree.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::drawn_rows::distinct_rows;
///
/// let device = Device::default().autodiff();
/// let weights = Tensor::<2>::from_data([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], &device).require_grad();
/// let places = Tensor::<1, Int>::from_ints([2, 0], &device);
/// let used = Tensor::<1, Int>::from_ints([0, 0], &device);
/// let gradients = distinct_rows(weights.clone(), places, used).sum().backward();
/// let gradient = weights.grad(&gradients).unwrap().try_into_vec_as::<f32>().unwrap();
/// assert_eq!(gradient, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
/// ```
pub fn distinct_rows(weights: Tensor<2>, places: Tensor<1, Int>, used: Tensor<1, Int>) -> Tensor<2> {
    let [drawn] = places.dims();
    assert_shape!(used, [drawn]);
    if !crate::scores::streams_on(&weights.device()) {
        return weights.select(0, places);
    }
    backend::distinct_rows(weights, places, used)
}

/// A step of gradient descent on the rows of a packed gradient, or on all. No gradient is recorded.
///
/// ```text
/// g        = gradient + weight_decay·w
/// velocity = momentum·velocity + g
/// w        = w - learning_rate·(g + momentum·velocity    if nesterov, else velocity)
/// ```
///
/// All other rows stay as they are to the bit, those of the velocity too. In host memory weights and velocity are changed
/// in place where no other tensor shares them.
///
/// # Shapes
///
/// - weights: `[rows, dim]`, of any float type
/// - velocity: as weights, in `f32` where they are in half precision; 0 before the first step
/// - gradient: `[drawn, dim + 6]`, packed, or `[rows, dim]`, of all rows
/// - learning_rate: finite and at least 0, which is not checked
/// - output: the weights and the velocity after the step
///
/// # Panics
///
/// If the shapes do not agree. If the gradient is the sum or mean of several (but by [`mean_of_drawn_rows`]), or was clipped or scaled; on a GPU its
/// rows become NaN then.
///
/// ```
/// use burn::tensor::{Bool, Device, Int, Tensor};
/// use burn_losses_kernels::drawn_rows::{SgdRule, drawn_rows, sgd_step};
///
/// let device = Device::default().autodiff();
/// let weights = Tensor::<2>::from_data([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], &device).require_grad();
/// let places = Tensor::<1, Int>::from_ints([2], &device);
/// let counted = Tensor::<1, Bool>::from_data([true], &device);
/// // Of the drawn row every gradient is 1.
/// let gradients = drawn_rows(weights.clone(), places, counted).sum().backward();
/// let gradient = weights.grad(&gradients).unwrap();
/// let weights = weights.inner();
/// let rule = SgdRule { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
/// let (weights, velocity) = sgd_step(weights.clone(), weights.zeros_like(), gradient, rule, 0.5);
/// assert_eq!(weights.try_into_vec_as::<f32>().unwrap(), [1.0, 1.0, 2.0, 2.0, 2.5, 2.5]);
/// assert_eq!(velocity.try_into_vec_as::<f32>().unwrap(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
/// ```
pub fn sgd_step(
    weights: Tensor<2>,
    velocity: Tensor<2>,
    gradient: Tensor<2>,
    rule: SgdRule,
    learning_rate: f64,
) -> (Tensor<2>, Tensor<2>) {
    check(&weights, &velocity, &gradient);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&weights.device()) && weights.dtype() == velocity.dtype() {
        return host::sgd_step(weights, velocity, gradient, rule, learning_rate);
    }
    reference::sgd_step(weights, velocity, gradient, rule, learning_rate)
}

/// [`sgd_step`] from ordinary tensor operations: the definition of correct.
pub fn sgd_step_reference(
    weights: Tensor<2>,
    velocity: Tensor<2>,
    gradient: Tensor<2>,
    rule: SgdRule,
    learning_rate: f64,
) -> (Tensor<2>, Tensor<2>) {
    check(&weights, &velocity, &gradient);
    reference::sgd_step(weights, velocity, gradient, rule, learning_rate)
}

/// What AdamW knows of every row; 0 before the first step.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses_kernels::drawn_rows::Moments;
///
/// // Before the first step of a matrix of 5 rows of 3 numbers.
/// let zeros = |columns| Tensor::<2>::zeros([5, columns], &Device::default());
/// let moments = Moments { first: zeros(3), second: zeros(3), shares: zeros(2) };
/// assert_eq!(moments.shares.dims(), [5, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    /// The mean of the gradients, as the weights.
    pub first: Tensor<2>,
    /// The mean of their squares, as the weights.
    pub second: Tensor<2>,
    /// How much of these two means is there, `1 - beta^steps` of every row, `[rows, 2]`, in the type of the others.
    pub shares: Tensor<2>,
}

/// A step of AdamW on the rows of a packed gradient, or on all. No gradient is recorded.
///
/// ```text
/// first  = beta_1·first + (1 - beta_1)·gradient
/// second = beta_2·second + (1 - beta_2)·gradient²
/// w      = w - learning_rate·weight_decay·w
///            - learning_rate·first/(1 - beta_1^steps) / (sqrt(second/(1 - beta_2^steps)) + epsilon)
/// ```
///
/// `steps` counts those in which the row was drawn, this one with them: a mean knows nothing of others.
///
/// Everything else is as in [`sgd_step`], the learning rate too.
///
/// # Panics
///
/// As [`sgd_step`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses_kernels::drawn_rows::{AdamWRule, Moments, adamw_step};
///
/// let device = Device::default();
/// // A gradient of all rows. The first step is as large as the learning rate, whatever the gradient is.
/// let weights = Tensor::<2>::from_data([[1.0, 2.0]], &device);
/// let gradient = Tensor::<2>::from_data([[3.0, -0.5]], &device);
/// let zeros = || Tensor::<2>::zeros([1, 2], &device);
/// let moments = Moments { first: zeros(), second: zeros(), shares: zeros() };
/// let rule = AdamWRule { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
/// let (weights, _) = adamw_step(weights, moments, gradient, rule, 0.1);
/// let weights = weights.try_into_vec_as::<f32>().unwrap();
/// assert!((weights[0] - 0.9).abs() < 1e-6 && (weights[1] - 2.1).abs() < 1e-6, "{weights:?}");
/// ```
pub fn adamw_step(
    weights: Tensor<2>,
    moments: Moments,
    gradient: Tensor<2>,
    rule: AdamWRule,
    learning_rate: f64,
) -> (Tensor<2>, Moments) {
    check_moments(&weights, &moments, &gradient);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&weights.device()) && weights.dtype() == moments.first.dtype() {
        return host::adamw_step(weights, moments, gradient, rule, learning_rate);
    }
    reference::adamw_step(weights, moments, gradient, rule, learning_rate)
}

/// [`adamw_step`] from ordinary tensor operations: the definition of correct.
pub fn adamw_step_reference(
    weights: Tensor<2>,
    moments: Moments,
    gradient: Tensor<2>,
    rule: AdamWRule,
    learning_rate: f64,
) -> (Tensor<2>, Moments) {
    check_moments(&weights, &moments, &gradient);
    reference::adamw_step(weights, moments, gradient, rule, learning_rate)
}

fn check(weights: &Tensor<2>, state: &Tensor<2>, gradient: &Tensor<2>) {
    let [rows, dim] = weights.dims();
    assert_shape!(state, [rows, dim]);
    let of_gradient = gradient.dims();
    let fits = is_packed(of_gradient, [rows, dim]) || of_gradient == [rows, dim];
    assert!(
        fits,
        "a gradient of shape {of_gradient:?} is none of a parameter of shape {:?}, nor of drawn rows",
        [rows, dim]
    );
}

fn check_moments(weights: &Tensor<2>, moments: &Moments, gradient: &Tensor<2>) {
    let [rows, dim] = weights.dims();
    let Moments { first, second, shares } = moments;
    check(weights, first, gradient);
    assert_shape!(second, [rows, dim]);
    assert_shape!(shares, [rows, 2]);
}
