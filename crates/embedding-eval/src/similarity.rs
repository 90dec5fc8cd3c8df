use std::cmp::Ordering;

use crate::{EvalError, ScoredPairs};

/// Which of two rows is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// That with the larger [`cosine_similarity`].
    Cosine,
    /// That with the shorter difference.
    Euclidean,
}

/// Scores and flags of all pairs of rows; made by [`all_pairs`].
#[derive(Clone, Debug, PartialEq)]
pub struct AllPairs {
    /// Cosine similarities of rows (0, 1), (0, 2), ..., (0, rows - 1), (1, 2), ...
    pub scores: Vec<f64>,
    /// Whether the two rows have the same label, in the same order.
    pub same: Vec<bool>,
}

impl AllPairs {
    /// The pairs as the metrics take them.
    ///
    /// # Errors
    ///
    /// Those of [`ScoredPairs::new`]; none for what [`all_pairs`] returned.
    pub fn scored(&self) -> Result<ScoredPairs<'_>, EvalError> {
        ScoredPairs::new(&self.scores, &self.same)
    }
}

/// Cosine of the angle between `a` and `b`, from -1 (opposite) to 1 (same direction).
///
/// ```text
/// cosine_similarity = <a, b> / sqrt(<a, a> * <b, b>),  or 0 if a or b is all zeros
/// ```
///
/// Summed in `f64`, so no `f32` over- or underflows. A vector with itself gives exactly 1.
///
/// ```
/// let similarity = embedding_eval::cosine_similarity(&[3.0, 4.0], &[4.0, 3.0])?;
/// assert_eq!(similarity, 0.96);
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// - [`LengthMismatch`](EvalError::LengthMismatch) if `b` is not as long as `a`
/// - [`Empty`](EvalError::Empty) if both have no values
/// - [`NotFinite`](EvalError::NotFinite) for the first NaN or infinite value
pub fn cosine_similarity(a: &[f32], b: &[f32]) -> Result<f64, EvalError> {
    if a.len() != b.len() {
        return Err(EvalError::LengthMismatch { what: "b", expected: a.len(), actual: b.len() });
    }
    if a.is_empty() {
        return Err(EvalError::Empty { what: "a" });
    }
    require_finite("a", a)?;
    require_finite("b", b)?;

    Ok(cosine(dot(a, b), dot(a, a), dot(b, b)))
}

/// The [cosine similarity](cosine_similarity) of every row with every later row.
///
/// # Shapes
///
/// - embeddings: `[rows, dim]`, row-major
/// - labels: `[rows]`, equal for rows of the same person
/// - output: `[rows * (rows - 1) / 2]`, ordered (0, 1), (0, 2), ..., (1, 2), ...
///
/// Time grows as `rows^2 * dim`. Memory is 9 bytes for each of the `rows * (rows - 1) / 2` pairs:
/// 4 500 rows make ten million pairs and 90 MB, 50 000 rows 11 GB. The norms are computed once.
///
/// # Errors
///
/// - [`InvalidDim`](EvalError::InvalidDim) if `dim` is 0 or does not divide the number of values
/// - [`LengthMismatch`](EvalError::LengthMismatch) if there is not one label for each row
/// - [`TooFewRows`](EvalError::TooFewRows) if there are fewer than two rows
/// - [`NotFinite`](EvalError::NotFinite) for the first NaN or infinite value
pub fn all_pairs(embeddings: &[f32], dim: usize, labels: &[usize]) -> Result<AllPairs, EvalError> {
    let rows = split_rows(embeddings, dim)?;
    if labels.len() != rows.len() {
        return Err(EvalError::LengthMismatch { what: "labels", expected: rows.len(), actual: labels.len() });
    }
    if rows.len() < 2 {
        return Err(EvalError::TooFewRows { rows: rows.len() });
    }

    let squared_norms: Vec<f64> = rows.iter().map(|row| dot(row, row)).collect();
    let pairs = rows.len() * (rows.len() - 1) / 2;
    let mut scores = Vec::with_capacity(pairs);
    let mut same = Vec::with_capacity(pairs);
    for first in 0..rows.len() {
        for second in first + 1..rows.len() {
            let product = dot(rows[first], rows[second]);
            scores.push(cosine(product, squared_norms[first], squared_norms[second]));
            same.push(labels[first] == labels[second]);
        }
    }

    Ok(AllPairs { scores, same })
}

