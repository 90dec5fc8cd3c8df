//! The log-sum-exp of scores, one pair at a time.

use super::dot;

/// `log(sum over the keys that are not left out of exp(scale·<query, key>))` of every query; `-1e30` for an empty sum.
pub fn logsumexp(
    queries: &[Vec<f64>],
    keys: &[Vec<f64>],
    scale: f64,
    leaves_out: impl Fn(usize, usize) -> bool,
) -> Vec<f64> {
    let of = |(i, query): (usize, &Vec<f64>)| {
        let kept = || keys.iter().enumerate().filter(|&(j, _)| !leaves_out(i, j));
        let largest = kept().map(|(_, key)| scale * dot(query, key)).fold(-1e30, f64::max);
        let sum: f64 = kept().map(|(_, key)| (scale * dot(query, key) - largest).exp()).sum();
        if kept().next().is_none() { -1e30 } else { largest + sum.ln() }
    };
    queries.iter().enumerate().map(of).collect()
}

/// Own cosine and log-sum-exp of the others, one after the other for every embedding.
pub fn class_scores(embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64], scale: f64) -> Vec<f64> {
    let (embeddings, weights) = (unit(embeddings), unit(weights));
    let others = logsumexp(&embeddings, &weights, scale, |i, j| labels[i] == j as i64);
    let own = |(embedding, &label): (&Vec<f64>, &i64)| {
        usize::try_from(label).ok().and_then(|label| weights.get(label)).map_or(0.0, |weight| dot(embedding, weight))
    };
    let own = embeddings.iter().zip(labels).map(own);
    own.zip(others).flat_map(|(own, others)| [own, others]).collect()
}

fn unit(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |row: &Vec<f64>| {
        let length = dot(row, row).sqrt();
        row.iter().map(|number| if length == 0.0 { 0.0 } else { number / length }).collect()
    };
    rows.iter().map(of).collect()
}
