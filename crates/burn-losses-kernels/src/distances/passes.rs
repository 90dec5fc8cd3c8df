//! The two passes on the memory of CPU backends.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Element};

use super::Metric;
use super::metrics::{Different, Distance, Euclidean, Extreme, Power, Sum};
use super::products::Pairs;
use crate::host::threads::*;
use crate::host::{Host, Key, Real, Vectorised, tensor, vectorised};

/// Below this many differences a second thread is not woken.
const WORTH_A_THREAD: usize = 1 << 15;

/// Calls a function with the distance of a metric.
macro_rules! with_distance {
    ($metric:expr, $real:ty, |$distance:ident| $body:expr) => {
        match $metric {
            Metric::Smallest => {
                let $distance = Extreme { largest: false };
                $body
            }
            Metric::Largest => {
                let $distance = Extreme { largest: true };
                $body
            }
            Metric::Different => {
                let $distance = Different;
                $body
            }
            Metric::Sum => {
                let $distance = Sum;
                $body
            }
            Metric::Euclidean | Metric::SquaredEuclidean => {
                let $distance = Euclidean;
                $body
            }
            Metric::Power(p) => {
                let $distance = Power::<$real> { p: <$real>::of(p) };
                $body
            }
        }
    };
}

/// Whether a metric comes of a matrix product, for so many rows on the second side; for one a pass is as quick.
fn by_products(metric: Metric, columns: usize) -> bool {
    metric == Metric::SquaredEuclidean || metric == Metric::Euclidean && columns > 1
}

fn forward_by_products<H: Host, T: Real + Key<T> + Element>(
    first: &FloatTensor<H>,
    second: &FloatTensor<H>,
    metric: Metric,
) -> FloatTensor<H> {
    let ((a, [rows, dim]), (b, [columns, _])) = (rows_of::<H, T>(first), rows_of::<H, T>(second));
    let pairs = Pairs { first: &a, second: &b, dim, squared: metric == Metric::SquaredEuclidean };
    tensor::<H, _>(pairs.distances(), [rows, columns], &first.device())
}

pub(super) fn forward<H: Host>(first: &FloatTensor<H>, second: &FloatTensor<H>, metric: Metric) -> FloatTensor<H> {
    if by_products(metric, second.shape()[0]) {
        return match first.dtype() {
            DType::F64 => forward_by_products::<H, f64>(first, second, metric),
            _ => forward_by_products::<H, f32>(first, second, metric),
        };
    }
    match first.dtype() {
        DType::F64 => with_distance!(metric, f64, |distance| forward_as::<H, f64>(first, second, distance)),
        _ => with_distance!(metric, f32, |distance| forward_as::<H, f32>(first, second, distance)),
    }
}

/// The gradients of both sides, where they are wanted.
pub(super) fn backward<H: Host>(
    first: &FloatTensor<H>,
    second: &FloatTensor<H>,
    metric: Metric,
    distances: &FloatTensor<H>,
    gradient: &FloatTensor<H>,
    wanted: [bool; 2],
) -> [Option<FloatTensor<H>>; 2] {
    match first.dtype() {
        DType::F64 => {
            let sides = Sides::<'_, f64>::new::<H>(first, second, distances, gradient);
            if by_products(metric, sides.counts[1]) {
                return sides.by_products::<H>(metric, wanted, &first.device());
            }
            with_distance!(metric, f64, |distance| sides.gradients::<H>(distance, wanted, &first.device()))
        }
        _ => {
            let sides = Sides::<'_, f32>::new::<H>(first, second, distances, gradient);
            if by_products(metric, sides.counts[1]) {
                return sides.by_products::<H>(metric, wanted, &first.device());
            }
            with_distance!(metric, f32, |distance| sides.gradients::<H>(distance, wanted, &first.device()))
        }
    }
}

fn rows_of<H: Host, T: Real + Key<T> + Element>(matrix: &FloatTensor<H>) -> (Cow<'_, [T]>, [usize; 2]) {
    let shape = matrix.shape();
    (H::strided::<T>(matrix).whole(shape[0], shape[1]), [shape[0], shape[1]])
}

