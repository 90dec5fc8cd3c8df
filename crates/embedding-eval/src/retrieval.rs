use std::thread;

use crate::similarity::{cosine, dot, split_rows, squared_distance};
use crate::{EvalError, Nearness};

/// Rows of embeddings with a label each, checked once.
///
/// Only a view: it borrows both slices and is free to copy.
#[derive(Clone, Copy, Debug)]
pub struct LabelledRows<'a> {
    embeddings: &'a [f32],
    dim: usize,
    labels: &'a [usize],
}

impl<'a> LabelledRows<'a> {
    /// # Shapes
    ///
    /// - embeddings: `[rows, dim]`, row-major
    /// - labels: `[rows]`, equal for rows of the same person or class
    ///
    /// # Errors
    ///
    /// - [`InvalidDim`](EvalError::InvalidDim) if `dim` is 0 or does not divide the number of values
    /// - [`LengthMismatch`](EvalError::LengthMismatch) if there is not one label for each row
    /// - [`NotFinite`](EvalError::NotFinite) for the first NaN or infinite value
    pub fn new(embeddings: &'a [f32], dim: usize, labels: &'a [usize]) -> Result<Self, EvalError> {
        let rows = split_rows(embeddings, dim)?.len();
        if labels.len() != rows {
            return Err(EvalError::LengthMismatch { what: "labels", expected: rows, actual: labels.len() });
        }
        Ok(Self { embeddings, dim, labels })
    }

    /// Each row with its label.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [f32], usize)> {
        self.embeddings.chunks_exact(self.dim).zip(self.labels.iter().copied())
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.embeddings[row * self.dim..(row + 1) * self.dim]
    }

    /// What is known of every row beforehand.
    fn squared_norms(&self) -> Vec<f64> {
        self.embeddings.chunks_exact(self.dim).map(|row| dot(row, row)).collect()
    }
}

/// What one query finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryRetrieval {
    /// Its row among the queries.
    pub query: usize,
    /// How many references have its label; at least 1.
    pub relevant: usize,
    /// The place of the nearest reference with its label, from 1 on.
    pub first_match: usize,
    /// How many of the `relevant` nearest references have its label, as a share.
    pub r_precision: f64,
    /// The mean over the first `relevant` places of the precision up to there, 0 for a place with another label.
    pub average_precision_at_r: f64,
}

/// What all queries find; made by [`retrieval`] and [`retrieval_among`].
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// One for every query that has a reference with its label, in their order; at least one.
    pub queries: Vec<QueryRetrieval>,
    /// How many queries have none. They are in no figure, as in pytorch-metric-learning.
    pub lone: usize,
}

impl Retrieval {
    /// The share of queries that have a match among their `k` nearest references.
    ///
    /// # Panics
    ///
    /// If `k` is 0.
    pub fn recall_at(&self, k: usize) -> f64 {
        assert!(k >= 1, "recall_at: k must be at least 1, got 0");
        self.mean(|query| f64::from(u8::from(query.first_match <= k)))
    }

    /// The share of queries whose nearest reference is a match: [`recall_at`](Self::recall_at) 1.
    pub fn precision_at_1(&self) -> f64 {
        self.recall_at(1)
    }

    /// The mean of `1 / first_match`.
    pub fn mean_reciprocal_rank(&self) -> f64 {
        self.mean(|query| 1.0 / query.first_match as f64)
    }

    /// The mean of `r_precision`.
    pub fn r_precision(&self) -> f64 {
        self.mean(|query| query.r_precision)
    }

    /// The mean of `average_precision_at_r`, called MAP@R (Musgrave, Belongie, Lim 2020, section 3.2).
    pub fn map_at_r(&self) -> f64 {
        self.mean(|query| query.average_precision_at_r)
    }

    fn mean(&self, of: impl Fn(&QueryRetrieval) -> f64) -> f64 {
        self.queries.iter().map(of).sum::<f64>() / self.queries.len() as f64
    }
}

