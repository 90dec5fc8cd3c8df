//! What is done to the products of a block with a tile: exponentials, their sums along rows and columns, and their gradients.

use super::block::{LANES, larger};
use super::sides::LEFT_OUT;
use crate::host::{Real, Vectorised};
use crate::math::NOTHING;

/// Of some rows of a side: their log-sum-exps, and what comes back to these, ready to be multiplied with exponentials.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T> {
    pub(super) sums: &'a [T],
    pub(super) weights: &'a [T],
}

/// Adds the exponentials of scores less `bound` to the sums of their rows and their lanes.
pub(super) struct AddExponentials<'a, T> {
    /// `[rows, lanes]`.
    pub(super) products: &'a [T],
    pub(super) scale: T,
    pub(super) bound: T,
    pub(super) row_factors: &'a [T],
    pub(super) row_sums: &'a mut [T],
    pub(super) lane_factors: &'a [T],
    pub(super) lane_sums: &'a mut [T],
}

impl<T: Real> Vectorised for AddExponentials<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { products, scale, bound, row_factors, row_sums, lane_factors, lane_sums } = self;
        let rows = products.chunks_exact(lane_factors.len());
        for ((products, &row_factor), row_sum) in rows.zip(row_factors).zip(row_sums) {
            let factor = row_factor * scale;
            let mut sums = [T::zero(); LANES];
            let lanes = products.chunks(LANES).zip(lane_factors.chunks(LANES)).zip(lane_sums.chunks_mut(LANES));
            for ((products, lane_factors), lane_sums) in lanes {
                let lanes = products.iter().zip(lane_factors).zip(lane_sums).zip(&mut sums);
                for (((&product, &lane_factor), lane_sum), sum) in lanes {
                    let exponential = (product * (lane_factor * factor) - bound).exponential::<FUSED>();
                    *lane_sum = *lane_sum + exponential;
                    *sum = *sum + exponential;
                }
            }
            *row_sum = sums.into_iter().fold(*row_sum, |sum, part| sum + part);
        }
    }
}

/// Writes the scores of products.
pub(super) struct Scores<'a, T> {
    /// `[rows, lanes]`.
    pub(super) products: &'a [T],
    pub(super) scale: T,
    pub(super) row_factors: &'a [T],
    pub(super) lane_factors: &'a [T],
    pub(super) scores: &'a mut [T],
}

impl<T: Real> Vectorised for Scores<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { products, scale, row_factors, lane_factors, scores } = self;
        let (nothing, left_out, lanes) = (T::of(NOTHING), T::of(0.5 * LEFT_OUT), lane_factors.len());
        let rows = products.chunks_exact(lanes).zip(scores.chunks_exact_mut(lanes));
        for ((products, scores), &row_factor) in rows.zip(row_factors) {
            let factor = row_factor * scale;
            for ((score, &product), &lane_factor) in scores.iter_mut().zip(products).zip(lane_factors) {
                *score = if product < left_out { nothing } else { product * (lane_factor * factor) };
            }
        }
    }
}

/// Takes scores `[rows, lanes]` into the running maxima and sums of their rows.
pub(super) struct MergeRows<'a, T> {
    pub(super) scores: &'a [T],
    pub(super) lanes: usize,
    pub(super) largest: &'a mut [T],
    pub(super) sums: &'a mut [T],
}

impl<T: Real> Vectorised for MergeRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { scores, lanes, largest, sums } = self;
        for ((scores, largest), sum) in scores.chunks_exact(lanes).zip(largest).zip(sums) {
            let (mut new, mut parts) = ([*largest; LANES], [T::zero(); LANES]);
            for scores in scores.chunks(LANES) {
                new.iter_mut().zip(scores).for_each(|(largest, &score)| *largest = larger(*largest, score));
            }
            let new = new.into_iter().fold(*largest, larger);
            for scores in scores.chunks(LANES) {
                let parts = parts.iter_mut().zip(scores);
                parts.for_each(|(part, &score)| *part = *part + (score - new).exponential::<FUSED>());
            }
            let before = *sum * (*largest - new).exponential::<FUSED>();
            *sum = parts.into_iter().fold(before, |sum, part| sum + part);
            *largest = new;
        }
    }
}

/// Replaces products by their gradient and that of the products at all longer lengths, and adds up what pulls at the factors.
pub(super) struct Weigh<'a, T> {
    /// `[rows, lanes]`.
    pub(super) products: &'a mut [T],
    /// The gradient of the products at all longer lengths; `None` at the longest.
    pub(super) beyond: Option<&'a [T]>,
    pub(super) scale: T,
    pub(super) bound: Option<T>,
    pub(super) rows: Weights<'a, T>,
    pub(super) row_factors: &'a [T],
    pub(super) row_pulls: &'a mut [T],
    pub(super) lanes: Weights<'a, T>,
    pub(super) lane_factors: &'a [T],
    pub(super) lane_pulls: &'a mut [T],
}

impl<T: Real> Vectorised for Weigh<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        match self.bound {
            Some(bound) => self.each::<FUSED>(|score, [_, row_weight], [_, lane_weight]| {
                (row_weight + lane_weight) * (score - bound).exponential::<FUSED>()
            }),
            None => self.each::<FUSED>(|score, [row_sum, row_weight], [lane_sum, lane_weight]| {
                row_weight * (score - row_sum).exponential::<FUSED>()
                    + lane_weight * (score - lane_sum).exponential::<FUSED>()
            }),
        }
    }
}

impl<T: Real> Weigh<'_, T> {
    /// `slope`: the gradient of a cosine by its score, and by the sum and the weight of its row and of its lane.
    #[inline(always)]
    fn each<const FUSED: bool>(self, slope: impl Fn(T, [T; 2], [T; 2]) -> T) {
        let Self { products, beyond, scale, bound: _, rows, row_factors, row_pulls, lanes, lane_factors, lane_pulls } =
            self;
        let width = lane_factors.len();
        let of_rows = rows.sums.iter().zip(rows.weights).zip(row_factors).zip(row_pulls);
        for (row, (products, (((&row_sum, &row_weight), &row_factor), row_pull))) in
            products.chunks_exact_mut(width).zip(of_rows).enumerate()
        {
            let mut pulls = [T::zero(); LANES];
            for start in (0..width).step_by(LANES) {
                let end = (start + LANES).min(width);
                let of_lanes = lanes.sums[start..end].iter().zip(&lanes.weights[start..end]);
                let of_lanes = of_lanes.zip(&lane_factors[start..end]).zip(&mut lane_pulls[start..end]);
                for ((product, (((&lane_sum, &lane_weight), &lane_factor), lane_pull)), pull) in
                    products[start..end].iter_mut().zip(of_lanes).zip(&mut pulls)
                {
                    let factor = row_factor * lane_factor;
                    let cosine = *product * factor;
                    let slope = slope(cosine * scale, [row_sum, row_weight], [lane_sum, lane_weight]);
                    let pulled = slope * cosine;
                    *lane_pull = *lane_pull + pulled;
                    *pull = *pull + pulled;
                    *product = slope * factor;
                }
            }
            *row_pull = pulls.into_iter().fold(*row_pull, |sum, part| sum + part);
            if let Some(beyond) = beyond {
                let beyond = &beyond[row * width..(row + 1) * width];
                products.iter_mut().zip(beyond).for_each(|(product, &beyond)| *product = *product + beyond);
            }
        }
    }
}
