//! Losses of two numbers, a prediction and what it should be, number by number.
//!
//! A loss of this kind is a dozen tensor operations, each of which writes as many numbers as there are; here it is one
//! pass, and one for its gradients.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | ordinary tensor operations: the definition of correct, and what servers and LibTorch run |
//! | `backend.rs` | the passes as Burn's backends see them, and their gradient |
//! | `formulas.rs` | value and slope of every loss, for vector instructions |
//! | `passes.rs` | the passes on the memory of Flex and NdArray |
//! | `cube/` | formulas and passes as kernels on GPUs |

#[cfg(any(feature = "cpu-path", feature = "cube"))]
mod backend;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cpu-path")]
mod formulas;
#[cfg(feature = "cpu-path")]
mod passes;
mod reference;

use burn::tensor::Tensor;

/// What a prediction costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    /// A yes or no, where the prediction `x` is the log-odds of yes, `p = 1 / (1 + exp(-x))`, and `y` in `[0, 1]`:
    ///
    /// ```text
    /// present·y·(1 - p)^gamma_present·-log(p) + absent·(1 - y)·s^gamma_absent·-log(1 - s)
    /// s = max(p - clip, 0)
    /// ```
    Answer {
        /// What a yes weighs.
        present: f64,
        /// What a no weighs.
        absent: f64,
        /// How much less a yes costs that is sure already.
        gamma_present: f64,
        /// How much less a no costs that is sure already.
        gamma_absent: f64,
        /// The probability below which a no costs nothing.
        clip: f64,
    },
    /// `log(cosh(x - y))`
    LogCosh,
    /// `sqrt((x - y)² + epsilon²)`
    Charbonnier {
        /// Where the bend is.
        epsilon: f64,
    },
    /// `max(quantile·(y - x), (quantile - 1)·(y - x))`, with slope 0 at 0
    Quantile {
        /// Which quantile is predicted.
        quantile: f64,
    },
    /// `absolute·abs(x - y) + square/2·(x - y)²`, with slope 0 at 0
    Penalty {
        /// What the magnitude is multiplied with; 0 leaves it out, also where it is infinite.
        absolute: f64,
        /// What half the square is multiplied with; 0 leaves it out, also where it is infinite.
        square: f64,
    },
}

/// The loss of every prediction. Differentiable in both.
///
/// # Shapes
///
/// - predictions: any, in `f32` or `f64`, at least one number
/// - targets: as predictions
/// - output: as predictions
///
/// # Panics
///
/// If the shapes differ.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses_kernels::elements::{Element, elements};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([1.0, 5.0], &device);
/// let targets = Tensor::<1>::from_data([3.0, 3.0], &device);
/// let losses = elements(predictions, targets, Element::Quantile { quantile: 0.25 });
/// assert_eq!(losses.try_into_vec_as::<f32>().unwrap(), [0.5, 1.5]);
/// ```
pub fn elements<const D: usize>(predictions: Tensor<D>, targets: Tensor<D>, element: Element) -> Tensor<D> {
    check(&predictions, &targets);
    #[cfg(any(feature = "cpu-path", feature = "cube"))]
    if has_passes(&predictions) {
        return backend::elements(predictions, targets, element);
    }
    reference::elements(predictions, targets, element)
}

/// The sum of the [`elements`], `[1]`: neither they nor their slopes are ever held. In host memory no more than 16 are added in
/// their own precision, and these sums in `f64`; on GPUs parts of 16 384, and these sums, in an order that depends on the number
/// of predictions alone.
///
/// # Panics
///
/// If the shapes differ.
pub fn sum_of_elements<const D: usize>(predictions: Tensor<D>, targets: Tensor<D>, element: Element) -> Tensor<1> {
    check(&predictions, &targets);
    #[cfg(any(feature = "cpu-path", feature = "cube"))]
    if has_passes(&predictions) {
        return backend::sum_of_elements(predictions, targets, element);
    }
    reference::elements(predictions, targets, element).sum()
}

/// The sums of the [`elements`] of every row, `[rows]`.
///
/// # Panics
///
/// If the shapes differ.
pub fn sums_of_rows(predictions: Tensor<2>, targets: Tensor<2>, element: Element) -> Tensor<1> {
    check(&predictions, &targets);
    #[cfg(any(feature = "cpu-path", feature = "cube"))]
    if has_passes(&predictions) {
        return backend::sums_of_rows(predictions, targets, element);
    }
    reference::elements(predictions, targets, element).sum_dim(1).squeeze_dim(1)
}

/// [`sum_of_elements`] with targets of 0 that are not there, for penalties on numbers by themselves.
pub fn sum_of_elements_from_zero<const D: usize>(numbers: Tensor<D>, element: Element) -> Tensor<1> {
    #[cfg(any(feature = "cpu-path", feature = "cube"))]
    if has_passes(&numbers) {
        let zero = Tensor::zeros([1; D], (&numbers.device(), numbers.dtype()));
        return backend::sum_of_elements(numbers, zero, element);
    }
    let zeros = numbers.zeros_like();
    reference::elements(numbers, zeros, element).sum()
}

/// [`elements`] from ordinary tensor operations: the definition of correct.
pub fn elements_reference<const D: usize>(predictions: Tensor<D>, targets: Tensor<D>, element: Element) -> Tensor<D> {
    check(&predictions, &targets);
    reference::elements(predictions, targets, element)
}

/// Whether there are passes for such numbers. Of none there is nothing to launch.
#[cfg(any(feature = "cpu-path", feature = "cube"))]
fn has_passes<const D: usize>(numbers: &Tensor<D>) -> bool {
    let device = numbers.device();
    let enough = numbers.shape().num_elements() > 0 || crate::math::in_host_memory(&device);
    enough && crate::one_pass::has_passes(&device, numbers.dtype())
}

fn check<const D: usize>(predictions: &Tensor<D>, targets: &Tensor<D>) {
    let (expected, actual) = (predictions.dims(), targets.dims());
    assert!(actual == expected, "elements: targets must have the shape {expected:?}, got {actual:?}");
}