/// How well the references that are nearest to each query have its label.
///
/// Of references that are equally near, the first comes first. Time grows as `queries * references * dim`, on all
/// cores; memory is 16 bytes per reference and core, so no matrix of all pairs is made.
///
/// ```
/// use embedding_eval::{LabelledRows, Nearness, retrieval};
///
/// // On a line: the query at 0 finds a match at 1, another label at 2, and a match at 3.
/// let queries = LabelledRows::new(&[0.0], 1, &[7])?;
/// let references = LabelledRows::new(&[1.0, 2.0, 3.0], 1, &[7, 8, 7])?;
/// let found = retrieval(queries, references, Nearness::Euclidean)?;
/// assert_eq!(found.precision_at_1(), 1.0);
/// assert_eq!(found.r_precision(), 0.5);
/// assert_eq!(found.map_at_r(), 0.5);
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// - [`LengthMismatch`](EvalError::LengthMismatch) if rows of the references are not as long as those of the queries
/// - [`NoRelevantReference`](EvalError::NoRelevantReference) if no query has a reference with its label
pub fn retrieval(
    queries: LabelledRows<'_>,
    references: LabelledRows<'_>,
    nearness: Nearness,
) -> Result<Retrieval, EvalError> {
    if queries.dim != references.dim {
        let (expected, actual) = (queries.dim, references.dim);
        return Err(EvalError::LengthMismatch { what: "a row of the references", expected, actual });
    }
    search(queries, references, nearness, false)
}

/// [`retrieval`] of every row among all others: each row is a query, and a reference to all but itself.
///
/// # Errors
///
/// - [`NoRelevantReference`](EvalError::NoRelevantReference) if no row has another with its label
pub fn retrieval_among(rows: LabelledRows<'_>, nearness: Nearness) -> Result<Retrieval, EvalError> {
    search(rows, rows, nearness, true)
}

fn search(
    queries: LabelledRows<'_>,
    references: LabelledRows<'_>,
    nearness: Nearness,
    same_rows: bool,
) -> Result<Retrieval, EvalError> {
    let search = Search { queries, references, nearness, same_rows, squared_norms: references.squared_norms() };
    let count = queries.labels.len();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let each = count.div_ceil(threads).max(1);
    let found: Vec<Option<QueryRetrieval>> = thread::scope(|scope| {
        let starts = (0..count).step_by(each);
        let search = &search;
        let parts = starts.map(|start| scope.spawn(move || search.find(start..count.min(start + each))));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().expect("a search does not panic")).collect()
    });
    let queries: Vec<QueryRetrieval> = found.into_iter().flatten().collect();
    if queries.is_empty() {
        return Err(EvalError::NoRelevantReference { queries: count });
    }
    let lone = count - queries.len();
    Ok(Retrieval { queries, lone })
}

struct Search<'a> {
    queries: LabelledRows<'a>,
    references: LabelledRows<'a>,
    nearness: Nearness,
    /// Whether query and reference of one number are the same row.
    same_rows: bool,
    /// Of the references.
    squared_norms: Vec<f64>,
}

