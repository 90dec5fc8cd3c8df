//! Heads that see the other classes otherwise than a plain softmax does, with `acos` and `cos`, as the papers write them.

use std::f64::consts::PI;

use super::dot;
use crate::golden::Case;

/// The loss of every row.
pub fn losses(case: &Case) -> Vec<f64> {
    let (embeddings, weights) = (case.rows("embeddings"), case.rows("weights"));
    let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    let sub_centers = case.settings.get("sub_centers").map_or(1, |number| number.as_u64().unwrap() as usize);
    let nearest = |embedding: &Vec<f64>| -> Vec<f64> {
        let of_class = |centers: &[Vec<f64>]| centers.iter().map(|w| cosine(embedding, w)).fold(-2.0, f64::max);
        weights.chunks(sub_centers).map(of_class).collect()
    };
    let cosines: Vec<Vec<f64>> = embeddings.iter().map(nearest).collect();
    let own = |row: usize| case.labels[row] as usize;
    let rows = 0..embeddings.len();
    let average = rows.clone().map(|row| cosines[row][own(row)]).sum::<f64>() / rows.len() as f64;

    rows.map(|row| loss(case, &cosines[row], own(row), average)).collect()
}

fn loss(case: &Case, cosines: &[f64], own: usize, average: f64) -> f64 {
    let (scale, margin) = (case.number("scale"), case.number("margin"));
    let others = || cosines.iter().enumerate().filter(move |(class, _)| *class != own).map(|(_, &cosine)| cosine);
    let softmax = |target: f64, other: &dyn Fn(f64) -> f64| {
        let sum: f64 = others().map(|cosine| (scale * (other(cosine) - target)).exp()).sum();
        sum.ln_1p()
    };
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let shifted = (cosines[own].acos() + margin).cos();
    let fallen = if cosines[own].acos() + margin > PI { cosines[own] - margin * margin.sin() } else { shifted };
    match case.loss.as_str() {
        "SubCenterArcFace" => softmax(fallen, &|cosine| cosine),
        "CurricularFace" => {
            let t = case.number("momentum") * average;
            softmax(fallen, &|cosine| if cosine > shifted { cosine * (t + cosine) } else { cosine })
        }
        "MvSoftmax" => {
            let target = if case.word("margin_kind", "") == "Cosine" { cosines[own] - margin } else { fallen };
            let weight = case.number("weight");
            let adaptive = case.word("weighting", "") == "Adaptive";
            let hard = |cosine: f64| cosine + if adaptive { weight * (cosine + 1.0) } else { weight };
            softmax(target, &|cosine| if cosine > target { hard(cosine) } else { cosine })
        }
        "UniFace" => {
            let bias = case.inputs["bias"].data[0];
            let sum: f64 = others().map(|cosine| softplus(scale * cosine - bias)).sum();
            softplus(bias - scale * (cosines[own] - margin)) + case.number("balance") * sum
        }
        "SphereFace2" => {
            let (bias, balance) = (case.inputs["bias"].data[0], case.number("balance"));
            let bent = |cosine: f64| 2.0 * ((cosine + 1.0) / 2.0).powf(case.number("exponent")) - 1.0;
            let sum: f64 = others().map(|cosine| softplus(scale * (bent(cosine) + margin) + bias)).sum();
            (balance * softplus(-scale * (bent(cosines[own]) - margin) - bias) + (1.0 - balance) * sum) / scale
        }
        other => panic!("no head {other}"),
    }
}
