//! Losses of embeddings and proxies: one pair at a time.

use super::dot;
use crate::golden::Case;

fn unit(rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let of = |row: Vec<f64>| {
        let length = dot(&row, &row).sqrt();
        row.into_iter().map(|number| number / length).collect()
    };
    rows.into_iter().map(of).collect()
}

/// `log(sum of exp(numbers))`.
fn log_sum_exp(numbers: &[f64]) -> f64 {
    let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + numbers.iter().map(|number| (number - largest).exp()).sum::<f64>().ln()
}

/// ProxyNCA with squared distances written out.
pub fn nca(case: &Case) -> Vec<f64> {
    let (rows, proxies) = (unit(case.rows("embeddings")), unit(case.rows("weights")));
    let scale = case.number("scale");
    let with_own = case.word("denominator", "AllProxies") == "AllProxies";
    let loss = |(row, &label): (&Vec<f64>, &i64)| {
        let minus_square =
            |proxy: &Vec<f64>| -scale * row.iter().zip(proxy).map(|(x, p)| (x - p) * (x - p)).sum::<f64>();
        let counted = proxies.iter().enumerate().filter(|&(class, _)| with_own || class != label as usize);
        let exponents: Vec<f64> = counted.map(|(_, proxy)| minus_square(proxy)).collect();
        log_sum_exp(&exponents) - minus_square(&proxies[label as usize])
    };
    rows.iter().zip(&case.labels).map(loss).collect()
}

/// Proxy Anchor, equation 4, times the number of classes: a mean over them is the loss.
pub fn anchor(case: &Case) -> Vec<f64> {
    let (rows, proxies) = (unit(case.rows("embeddings")), unit(case.rows("weights")));
    let (alpha, margin) = (case.number("alpha"), case.number("margin"));
    let present = (0..proxies.len()).filter(|&class| case.labels.contains(&(class as i64))).count() as f64;
    let loss = |(class, proxy): (usize, &Vec<f64>)| {
        let (mut far, mut near) = (1.0, 1.0);
        for (row, &label) in rows.iter().zip(&case.labels) {
            let cosine = dot(row, proxy);
            if label == class as i64 {
                far += (-alpha * (cosine - margin)).exp();
            } else {
                near += (alpha * (cosine + margin)).exp();
            }
        }
        proxies.len() as f64 / present * far.ln() + near.ln()
    };
    proxies.iter().enumerate().map(loss).collect()
}

/// SoftTripleLoss.
pub fn soft_triple(case: &Case) -> Vec<f64> {
    let (rows, centers) = (unit(case.rows("embeddings")), unit(case.rows("weights")));
    let (scale, gamma, margin) = (case.number("scale"), case.number("gamma"), case.number("margin"));
    let per_class = case.number("centers_per_class") as usize;
    let loss = |(row, &label): (&Vec<f64>, &i64)| {
        let of_class = |own: &[Vec<f64>]| {
            let cosines: Vec<f64> = own.iter().map(|center| dot(row, center)).collect();
            let weights: Vec<f64> = cosines.iter().map(|cosine| (cosine / gamma).exp()).collect();
            dot(&cosines, &weights) / weights.iter().sum::<f64>()
        };
        let mut logits: Vec<f64> = centers.chunks(per_class).map(|own| scale * of_class(own)).collect();
        logits[label as usize] -= scale * margin;
        log_sum_exp(&logits) - logits[label as usize]
    };
    rows.iter().zip(&case.labels).map(loss).collect()
}

/// The mean of SoftTripleLoss and its regularizer.
pub fn soft_triple_forward(case: &Case) -> Vec<f64> {
    let losses = soft_triple(case);
    let per_class = case.number("centers_per_class") as usize;
    let centers = unit(case.rows("weights"));
    let mut distances = 0.0;
    for own in centers.chunks(per_class) {
        for (place, first) in own.iter().enumerate() {
            for second in &own[..place] {
                distances += (2.0 - 2.0 * dot(first, second)).sqrt();
            }
        }
    }
    let regularizer = distances / (centers.len() * (per_class - 1)) as f64;
    vec![losses.iter().sum::<f64>() / losses.len() as f64 + case.number("regularizer_weight") * regularizer]
}

/// The cross-entropy of cosines divided by a temperature.
pub fn normalized_softmax(case: &Case) -> Vec<f64> {
    let (rows, proxies) = (unit(case.rows("embeddings")), unit(case.rows("weights")));
    let loss = |(row, &label): (&Vec<f64>, &i64)| {
        let logits: Vec<f64> = proxies.iter().map(|proxy| dot(row, proxy) / case.number("temperature")).collect();
        log_sum_exp(&logits) - logits[label as usize]
    };
    rows.iter().zip(&case.labels).map(loss).collect()
}