impl Search<'_> {
    fn find(&self, queries: std::ops::Range<usize>) -> Vec<Option<QueryRetrieval>> {
        let mut order = Vec::with_capacity(self.references.labels.len());
        queries.map(|query| self.find_one(query, &mut order)).collect()
    }

    /// What a query finds; nothing if no reference has its label. `order` is room for the references with their
    /// nearness.
    fn find_one(&self, query: usize, order: &mut Vec<(f64, usize)>) -> Option<QueryRetrieval> {
        let (row, label) = (self.queries.row(query), self.queries.labels[query]);
        let squared_norm = dot(row, row);
        let others = (0..self.references.labels.len()).filter(|&reference| !(self.same_rows && reference == query));
        order.clear();
        // The larger, the nearer.
        order.extend(others.map(|reference| {
            let other = self.references.row(reference);
            let nearness = match self.nearness {
                Nearness::Cosine => cosine(dot(row, other), squared_norm, self.squared_norms[reference]),
                Nearness::Euclidean => -squared_distance(row, other),
            };
            (nearness, reference)
        }));
        let is_match = |&(_, reference): &(f64, usize)| self.references.labels[reference] == label;
        let relevant = order.iter().filter(|reference| is_match(reference)).count();
        if relevant == 0 {
            return None;
        }
        let nearer_first = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let nearest = order.iter().filter(|reference| is_match(reference)).min_by(|a, b| nearer_first(a, b));
        let nearest = *nearest.expect("there is a match");
        let first_match = 1 + order.iter().filter(|reference| nearer_first(reference, &nearest).is_lt()).count();

        order.select_nth_unstable_by(relevant - 1, nearer_first);
        let first = &mut order[..relevant];
        first.sort_unstable_by(nearer_first);
        let (mut matches, mut precisions) = (0_usize, 0.0);
        for (place, reference) in first.iter().enumerate() {
            if is_match(reference) {
                matches += 1;
                precisions += matches as f64 / (place + 1) as f64;
            }
        }
        let share = |sum: f64| sum / relevant as f64;
        let (r_precision, average_precision_at_r) = (share(matches as f64), share(precisions));
        Some(QueryRetrieval { query, relevant, first_match, r_precision, average_precision_at_r })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_line<'a>(places: &'a [f32], labels: &'a [usize]) -> LabelledRows<'a> {
        LabelledRows::new(places, 1, labels).unwrap()
    }

    #[test]
    fn figures_by_hand() {
        // Nearest to 0: 1 (other), 2 (match), 3 (match), 4 (other), 5 (match).
        let references = on_a_line(&[5.0, 1.0, 4.0, 2.0, 3.0], &[1, 0, 0, 1, 1]);
        let found = retrieval(on_a_line(&[0.0], &[1]), references, Nearness::Euclidean).unwrap();
        let [query] = found.queries[..] else { panic!("one query") };
        assert_eq!((query.relevant, query.first_match), (3, 2));
        assert_eq!(query.r_precision, 2.0 / 3.0);
        assert_eq!(query.average_precision_at_r, (1.0 / 2.0 + 2.0 / 3.0) / 3.0);
        assert_eq!((found.recall_at(1), found.recall_at(2), found.recall_at(100)), (0.0, 1.0, 1.0));
        assert_eq!(found.mean_reciprocal_rank(), 0.5);
    }

    #[test]
    fn of_equally_near_references_the_first_comes_first() {
        for (labels, first_match) in [([0, 1, 1], 2), ([1, 0, 1], 1), ([0, 0, 1], 3)] {
            let references = on_a_line(&[1.0, -1.0, 1.0], &labels);
            let found = retrieval(on_a_line(&[0.0], &[1]), references, Nearness::Euclidean).unwrap();
            assert_eq!(found.queries[0].first_match, first_match, "{labels:?}");
        }
    }

    #[test]
    fn a_row_does_not_find_itself_and_a_lone_one_does_not_count() {
        let rows = on_a_line(&[0.0, 0.1, 5.0, 5.1, 99.0], &[3, 4, 3, 4, 8]);
        let found = retrieval_among(rows, Nearness::Euclidean).unwrap();
        assert_eq!((found.lone, found.queries.len()), (1, 4));
        // By hand: 0.0 finds 0.1, then 5.0; 0.1 finds 0.0, 5.0, then 5.1; and so from the other end.
        assert_eq!(found.queries.iter().map(|query| query.first_match).collect::<Vec<_>>(), [2, 3, 3, 2]);
        assert_eq!(found.precision_at_1(), 0.0);
    }

    #[test]
    fn the_cosine_forgets_lengths() {
        let references = LabelledRows::new(&[100.0, 1.0, 0.0, 1.0], 2, &[1, 2]).unwrap();
        let query = LabelledRows::new(&[1.0, 0.0], 2, &[1]).unwrap();
        assert_eq!(retrieval(query, references, Nearness::Cosine).unwrap().precision_at_1(), 1.0);
        assert_eq!(retrieval(query, references, Nearness::Euclidean).unwrap().precision_at_1(), 0.0);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let one = on_a_line(&[0.0], &[1]);
        let expected = EvalError::NoRelevantReference { queries: 1 };
        assert_eq!(retrieval(one, on_a_line(&[0.0], &[2]), Nearness::Cosine).unwrap_err(), expected);
        assert_eq!(retrieval(one, on_a_line(&[], &[]), Nearness::Cosine).unwrap_err(), expected);
        assert_eq!(retrieval_among(one, Nearness::Cosine).unwrap_err(), expected);
        let wide = LabelledRows::new(&[0.0, 1.0], 2, &[1]).unwrap();
        assert!(matches!(retrieval(one, wide, Nearness::Cosine), Err(EvalError::LengthMismatch { .. })));
        assert!(matches!(LabelledRows::new(&[f32::NAN], 1, &[1]), Err(EvalError::NotFinite { index: 0, .. })));
        assert!(matches!(LabelledRows::new(&[1.0], 1, &[]), Err(EvalError::LengthMismatch { .. })));
    }
}
