//! Angular-margin heads with `acos` and `cos`, as the papers write them.

use std::f64::consts::PI;

use super::dot;
use crate::golden::Case;

/// The loss of every row.
pub fn losses(case: &Case) -> Vec<f64> {
    let (embeddings, weights) = (case.rows("embeddings"), case.rows("weights"));
    let scale = case.number("scale");
    let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());

    let mut losses = Vec::new();
    for (embedding, &label) in embeddings.iter().zip(&case.labels) {
        let mut logits: Vec<f64> = weights.iter().map(|weight| scale * cosine(embedding, weight)).collect();
        let own = label as usize;
        logits[own] = scale * with_margin(case, logits[own] / scale);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        losses.push(largest + sum.ln() - logits[own]);
    }
    losses
}

fn with_margin(case: &Case, cosine: f64) -> f64 {
    let angle = cosine.acos();
    match case.loss.as_str() {
        "NormFace" => cosine,
        "CosFace" => cosine - case.number("margin"),
        "ArcFace" => {
            let margin = case.number("margin");
            match case.word("large_angle", "LinearFall") {
                "LinearFall" if angle + margin > PI => cosine - margin * margin.sin(),
                "Fold" if angle + margin > PI => -(angle + margin).cos() - 2.0,
                "EasyMargin" if cosine <= 0.0 => cosine,
                _ => (angle + margin).cos(),
            }
        }
        "CombinedMargin" => {
            let shifted = case.number("angle_factor") * angle + case.number("angle_margin");
            let turns = (shifted / PI).floor();
            let sign = if turns.rem_euclid(2.0) == 0.0 { 1.0 } else { -1.0 };
            sign * shifted.cos() - 2.0 * turns - case.number("cosine_margin")
        }
        other => panic!("no margin head {other}"),
    }
}