/// Groups of rows that are equal value for value, as when an image is in the set twice.
///
/// Such a pair has similarity 1 whatever the model, and makes every figure look better than it is.
/// Groups and the rows in them ascend; rows without a twin are not listed.
///
/// ```
/// let embeddings = [1.0, 2.0, /**/ 0.5, 0.0, /**/ 1.0, 2.0];
/// assert_eq!(embedding_eval::identical_rows(&embeddings, 2)?, [[0, 2]]);
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
///
/// # Shapes
///
/// - embeddings: `[rows, dim]`, row-major
///
/// # Errors
///
/// - [`InvalidDim`](EvalError::InvalidDim) if `dim` is 0 or does not divide the number of values
/// - [`NotFinite`](EvalError::NotFinite) for the first NaN or infinite value
pub fn identical_rows(embeddings: &[f32], dim: usize) -> Result<Vec<Vec<usize>>, EvalError> {
    let rows = split_rows(embeddings, dim)?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    // Finite values always compare; the sort is stable, so rows ascend within a group.
    order.sort_by(|&a, &b| rows[a].partial_cmp(rows[b]).unwrap_or(Ordering::Equal));

    let mut groups: Vec<Vec<usize>> =
        order.chunk_by(|&a, &b| rows[a] == rows[b]).filter(|group| group.len() > 1).map(<[usize]>::to_vec).collect();
    groups.sort_unstable();
    Ok(groups)
}

pub(crate) fn split_rows(embeddings: &[f32], dim: usize) -> Result<Vec<&[f32]>, EvalError> {
    if dim == 0 || !embeddings.len().is_multiple_of(dim) {
        return Err(EvalError::InvalidDim { dim, values: embeddings.len() });
    }
    require_finite("embeddings", embeddings)?;

    Ok(embeddings.chunks_exact(dim).collect())
}

fn require_finite(what: &'static str, values: &[f32]) -> Result<(), EvalError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(EvalError::NotFinite { what, index, value: f64::from(values[index]) }),
    }
}

/// `product / sqrt(squared_norm_a * squared_norm_b)`, or 0 for a zero vector.
pub(crate) fn cosine(product: f64, squared_norm_a: f64, squared_norm_b: f64) -> f64 {
    // One root of the product, not two roots: the root of an f64 squared is that f64 again.
    let norms = (squared_norm_a * squared_norm_b).sqrt();
    if norms == 0.0 {
        return 0.0;
    }
    (product / norms).clamp(-1.0, 1.0)
}

/// The sum of products.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum_of_both(a, b, |a, b| a * b)
}

/// The square of the length of the difference.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum_of_both(a, b, |a, b| (a - b) * (a - b))
}

