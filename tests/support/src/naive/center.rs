//! Center loss, Wen et al. 2016, equations 2 to 4.

use crate::golden::Case;

/// The loss of every row.
pub fn losses(case: &Case) -> Vec<f64> {
    let centers = case.rows("centers");
    let loss = |(embedding, &label): (&Vec<f64>, &i64)| {
        let squares = embedding.iter().zip(&centers[label as usize]).map(|(x, c)| (x - c) * (x - c));
        0.5 * squares.sum::<f64>()
    };
    case.rows("embeddings").iter().zip(&case.labels).map(loss).collect()
}

/// The centers after one update.
pub fn updated(case: &Case) -> Vec<f64> {
    let embeddings = case.rows("embeddings");
    let update = |(class, center): (usize, Vec<f64>)| -> Vec<f64> {
        let own = || embeddings.iter().zip(&case.labels).filter(move |(_, label)| **label == class as i64);
        let count = own().count() as f64;
        let delta = |k: usize| own().map(|(x, _)| center[k] - x[k]).sum::<f64>() / (1.0 + count);
        (0..center.len()).map(|k| center[k] - case.number("update_rate") * delta(k)).collect()
    };
    case.rows("centers").into_iter().enumerate().flat_map(update).collect()
}
