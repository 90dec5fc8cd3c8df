//! Heads whose margin or scale depends on more than the own cosine, with `acos` and `cos`, as the papers write them.

use std::f64::consts::{FRAC_PI_4, PI};

use super::dot;
use crate::golden::Case;

/// The loss of every row.
pub fn losses(case: &Case) -> Vec<f64> {
    let (embeddings, weights) = (case.rows("embeddings"), case.rows("weights"));
    let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    let cosines: Vec<Vec<f64>> = embeddings.iter().map(|x| weights.iter().map(|w| cosine(x, w)).collect()).collect();
    let lengths: Vec<f64> = embeddings.iter().map(|x| dot(x, x).sqrt()).collect();
    let own: Vec<usize> = case.labels.iter().map(|&label| label as usize).collect();
    let scale = if case.loss == "AdaCos" { adacos_scale(case, &cosines, &own) } else { case.number("scale") };

    let loss = |row: usize| {
        let (target, penalty) = target(case, cosines[row][own[row]], lengths[row], &lengths);
        let others = cosines[row].iter().enumerate().filter(|(class, _)| *class != own[row]);
        let sum: f64 = others.map(|(_, cosine)| (scale * (cosine - target)).exp()).sum();
        sum.ln_1p() + penalty
    };
    (0..embeddings.len()).map(loss).collect()
}

/// What the own cosine is replaced by, and what is added to the loss.
fn target(case: &Case, cosine: f64, length: f64, lengths: &[f64]) -> (f64, f64) {
    let angle = cosine.acos();
    match case.loss.as_str() {
        "SphereFace" => (folded(case.number("multiplier") * angle), 0.0),
        "MagFace" => {
            let (short, long) = (case.number("shortest"), case.number("longest"));
            let (small, large) = (case.number("smallest_margin"), case.number("largest_margin"));
            let length = length.clamp(short, long);
            let margin = small + (large - small) * (length - short) / (long - short);
            (folded(angle + margin), case.number("length_weight") * (length / (long * long) + 1.0 / length))
        }
        "AdaFace" => {
            let lengths: Vec<f64> = lengths.iter().map(|length| length.clamp(0.001, 100.0)).collect();
            let count = lengths.len() as f64;
            let mean = lengths.iter().sum::<f64>() / count;
            let squares: f64 = lengths.iter().map(|length| (length - mean).powi(2)).sum();
            let momentum = case.number("momentum");
            let average = momentum * mean + (1.0 - momentum) * 20.0;
            let deviation = momentum * (squares / (count - 1.0)).sqrt() + (1.0 - momentum) * 100.0;
            let quality = (length.clamp(0.001, 100.0) - average) / (deviation + 0.001) * case.number("concentration");
            let (quality, margin) = (quality.clamp(-1.0, 1.0), case.number("margin"));
            (folded((angle - margin * quality).max(0.0)) - margin - margin * quality, 0.0)
        }
        "ElasticFace" if case.word("margin_kind", "") == "Cosine" => (cosine - case.number("margin"), 0.0),
        "ElasticFace" => (folded(angle + case.number("margin")), 0.0),
        "AdaCos" => (cosine, 0.0),
        other => panic!("no head {other}"),
    }
}

fn folded(angle: f64) -> f64 {
    let turns = (angle / PI).floor();
    let sign = if turns.rem_euclid(2.0) == 0.0 { 1.0 } else { -1.0 };
    sign * angle.cos() - 2.0 * turns
}

fn adacos_scale(case: &Case, cosines: &[Vec<f64>], own: &[usize]) -> f64 {
    let fixed = 2.0_f64.sqrt() * ((cosines[0].len() - 1) as f64).ln();
    if case.word("scale", "") == "Fixed" {
        return fixed;
    }
    let others = |row: usize| cosines[row].iter().enumerate().filter(move |(class, _)| *class != own[row]);
    let sum: f64 = (0..own.len()).flat_map(|row| others(row).map(|(_, cosine)| (fixed * cosine).exp())).sum();
    let mut angles: Vec<f64> = (0..own.len()).map(|row| cosines[row][own[row]].acos()).collect();
    angles.sort_by(f64::total_cmp);
    let median = angles[(angles.len() - 1) / 2];
    (sum / own.len() as f64).ln() / median.min(FRAC_PI_4).cos()
}
