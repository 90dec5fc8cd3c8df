//! Distances, one pair at a time.

use super::dot;
use crate::golden::Case;

/// The distance of every pair: row by row, or all pairs in row-major order.
pub fn distances(case: &Case) -> Vec<f64> {
    let (first, second) = (case.rows("first"), case.rows("second"));
    match case.word("form", "") {
        "rowwise" => first.iter().zip(&second).map(|(a, b)| distance(case, a, b)).collect(),
        "matrix" => first.iter().flat_map(|a| second.iter().map(|b| distance(case, a, b))).collect(),
        other => panic!("{}: no form {other:?}", case.name),
    }
}

/// The distance of one pair, by the setting `distance`.
pub(super) fn distance(case: &Case, a: &[f64], b: &[f64]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    let minkowski = |p: f64| a.iter().zip(b).map(|(a, b)| (a - b).abs().powf(p)).sum::<f64>().powf(1.0 / p);
    match case.word("distance", "Minkowski") {
        "SmallestDifference" => differences.fold(f64::INFINITY, f64::min),
        "DifferentCount" => differences.filter(|&difference| difference != 0.0).count() as f64,
        "Manhattan" => differences.sum(),
        "Euclidean" => minkowski(2.0),
        "SquaredEuclidean" => differences.map(|difference| difference * difference).sum(),
        "Chebyshev" => differences.fold(0.0, f64::max),
        "Cosine" => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        "Minkowski" => minkowski(case.settings["distance"]["Minkowski"].as_f64().expect("an exponent")),
        other => panic!("no distance {other}"),
    }
}
