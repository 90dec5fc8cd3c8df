//! Regularizers of embeddings and class weights.

use super::dot;
use crate::golden::Case;

/// The Lp norm of every embedding, raised to a power.
pub fn lp(case: &Case) -> Vec<f64> {
    let exponent = case.settings["norm"]["Minkowski"].as_f64();
    let of = |row: Vec<f64>| {
        let magnitudes = row.iter().map(|number| number.abs());
        let sum_of_powers = |p: f64| row.iter().map(|number| number.abs().powf(p)).sum::<f64>();
        let norm = match case.word("norm", "Minkowski") {
            "Manhattan" => sum_of_powers(1.0),
            "Euclidean" => dot(&row, &row).sqrt(),
            "SquaredEuclidean" => dot(&row, &row),
            "Chebyshev" => magnitudes.fold(0.0, f64::max),
            "SmallestDifference" => magnitudes.fold(f64::INFINITY, f64::min),
            "DifferentCount" => row.iter().filter(|&&number| number != 0.0).count() as f64,
            _ => {
                let p = exponent.expect("an exponent");
                sum_of_powers(p).powf(1.0 / p)
            }
        };
        norm.powf(case.number("power"))
    };
    case.rows("embeddings").into_iter().map(of).collect()
}

/// The magnitude of the sum of every embedding.
pub fn zero_mean(case: &Case) -> Vec<f64> {
    case.rows("embeddings").iter().map(|row| row.iter().sum::<f64>().abs()).collect()
}

/// How far every squared length is from their mean.
pub fn center_invariant(case: &Case) -> Vec<f64> {
    let squares: Vec<f64> = case.rows("weights").iter().map(|row| dot(row, row)).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    squares.iter().map(|square| (square - mean).powi(2) / 4.0).collect()
}

/// The largest cosine of every class with another.
pub fn regular_face(case: &Case) -> Vec<f64> {
    let rows = case.rows("weights");
    let mut losses = Vec::new();
    for (own, row) in rows.iter().enumerate() {
        let mut largest = f64::NEG_INFINITY;
        for (other, column) in rows.iter().enumerate() {
            if other != own {
                largest = largest.max(cosine(row, column));
            }
        }
        losses.push(largest);
    }
    losses
}

/// Half the distance of the directions of two centers of one class.
pub fn sparse_centers(case: &Case) -> Vec<f64> {
    let centers = case.number("centers_per_class") as usize;
    let mut losses = Vec::new();
    for class in case.rows("weights").chunks(centers) {
        for (first, row) in class.iter().enumerate() {
            for other in &class[first + 1..] {
                losses.push(0.5 * (2.0 - 2.0 * cosine(row, other)).sqrt());
            }
        }
    }
    losses
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
