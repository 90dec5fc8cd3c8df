//! What the other classes weigh, in plain loops.

use super::dot;

/// What is done with the cosines of the other classes of a row.
#[derive(Clone, Copy, Debug)]
pub enum Rivals {
    /// `log(sum of exp(scale·cosine))`.
    LogSumExp,
    /// The same; beyond the threshold of row `i`, which is `threshold + i/10`, a cosine becomes
    /// `quadratic·cosine² + linear·cosine + constant`.
    Reweighted {
        /// Of row 0.
        threshold: f64,
        /// Times the square.
        quadratic: f64,
        /// Times the cosine.
        linear: f64,
        /// Added.
        constant: f64,
    },
    /// `sum of softplus(scale·(2·((cosine + 1) / 2)^exponent - 1) - bias)`.
    Softplus {
        /// Taken off.
        bias: f64,
        /// Of the power.
        exponent: f64,
    },
}

/// The centers of a class.
#[derive(Clone, Copy, Debug)]
pub struct Centers {
    /// How many there are.
    pub sub_centers: usize,
    /// How softly they are chosen; `None` for the nearest.
    pub gamma: Option<f64>,
}

/// The cosine with the own class and what the others weigh, row by row.
pub fn rival_scores(
    embeddings: &[Vec<f64>],
    weights: &[Vec<f64>],
    labels: &[i64],
    used: Option<&[i64]>,
    centers: Centers,
    rivals: Rivals,
    scale: f64,
) -> Vec<f64> {
    let Centers { sub_centers, gamma } = centers;
    let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    let mut output = Vec::new();
    for (row, (embedding, &label)) in embeddings.iter().zip(labels).enumerate() {
        let (mut own, mut others) = (0.0, Vec::new());
        for (class, centers) in weights.chunks(sub_centers).enumerate() {
            let cosines = || centers.iter().map(|center| cosine(embedding, center));
            let nearest = match gamma {
                None => cosines().fold(f64::NEG_INFINITY, f64::max),
                Some(gamma) => {
                    let total: f64 = cosines().map(|cosine| (cosine / gamma).exp()).sum();
                    cosines().map(|cosine| (cosine / gamma).exp() / total * cosine).sum()
                }
            };
            if class as i64 == label {
                own = nearest;
            } else if used.is_none_or(|used| used[class] >= 0) {
                others.push(nearest);
            }
        }
        output.push(own);
        output.push(match rivals {
            Rivals::LogSumExp => log_sum(others.iter().map(|cosine| scale * cosine)),
            Rivals::Reweighted { threshold, quadratic, linear, constant } => {
                let threshold = threshold + 0.1 * row as f64;
                log_sum(others.iter().map(|&cosine| {
                    let hard = quadratic * cosine * cosine + linear * cosine + constant;
                    scale * if cosine > threshold { hard } else { cosine }
                }))
            }
            Rivals::Softplus { bias, exponent } => others
                .iter()
                .map(|cosine| scale * (2.0 * ((cosine + 1.0) / 2.0).powf(exponent) - 1.0) - bias)
                .map(|score| score.max(0.0) + (-score.abs()).exp().ln_1p())
                .sum(),
        });
    }
    output
}

/// What the scores of a query's keys add up to.
#[derive(Clone, Copy, Debug)]
pub enum PairSum {
    /// `sum of softplus(scale·score - bias)`, where the bias of row `i` is `bias + i/10`.
    Softplus {
        /// Of row 0.
        bias: f64,
    },
    /// `log(sum of exp(scale·max(score + reach, 0)·(score - goal)))`.
    SelfPaced {
        /// Added in the maximum.
        reach: f64,
        /// Taken off.
        goal: f64,
    },
}

/// How many terms of a softplus are not 0, and the sum, row by row.
pub fn pair_sums(
    queries: &[Vec<f64>],
    keys: &[Vec<f64>],
    sum: PairSum,
    scale: f64,
    leaves_out: impl Fn(usize, usize) -> bool,
) -> Vec<f64> {
    let mut output = Vec::new();
    for (row, query) in queries.iter().enumerate() {
        let kept = keys.iter().enumerate().filter(|&(key, _)| !leaves_out(row, key));
        let scores: Vec<f64> = kept.map(|(_, key)| dot(query, key)).collect();
        output.extend(match sum {
            PairSum::Softplus { bias } => {
                let excess = scores.iter().map(|score| scale * score - bias - 0.1 * row as f64);
                let terms: Vec<f64> = excess.map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()).collect();
                [terms.iter().filter(|&&term| term != 0.0).count() as f64, terms.iter().sum()]
            }
            PairSum::SelfPaced { reach, goal } => {
                [0.0, log_sum(scores.iter().map(|score| scale * (score + reach).max(0.0) * (score - goal)))]
            }
        });
    }
    output
}

fn log_sum(scores: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = scores.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return -1e30;
    }
    largest + scores.map(|score| (score - largest).exp()).sum::<f64>().ln()
}