fn forward_as<H: Host, T: Real + Key<T> + Element>(
    first: &FloatTensor<H>,
    second: &FloatTensor<H>,
    distance: impl Distance<T>,
) -> FloatTensor<H> {
    let (rows, a) = (first.shape()[0], H::strided::<T>(first));
    let (b, [columns, dim]) = rows_of::<H, T>(second);
    let mut output = vec![T::zero(); rows * columns];
    let length = WORTH_A_THREAD.div_ceil(columns * dim);
    for_each_chunk(&mut output, length * columns, 1, &|chunk, output| {
        let mut room = Vec::new();
        for (place, output) in output.chunks_exact_mut(columns).enumerate() {
            vectorised(Row { a: a.row(chunk * length + place, dim, &mut room), b: &b, distance, output });
        }
    });
    tensor::<H, _>(output, [rows, columns], &first.device())
}

/// The distances of a row to all rows of the other side.
struct Row<'a, T, D> {
    a: &'a [T],
    b: &'a [T],
    distance: D,
    output: &'a mut [T],
}

impl<T: Real, D: Distance<T>> Vectorised for Row<'_, T, D> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (output, b) in self.output.iter_mut().zip(self.b.chunks_exact(self.a.len())) {
            *output = self.distance.of::<FUSED>(self.a, b);
        }
    }
}

/// What a backward pass reads.
struct Sides<'a, T: Copy> {
    first: Cow<'a, [T]>,
    second: Cow<'a, [T]>,
    /// How many rows of either there are.
    counts: [usize; 2],
    dim: usize,
    distances: Cow<'a, [T]>,
    gradient: Cow<'a, [T]>,
}

impl<'a, T: Real + Key<T> + Element> Sides<'a, T> {
    fn new<H: Host>(
        first: &'a FloatTensor<H>,
        second: &'a FloatTensor<H>,
        distances: &'a FloatTensor<H>,
        gradient: &'a FloatTensor<H>,
    ) -> Self {
        let ((first, [rows, dim]), (second, [columns, _])) = (rows_of::<H, T>(first), rows_of::<H, T>(second));
        let (distances, gradient) = (rows_of::<H, T>(distances).0, rows_of::<H, T>(gradient).0);
        Self { first, second, counts: [rows, columns], dim, distances, gradient }
    }

    fn by_products<H: Host>(
        &self,
        metric: Metric,
        wanted: [bool; 2],
        device: &H::Device,
    ) -> [Option<FloatTensor<H>>; 2] {
        let squared = metric == Metric::SquaredEuclidean;
        let pairs = Pairs { first: &self.first, second: &self.second, dim: self.dim, squared };
        let [rows, columns] = self.counts;
        let [first, second] = pairs.gradients(&self.distances, &self.gradient, wanted);
        [
            first.map(|numbers| tensor::<H, _>(numbers, [rows, self.dim], device)),
            second.map(|numbers| tensor::<H, _>(numbers, [columns, self.dim], device)),
        ]
    }

    fn gradients<H: Host>(
        &self,
        distance: impl Distance<T>,
        wanted: [bool; 2],
        device: &H::Device,
    ) -> [Option<FloatTensor<H>>; 2] {
        let [rows, columns] = self.counts;
        let of_side = |own: &[T], other: &[T], count: usize, steps: [usize; 2]| {
            let mut output = vec![T::zero(); own.len()];
            for_each_chunk(&mut output, self.dim, WORTH_A_THREAD.div_ceil(other.len()), &|row, output| {
                let (a, start) = (&own[row * self.dim..(row + 1) * self.dim], row * steps[0]);
                vectorised(Slopes { sides: self, distance, a, other, start, step: steps[1], output });
            });
            tensor::<H, _>(output, [count, self.dim], device)
        };
        // Distances are the same both ways, and so are their slopes.
        [
            wanted[0].then(|| of_side(&self.first, &self.second, rows, [columns, 1])),
            wanted[1].then(|| of_side(&self.second, &self.first, columns, [1, columns])),
        ]
    }
}

/// The gradient of a row, from all rows of the other side.
struct Slopes<'a, T: Copy, D> {
    sides: &'a Sides<'a, T>,
    distance: D,
    a: &'a [T],
    other: &'a [T],
    /// Where the distances of the row begin, and how far one is from the next.
    start: usize,
    step: usize,
    output: &'a mut [T],
}

impl<T: Real, D: Distance<T>> Vectorised for Slopes<'_, T, D> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { sides, distance, a, other, start, step, output } = self;
        for (number, b) in other.chunks_exact(a.len()).enumerate() {
            let place = start + number * step;
            let gradient = sides.gradient[place];
            // A pair that nothing asks for may be of rows that are no numbers.
            if gradient != T::zero() {
                distance.add_slope::<FUSED>(a, b, sides.distances[place], gradient, output);
            }
        }
    }
}
