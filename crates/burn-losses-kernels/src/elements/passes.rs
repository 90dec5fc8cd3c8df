//! The two passes on the memory of CPU backends.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Element as Number};

use super::Element;
use super::backend::{Output, Side};
use super::formulas::{Formula, with_formula};
use crate::host::threads::*;
use crate::host::{Host, Key, Real, Summand, Vectorised, sum_of_both, tensor, vectorised};

/// Below this many numbers a second thread is not woken.
const WORTH_A_THREAD: usize = 1 << 15;
/// Numbers that are read, computed with and written before the next.
const CHUNK: usize = 1 << 12;

impl Output {
    /// How many numbers are taken together.
    fn chunk(self) -> usize {
        match self {
            Self::Each | Self::Sum => CHUNK,
            Self::Rows(columns) => columns,
        }
    }
}

/// Numbers that are added in their own precision, 16 in a row, before the sum goes into one in `f64`.
const BLOCK: usize = 256;

pub(super) fn forward<H: Host>(
    predictions: &FloatTensor<H>,
    targets: &FloatTensor<H>,
    element: Element,
    output: Output,
) -> FloatTensor<H> {
    match predictions.dtype() {
        DType::F64 => {
            with_formula!(element, f64, |formula| forward_as::<H, f64>(predictions, targets, formula, output))
        }
        _ => with_formula!(element, f32, |formula| forward_as::<H, f32>(predictions, targets, formula, output)),
    }
}

/// The gradient of one side, of predictions, targets and the gradient of the output.
pub(super) fn backward<H: Host>(inputs: [&FloatTensor<H>; 3], element: Element, side: Side) -> FloatTensor<H> {
    match inputs[0].dtype() {
        DType::F64 => with_formula!(element, f64, |formula| backward_as::<H, f64>(inputs, formula, side)),
        _ => with_formula!(element, f32, |formula| backward_as::<H, f32>(inputs, formula, side)),
    }
}

fn forward_as<H: Host, T: Real + Key<T> + Number>(
    predictions: &FloatTensor<H>,
    targets: &FloatTensor<H>,
    formula: impl Formula<T>,
    output: Output,
) -> FloatTensor<H> {
    let count = predictions.shape()[1];
    let (x, y) = (H::strided::<T>(predictions), H::strided::<T>(targets));
    let (mut room_x, mut room_y) = (Vec::new(), Vec::new());
    let x = x.row(0, count, &mut room_x);
    let length = output.chunk();
    let y = ForAll::new(y.row(0, targets.shape()[1], &mut room_y), count, length);
    if output != Output::Each {
        let mut sums = vec![0.0_f64; count.div_ceil(length)];
        for_each_chunk(&mut sums, 1, WORTH_A_THREAD.div_ceil(length), &|chunk, sum| {
            let x = &x[chunk * length..count.min((chunk + 1) * length)];
            sum[0] = vectorised(Sum { x, y: &y.chunk(chunk), formula });
        });
        // In the order of the chunks, so that a sum is the same number with any threads.
        let sums = if output == Output::Sum { vec![sums.into_iter().sum()] } else { sums };
        let count = sums.len();
        return tensor::<H, _>(sums.into_iter().map(T::of).collect(), [1, count], &predictions.device());
    }
    let mut output = vec![T::zero(); count];
    for_each_chunk(&mut output, length, WORTH_A_THREAD.div_ceil(length), &|chunk, output| {
        let x = &x[chunk * length..][..output.len()];
        vectorised(Values { x, y: &y.chunk(chunk), formula, output });
    });
    tensor::<H, _>(output, [1, count], &predictions.device())
}

