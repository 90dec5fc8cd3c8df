//! The scores of queries and keys, one pair at a time.

use super::dot;

/// Which keys a query is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Counted<'a> {
    /// All but the one at the position of its label.
    AllButTarget,
    /// Of these the ones that are not negative.
    Sample(&'a [i64]),
    /// Those with another label, which is not negative.
    OtherLabels(&'a [i64]),
    /// Those with the same label, which is not negative; in a batch not the query itself.
    SameLabel(&'a [i64], bool),
}

/// What is added up over them.
#[derive(Clone, Copy, Debug)]
pub enum Term {
    /// `exp(score)`, and the logarithm of the sum.
    Exp,
    /// The same; beyond the threshold of row `i`, which is `threshold + i/10`, a product becomes
    /// `quadratic·product² + linear·product + constant`.
    Reweighted {
        /// Of row 0.
        threshold: f64,
        /// Times the square.
        quadratic: f64,
        /// Times the product.
        linear: f64,
        /// Added.
        constant: f64,
    },
    /// `softplus(scale·(2·((product + 1) / 2)^exponent - 1) + bias + offset)`, where the offset of row `i` is
    /// `offset + i/10`.
    Softplus {
        /// Of row 0.
        offset: f64,
        /// Of the power.
        exponent: f64,
    },
    /// The product becomes `max(product + reach, 0)·(product - goal)`.
    SelfPaced {
        /// Added in the maximum.
        reach: f64,
        /// Taken off.
        goal: f64,
    },
    /// `cap·tanh(score / cap)` of the biased score, and the figures of logits.
    Logits {
        /// Infinite for none.
        cap: f64,
    },
}

/// What the logit of a key is multiplied with in the weighted sum.
pub fn weight(key: usize) -> f64 {
    0.2 + (key as f64 * 0.9).cos()
}

/// How queries are compared with keys.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// Which keys count.
    pub counted: Counted<'a>,
    /// What is added up.
    pub term: Term,
    /// Added to the scaled score of every key.
    pub bias: Option<&'a [f64]>,
    /// Whether queries and keys are divided by their lengths.
    pub normalise: [bool; 2],
    /// What products are multiplied with.
    pub scale: f64,
    /// How many centers a key has.
    pub sub_centers: usize,
    /// How softly they are chosen; `None` for the nearest.
    pub gamma: Option<f64>,
}

/// The product with the target, the sum, how many terms of a softplus are not 0; of logits the sum of all by their
/// [weights](weight), the largest that counts, and its key: of every query.
pub fn scores(queries: &[Vec<f64>], keys: &[Vec<f64>], labels: &[i64], comparison: &Comparison<'_>) -> [Vec<f64>; 6] {
    let Comparison { counted, term, bias, normalise, scale, sub_centers, gamma } = *comparison;
    let queries = if normalise[0] { unit(queries) } else { queries.to_vec() };
    let keys = if normalise[1] { unit(keys) } else { keys.to_vec() };
    let has_target = matches!(counted, Counted::AllButTarget | Counted::Sample(_));
    let mut output = [const { vec![] }; 6];
    for (i, query) in queries.iter().enumerate() {
        let (mut target, mut scores) = (0.0, vec![]);
        let (mut weighted, mut largest, mut largest_key) = (0.0, -1e30, -1.0);
        for (j, centers) in keys.chunks(sub_centers).enumerate() {
            let product = chosen(centers.iter().map(|center| dot(query, center)).collect(), gamma);
            let is_target = has_target && labels[i] == j as i64;
            let counts = match counted {
                Counted::AllButTarget => !is_target,
                Counted::Sample(used) => !is_target && used[j] >= 0,
                Counted::OtherLabels(of) => of[j] >= 0 && of[j] != labels[i],
                Counted::SameLabel(of, in_batch) => of[j] >= 0 && of[j] == labels[i] && !(in_batch && i == j),
            };
            if is_target {
                target = product;
            }
            let score = scale * replaced(term, i, product) + bias.map_or(0.0, |bias| bias[j]);
            let score = if let Term::Logits { cap } = term { capped(score, cap) } else { score };
            weighted += weight(j) * score;
            if counts && score > largest {
                (largest, largest_key) = (score, j as f64);
            }
            if counts {
                scores.push(score);
            }
        }
        let (sum, active) = match term {
            Term::Softplus { offset, .. } => {
                let excess = scores.iter().map(|score| score + offset + 0.1 * i as f64);
                let terms: Vec<f64> = excess.map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()).collect();
                (terms.iter().sum(), terms.iter().filter(|&&term| term != 0.0).count() as f64)
            }
            _ => (log_sum_exp(&scores), 0.0),
        };
        let figures = if matches!(term, Term::Logits { .. }) { [weighted, largest, largest_key] } else { [0.0; 3] };
        let numbers = [target, sum, active].into_iter().chain(figures);
        output.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
    }
    output
}

/// The cosine with the target and the log-sum-exp of the other classes, one after the other for every embedding.
pub fn class_scores(embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64], scale: f64) -> Vec<f64> {
    let (counted, term, normalise) = (Counted::AllButTarget, Term::Exp, [true; 2]);
    let comparison = Comparison { counted, term, bias: None, normalise, scale, sub_centers: 1, gamma: None };
    let [target, sum, ..] = scores(embeddings, weights, labels, &comparison);
    target.into_iter().zip(sum).flat_map(|(target, sum)| [target, sum]).collect()
}

fn replaced(term: Term, row: usize, product: f64) -> f64 {
    match term {
        Term::Exp | Term::Logits { .. } => product,
        Term::Reweighted { threshold, quadratic, linear, constant } => {
            let hard = quadratic * product * product + linear * product + constant;
            if product > threshold + 0.1 * row as f64 { hard } else { product }
        }
        Term::Softplus { exponent: 1.0, .. } => product,
        Term::Softplus { exponent, .. } => 2.0 * ((product + 1.0) / 2.0).max(0.0).powf(exponent) - 1.0,
        Term::SelfPaced { reach, goal } => (product + reach).max(0.0) * (product - goal),
    }
}

fn capped(score: f64, cap: f64) -> f64 {
    if cap.is_finite() { cap * (score / cap).tanh() } else { score }
}

/// The product of a key from those of its centers.
fn chosen(products: Vec<f64>, gamma: Option<f64>) -> f64 {
    let largest = products.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let Some(gamma) = gamma else { return largest };
    let weight = |product: f64| ((product - largest) / gamma).exp();
    let total: f64 = products.iter().map(|&product| weight(product)).sum();
    products.iter().map(|&product| weight(product) / total * product).sum()
}

fn unit(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |row: &Vec<f64>| {
        let length = dot(row, row).sqrt();
        row.iter().map(|number| if length == 0.0 { 0.0 } else { number / length }).collect()
    };
    rows.iter().map(of).collect()
}

/// `-1e30` of nothing.
fn log_sum_exp(scores: &[f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if scores.is_empty() {
        return -1e30;
    }
    largest + scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln()
}