/// In eight partial sums, which the processor can add side by side.
fn sum_of_both(a: &[f32], b: &[f32], of: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;

    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0_f64; LANES];
    for (a_block, b_block) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += of(f64::from(a_block[lane]), f64::from(b_block[lane]));
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest: f64 = rest.map(|(&a, &b)| of(f64::from(a), f64::from(b))).sum();

    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_vector_is_similar_to_nothing() {
        assert_eq!(cosine_similarity(&[0.0, 0.0], &[1.0, 2.0]).unwrap(), 0.0);
        assert_eq!(cosine_similarity(&[0.0, 0.0], &[0.0, 0.0]).unwrap(), 0.0);
    }

    #[test]
    fn vector_with_itself_is_exactly_one_at_every_magnitude() {
        for scale in [f32::MAX / 16.0, 1.0, 1e-20, 1e-40] {
            // Eleven values: one whole block and a rest.
            let a: Vec<f32> = (1..12).map(|value| value as f32 * scale).collect();
            let opposite: Vec<f32> = a.iter().map(|value| -value).collect();
            assert_eq!(cosine_similarity(&a, &a).unwrap(), 1.0, "scale {scale}");
            assert_eq!(cosine_similarity(&a, &opposite).unwrap(), -1.0);
        }
    }

    #[test]
    fn rounding_never_leaves_the_range_nor_spoils_a_perfect_match() {
        for count in 1..40 {
            let a: Vec<f32> = (1..=count).map(|value| (value as f32).sqrt()).collect();
            assert_eq!(cosine_similarity(&a, &a).unwrap(), 1.0, "{count} values");
            for factor in 2..40 {
                // Parallel up to the rounding of f32.
                let b: Vec<f32> = a.iter().map(|value| value * factor as f32).collect();
                let similarity = cosine_similarity(&a, &b).unwrap();
                assert!((1.0 - 1e-13..=1.0).contains(&similarity), "{similarity}");
            }
        }
    }

    #[test]
    fn pairs_are_ordered_by_first_then_second_row() {
        // By hand: rows at 0, 90 and 45 degrees, and a zero row.
        let embeddings = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0, 0.0, 0.0];
        let pairs = all_pairs(&embeddings, 2, &[5, 8, 5, 8]).unwrap();
        let half = 0.5_f64.sqrt();
        let expected = [0.0, half, 0.0, half, 0.0, 0.0];
        for (score, expected) in pairs.scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-15, "{:?}", pairs.scores);
        }
        assert_eq!(pairs.same, [false, true, false, false, true, false]);
        assert_eq!(pairs.scored().unwrap().genuine(), 2);
    }

    #[test]
    fn every_score_is_the_cosine_similarity_of_its_rows() {
        let dim = 19;
        let embeddings: Vec<f32> = (0..5 * dim).map(|index| (index as f32).sin()).collect();
        let pairs = all_pairs(&embeddings, dim, &[0, 1, 2, 3, 4]).unwrap();
        let row = |index: usize| &embeddings[index * dim..(index + 1) * dim];
        let expected: Vec<f64> = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
            .map(|(first, second)| {
                let products = row(first).iter().zip(row(second));
                let product: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                let norm = |row: &[f32]| row.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>().sqrt();
                product / norm(row(first)) / norm(row(second))
            })
            .to_vec();
        assert_eq!(pairs.scores.len(), expected.len());
        for (score, expected) in pairs.scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-14, "{score} and {expected}");
        }
    }

    #[test]
    fn identical_rows_are_grouped() {
        let embeddings = [3.0, 1.0, 0.0, 3.0, 1.0, 3.0, -0.0, 2.0];
        let groups = identical_rows(&embeddings, 1).unwrap();
        assert_eq!(groups, [vec![0, 3, 5], vec![1, 4], vec![2, 6]]);
    }

    #[test]
    fn bad_shapes_are_refused() {
        for dim in [0, 2] {
            let expected = EvalError::InvalidDim { dim, values: 3 };
            assert_eq!(all_pairs(&[1.0; 3], dim, &[0]).unwrap_err(), expected);
            assert_eq!(identical_rows(&[1.0; 3], dim).unwrap_err(), expected);
        }
        assert_eq!(
            all_pairs(&[1.0; 4], 2, &[0]).unwrap_err(),
            EvalError::LengthMismatch { what: "labels", expected: 2, actual: 1 }
        );
        assert_eq!(all_pairs(&[1.0; 4], 4, &[0]).unwrap_err(), EvalError::TooFewRows { rows: 1 });
        assert_eq!(all_pairs(&[], 4, &[]).unwrap_err(), EvalError::TooFewRows { rows: 0 });
        assert_eq!(
            cosine_similarity(&[1.0], &[1.0, 2.0]).unwrap_err(),
            EvalError::LengthMismatch { what: "b", expected: 1, actual: 2 }
        );
        assert_eq!(cosine_similarity(&[], &[]).unwrap_err(), EvalError::Empty { what: "a" });
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let embeddings = [1.0, 2.0, value, 4.0];
            let is_third = |error| matches!(error, EvalError::NotFinite { index: 2, .. });
            assert!(is_third(all_pairs(&embeddings, 2, &[0, 1]).unwrap_err()));
            assert!(is_third(identical_rows(&embeddings, 2).unwrap_err()));
            assert!(is_third(cosine_similarity(&[1.0; 4], &embeddings).unwrap_err()));
            assert!(is_third(cosine_similarity(&embeddings, &[1.0; 4]).unwrap_err()));
        }
    }
}