fn backward_as<H: Host, T: Real + Key<T> + Number>(
    [predictions, targets, gradient]: [&FloatTensor<H>; 3],
    formula: impl Formula<T>,
    side: Side,
) -> FloatTensor<H> {
    let count = predictions.shape()[1];
    let (of_targets, of_gradient) = (targets.shape()[1], gradient.shape()[1]);
    let length = if [1, count].contains(&of_gradient) { CHUNK } else { count / of_gradient };
    let (x, y, gradient) = (H::strided::<T>(predictions), H::strided::<T>(targets), H::strided::<T>(gradient));
    let (mut room_x, mut room_y, mut room) = (Vec::new(), Vec::new(), Vec::new());
    let x = x.row(0, count, &mut room_x);
    let y = ForAll::new(y.row(0, of_targets, &mut room_y), count, length);
    // Of a sum there is one for all, of sums of rows one for every row.
    let gradient = ForAll::new(gradient.row(0, of_gradient, &mut room), count, length);
    let mut output = vec![T::zero(); count];
    for_each_chunk(&mut output, length, WORTH_A_THREAD.div_ceil(length), &|chunk, output| {
        let x = &x[chunk * length..][..output.len()];
        let (y, gradient) = (&y.chunk(chunk), &gradient.chunk(chunk));
        match side {
            Side::Predictions => vectorised(Slopes::<_, _, 0> { x, y, gradient, formula, output }),
            Side::Targets => vectorised(Slopes::<_, _, 1> { x, y, gradient, formula, output }),
        }
    });
    tensor::<H, _>(output, [1, count], &predictions.device())
}

/// A number for every element, for every chunk, or for all.
enum ForAll<'a, T: Copy> {
    Each { numbers: &'a [T], length: usize },
    Chunks { numbers: &'a [T], length: usize },
    One(Vec<T>),
}

impl<'a, T: Real> ForAll<'a, T> {
    fn new(numbers: &'a [T], count: usize, length: usize) -> Self {
        match numbers.len() {
            given if given == count => Self::Each { numbers, length },
            1 => Self::One(vec![numbers[0]; length.min(count)]),
            _ => Self::Chunks { numbers, length },
        }
    }

    /// Those of a chunk, and maybe more.
    fn chunk(&self, number: usize) -> Cow<'_, [T]> {
        match self {
            Self::Each { numbers, length } => Cow::Borrowed(&numbers[number * length..]),
            Self::Chunks { numbers, length } => Cow::Owned(vec![numbers[number]; *length]),
            Self::One(same) => Cow::Borrowed(same),
        }
    }
}

struct Values<'a, T, F> {
    x: &'a [T],
    y: &'a [T],
    formula: F,
    output: &'a mut [T],
}

impl<T: Real, F: Formula<T>> Vectorised for Values<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for ((output, &x), &y) in self.output.iter_mut().zip(self.x).zip(self.y) {
            *output = self.formula.value::<FUSED>(x, y);
        }
    }
}

/// The loss of a prediction and its target.
#[derive(Clone, Copy)]
struct Loss<F>(F);

impl<T: Real, F: Formula<T>> Summand<T, 2> for Loss<F> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [x, y]: [T; 2]) -> T {
        self.0.value::<FUSED>(x, y)
    }
}

struct Sum<'a, T, F> {
    x: &'a [T],
    y: &'a [T],
    formula: F,
}

impl<T: Real, F: Formula<T>> Vectorised for Sum<'_, T, F> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        sum_of_both::<BLOCK, FUSED, _>(self.x, self.y, Loss(self.formula))
    }
}

/// The gradient times the slopes by one side.
struct Slopes<'a, T, F, const SIDE: usize> {
    x: &'a [T],
    y: &'a [T],
    gradient: &'a [T],
    formula: F,
    output: &'a mut [T],
}

impl<T: Real, F: Formula<T>, const SIDE: usize> Vectorised for Slopes<'_, T, F, SIDE> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (((output, &x), &y), &gradient) in self.output.iter_mut().zip(self.x).zip(self.y).zip(self.gradient) {
            *output = gradient * self.formula.slopes::<FUSED>(x, y)[SIDE];
        }
    }
}
