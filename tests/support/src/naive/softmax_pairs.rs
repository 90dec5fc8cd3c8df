//! Losses with a log-sum-exp over pairs: one pair at a time.

use serde_json::Value;

use super::dot;
use crate::golden::Case;

/// Rows, what they are compared with, and the labels of both; whether they are the same rows.
struct Batch {
    rows: Vec<Vec<f64>>,
    labels: Vec<i64>,
    references: Vec<Vec<f64>>,
    reference_labels: Vec<i64>,
    itself: bool,
}

impl Batch {
    fn of(case: &Case) -> Self {
        let rows = case.rows("embeddings");
        let itself = !case.inputs.contains_key("references");
        let labels = case.labels[..rows.len()].to_vec();
        let references = if itself { rows.clone() } else { case.rows("references") };
        let reference_labels = if itself { labels.clone() } else { case.labels[rows.len()..].to_vec() };
        Self { rows, labels, references, reference_labels, itself }
    }

    fn is_positive(&self, i: usize, j: usize) -> bool {
        self.labels[i] >= 0 && self.labels[i] == self.reference_labels[j] && !(self.itself && i == j)
    }

    fn is_negative(&self, i: usize, j: usize) -> bool {
        self.labels[i] >= 0 && self.reference_labels[j] >= 0 && self.labels[i] != self.reference_labels[j]
    }

    fn positives(&self, i: usize) -> Vec<f64> {
        self.cosines(i, |j| self.is_positive(i, j))
    }

    fn negatives(&self, i: usize) -> Vec<f64> {
        self.cosines(i, |j| self.is_negative(i, j))
    }

    fn cosines(&self, i: usize, with: impl Fn(usize) -> bool) -> Vec<f64> {
        (0..self.references.len()).filter(|&j| with(j)).map(|j| cosine(&self.rows[i], &self.references[j])).collect()
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// `-log(exp(own) / (exp(own) + sum of exp(others)))`.
fn picked(own: f64, others: &[f64]) -> f64 {
    let largest = others.iter().copied().fold(own, f64::max);
    let sum: f64 = others.iter().map(|other| (other - largest).exp()).sum::<f64>() + (own - largest).exp();
    largest + sum.ln() - own
}

/// `log(1 + sum of exp(exponents))`.
fn log_of_one_more(exponents: impl Iterator<Item = f64>) -> f64 {
    picked(0.0, &exponents.collect::<Vec<f64>>())
}

/// InfoNCE in the form that the inputs say; with references, the sum of the pairs of each row.
pub fn info_nce(case: &Case) -> Vec<f64> {
    let scale = match case.inputs.get("log_scale") {
        Some(log_scale) => log_scale.data[0].exp(),
        None => 1.0 / case.number("temperature"),
    };
    let score = |a: &[f64], b: &[f64]| scale * cosine(a, b);
    if case.inputs.contains_key("images") {
        let sides = [case.rows("images"), case.rows("texts")];
        return both_ways(&sides, |rows, others, i| {
            let negatives = strangers(case, i, others.len()).map(|j| score(&rows[i], &others[j]));
            let loss = picked(score(&rows[i], &others[i]), &negatives.collect::<Vec<f64>>());
            if is_something(case, i) { loss } else { 0.0 }
        });
    }
    if case.inputs.contains_key("first") {
        let views = [case.rows("first"), case.rows("second")];
        let mut losses = Vec::new();
        for (side, rows) in views.iter().enumerate() {
            for (i, row) in rows.iter().enumerate() {
                let others = (0..rows.len()).filter(|&j| j != i);
                let negatives: Vec<f64> =
                    others.flat_map(|j| [&views[0][j], &views[1][j]]).map(|o| score(row, o)).collect();
                losses.push(picked(score(row, &views[1 - side][i]), &negatives));
            }
        }
        return losses;
    }
    if case.inputs.contains_key("queries") {
        let (queries, keys) = (case.rows("queries"), case.rows("keys"));
        let mut losses = Vec::new();
        for (i, query) in queries.iter().enumerate() {
            let negatives: Vec<f64> = if case.inputs.contains_key("queue") {
                let filled = case.rows("queue").into_iter().zip(&case.labels).filter(|(_, label)| **label >= 0);
                filled.map(|(row, _)| score(query, &row)).collect()
            } else {
                strangers(case, i, keys.len()).map(|j| score(query, &keys[j])).collect()
            };
            losses.push(picked(score(query, &keys[i]), &negatives));
        }
        return losses;
    }
    let batch = Batch::of(case);
    let mut losses = Vec::new();
    for i in 0..batch.rows.len() {
        let negatives: Vec<f64> = batch.negatives(i).into_iter().map(|cosine| scale * cosine).collect();
        let pair = |j: usize| {
            let positive = batch.is_positive(i, j);
            if positive { picked(score(&batch.rows[i], &batch.references[j]), &negatives) } else { 0.0 }
        };
        let pairs = (0..batch.references.len()).map(pair);
        if batch.itself {
            losses.extend(pairs);
        } else {
            losses.push(pairs.sum());
        }
    }
    losses
}

/// Losses of two sides, each compared with the other one: what a row of the first rows costs among the second ones.
fn both_ways(sides: &[Vec<Vec<f64>>; 2], loss: impl Fn(&[Vec<f64>], &[Vec<f64>], usize) -> f64) -> Vec<f64> {
    let mut losses = Vec::new();
    for [rows, others] in [[&sides[0], &sides[1]], [&sides[1], &sides[0]]] {
        losses.extend((0..rows.len()).map(|i| loss(rows, others, i)));
    }
    losses
}

/// The samples that are not this one; where the case has identities, not the same thing.
fn strangers(case: &Case, i: usize, count: usize) -> impl Iterator<Item = usize> {
    let labels = case.labels.clone();
    (0..count).filter(move |&j| if labels.is_empty() { j != i } else { labels[j] >= 0 && labels[i] != labels[j] })
}

/// Whether a sample is in a pair: where the case has identities, with one.
fn is_something(case: &Case, i: usize) -> bool {
    case.labels.get(i).is_none_or(|&label| label >= 0)
}

/// Layers: the mean supervised contrastive loss of each, and how far the first ones are from the last.
pub fn adaptive_layer(case: &Case) -> Vec<f64> {
    let setting = |name: &str, default: f64| case.settings.get(name).and_then(Value::as_f64).unwrap_or(default);
    let temperature = setting("kl_temperature", 0.3);
    let mean = |layer: &str| {
        let mut one = case.clone();
        one.settings.insert("temperature".to_owned(), Value::from(0.1));
        one.inputs = [("embeddings".to_owned(), case.inputs[layer].clone())].into();
        let has_partner = |i: usize| {
            let same = |j: usize| j != i && case.labels[i] >= 0 && case.labels[j] == case.labels[i];
            (0..case.labels.len()).any(same)
        };
        let counted = (0..case.labels.len()).filter(|&i| has_partner(i)).count();
        sup_con(&one).iter().sum::<f64>() / counted.max(1) as f64
    };
    let shares = |row: &[f64]| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let terms: Vec<f64> = row.iter().map(|number| ((number - largest) / temperature).exp()).collect();
        let sum: f64 = terms.iter().sum();
        terms.into_iter().map(|term| term / sum).collect::<Vec<f64>>()
    };
    let mut loss = setting("last_layer_weight", 1.0) * mean("embeddings");
    for (number, layer) in [(0.0_f64, "first"), (3.0, "fourth")] {
        let weight = match case.word("layer_weighting", "Uniform") {
            "Linear" => 1.0 / (1.0 + number),
            "Logarithmic" => 1.0 / (1.0 + (1.0 + number).ln()),
            _ => 1.0,
        };
        loss += setting("prior_layers_weight", 1.0) * weight / 2.0 * mean(layer);
        let (last, found) = (case.rows("embeddings"), case.rows(layer));
        let mut divergence = 0.0;
        for (last, found) in last.iter().zip(&found) {
            divergence += shares(last).iter().zip(shares(found)).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
        }
        loss += setting("kl_div_weight", 1.0) * temperature * divergence / last.len() as f64;
    }
    vec![loss]
}

/// Matryoshka: the supervised contrastive loss of the first numbers of each row, for all lengths.
pub fn matryoshka(case: &Case) -> Vec<f64> {
    let numbers = |name: &str| {
        let all = case.settings.get(name).and_then(Value::as_array)?;
        Some(all.iter().filter_map(Value::as_f64).collect())
    };
    let lengths: Vec<f64> = numbers("lengths").expect("lengths");
    let weights: Vec<f64> = numbers("weights").unwrap_or_else(|| vec![1.0; lengths.len()]);
    let mut losses = vec![0.0; case.rows("embeddings").len()];
    for (length, weight) in lengths.into_iter().zip(weights) {
        let mut cut = case.clone();
        cut.settings.insert("temperature".to_owned(), Value::from(0.1));
        for rows in cut.inputs.values_mut() {
            let columns = rows.shape[1];
            rows.data = rows.data.chunks(columns).flat_map(|row| row[..length as usize].to_vec()).collect();
            rows.shape[1] = length as usize;
        }
        losses.iter_mut().zip(sup_con(&cut)).for_each(|(loss, term)| *loss += weight * term);
    }
    losses
}

/// SigLIP: a question of yes or no for every pair.
pub fn sig_lip(case: &Case) -> Vec<f64> {
    let number = |name: &str| case.inputs.get(name).map(|number| number.data[0]);
    let scale = number("log_scale").map_or_else(|| 1.0 / case.number("temperature"), f64::exp);
    let bias = number("bias").unwrap_or_else(|| case.number("bias"));
    let yes = |cosine: f64| picked(scale * cosine + bias, &[0.0]);
    let no = |cosine: f64| picked(0.0, &[scale * cosine + bias]);
    let of_places = |rows: &[Vec<f64>], others: &[Vec<f64>], i: usize| {
        let negatives = strangers(case, i, others.len()).map(|j| no(cosine(&rows[i], &others[j])));
        if is_something(case, i) { yes(cosine(&rows[i], &others[i])) + negatives.sum::<f64>() } else { 0.0 }
    };
    if case.inputs.contains_key("images") {
        return both_ways(&[case.rows("images"), case.rows("texts")], of_places);
    }
    if case.inputs.contains_key("queries") {
        let (queries, keys) = (case.rows("queries"), case.rows("keys"));
        return (0..queries.len()).map(|i| of_places(&queries, &keys, i)).collect();
    }
    let batch = Batch::of(case);
    let loss = |i: usize| -> f64 {
        let positives = batch.positives(i).into_iter().map(yes);
        positives.chain(batch.negatives(i).into_iter().map(no)).sum()
    };
    (0..batch.rows.len()).map(loss).collect()
}

/// Decoupled: no positive in the denominator, each weighted by how far it is if the settings say so.
pub fn decoupled(case: &Case) -> Vec<f64> {
    let scale = 1.0 / case.number("temperature");
    let views = case.inputs.contains_key("first");
    // All anchors with their positives and negatives, as cosines.
    let anchors: Vec<(Vec<f64>, Vec<f64>)> = if views {
        let rows = [case.rows("first"), case.rows("second")].concat();
        let samples = rows.len() / 2;
        let cosines = |i: usize, with: &dyn Fn(usize) -> bool| -> Vec<f64> {
            (0..rows.len()).filter(|&j| with(j)).map(|j| cosine(&rows[i], &rows[j])).collect()
        };
        let of = |i: usize| {
            let own = cosines(i, &|j| j != i && j % samples == i % samples);
            (own, cosines(i, &|j| j % samples != i % samples))
        };
        (0..rows.len()).map(of).collect()
    } else {
        let batch = Batch::of(case);
        (0..batch.rows.len()).map(|i| (batch.positives(i), batch.negatives(i))).collect()
    };
    let counted = || anchors.iter().filter(|(_, negatives)| !negatives.is_empty());
    let sigma = case.settings.get("weight_temperature").and_then(Value::as_f64);
    // Cosines are at most 1, which keeps the exponentials of a small sigma finite.
    let raised = |cosine: f64| sigma.map_or(1.0, |sigma| ((cosine - 1.0) / sigma).exp());
    let all: Vec<f64> = counted().flat_map(|(positives, _)| positives).map(|&cosine| raised(cosine)).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let loss = |(positives, negatives): &(Vec<f64>, Vec<f64>)| {
        if negatives.is_empty() {
            return 0.0;
        }
        let sum: f64 = negatives.iter().map(|cosine| ((cosine - 1.0) * scale).exp()).sum();
        let each = positives.iter().map(|&cosine| sum.ln() + scale - (2.0 - raised(cosine) / mean) * cosine * scale);
        each.sum()
    };
    anchors.iter().map(loss).collect()
}

/// Multiple negatives ranking: every direction one negative after the other.
pub fn ranking(case: &Case) -> Vec<f64> {
    let (queries, documents) = (case.rows("queries"), case.rows("documents"));
    let scale = case.inputs.get("log_scale").map_or_else(|| 1.0 / case.number("temperature"), |s| s.data[0].exp());
    let hardness = case.settings.get("hardness").and_then(Value::as_f64).unwrap_or(0.0);
    let raised = if case.word("hardness_scope", "AllNegatives") == "AllNegatives" { hardness } else { 0.0 };
    let known = |j: usize| is_something(case, j);
    let has = |name: &str| match case.settings.get("directions").and_then(Value::as_array) {
        Some(directions) => directions.iter().any(|direction| direction == name),
        None => name == "QueryToDocument",
    };
    let loss = |i: usize| {
        if !known(i) {
            return 0.0;
        }
        let per_direction = case.word("partition_mode", "Joint") == "PerDirection" && has("DocumentToQuery");
        let (mut negatives, mut of_document) = (Vec::new(), Vec::new());
        for (direction, row, others) in [
            ("QueryToDocument", &queries[i], &documents),
            ("QueryToQuery", &queries[i], &queries),
            ("DocumentToQuery", &documents[i], &queries),
            ("DocumentToDocument", &documents[i], &documents),
        ] {
            if has(direction) {
                let others = strangers(case, i, others.len()).map(|j| (scale + raised) * cosine(row, &others[j]));
                let is_apart = per_direction && direction == "DocumentToQuery";
                if is_apart { &mut of_document } else { &mut negatives }.extend(others);
            }
        }
        for name in ["hard", "harder"].into_iter().filter(|name| case.inputs.contains_key(*name)) {
            let rows = case.rows(name);
            let rows = rows.iter().enumerate().filter(|(j, _)| known(*j));
            negatives.extend(rows.map(|(_, row)| (scale + hardness) * cosine(&queries[i], row)));
        }
        let own = scale * cosine(&queries[i], &documents[i]);
        let loss = picked(own, &negatives);
        if per_direction { (loss + picked(own, &of_document)) / 2.0 } else { loss }
    };
    (0..queries.len()).map(loss).collect()
}

/// CoSENT and AnglE: every pair of pairs of two grades.
pub fn co_sent(case: &Case) -> Vec<f64> {
    let (first, second) = (case.rows("first"), case.rows("second"));
    let (scale, grades) = (case.number("scale"), &case.labels);
    let similarity = |a: &[f64], b: &[f64]| {
        if case.word("similarity", "Cosine") == "Cosine" {
            return cosine(a, b);
        }
        let half = a.len() / 2;
        let turned = dot(&a[half..], &b[..half]) - dot(&a[..half], &b[half..]);
        (cosine(a, b) + turned / (dot(a, a) * dot(b, b)).sqrt()).abs()
    };
    let scores: Vec<f64> = first.iter().zip(&second).map(|(a, b)| scale * similarity(a, b)).collect();
    let mut exponents = Vec::new();
    for i in 0..scores.len() {
        exponents.extend((0..scores.len()).filter(|&k| grades[i] > grades[k]).map(|k| scores[k] - scores[i]));
    }
    vec![if scores.is_empty() { 0.0 } else { log_of_one_more(exponents.into_iter()) }]
}

/// Supervised contrastive: the mean over the positives of the loss of picking one out among all others.
pub fn sup_con(case: &Case) -> Vec<f64> {
    let (batch, temperature) = (Batch::of(case), case.number("temperature"));
    let loss = |i: usize| {
        let positives = batch.positives(i);
        let mut all = positives.clone();
        all.extend(batch.negatives(i));
        let sum: f64 = all.iter().map(|cosine| (cosine / temperature).exp()).sum();
        let each = positives.iter().map(|cosine| sum.ln() - cosine / temperature);
        if positives.is_empty() { 0.0 } else { each.sum::<f64>() / positives.len() as f64 }
    };
    (0..batch.rows.len()).map(loss).collect()
}

/// N-pairs from labels, or the mean where the pairs are laid out or come from references.
pub fn n_pairs(case: &Case) -> Vec<f64> {
    let score = |a: &[f64], b: &[f64]| if case.word("score", "Product") == "Cosine" { cosine(a, b) } else { dot(a, b) };
    let loss = |anchor: &[f64], keys: &[Vec<f64>], own: usize| {
        let others = keys.iter().enumerate().filter(|&(j, _)| j != own).map(|(_, key)| score(anchor, key));
        picked(score(anchor, &keys[own]), &others.collect::<Vec<f64>>())
    };
    let mean = |losses: Vec<f64>| vec![losses.iter().sum::<f64>() / losses.len() as f64];
    if case.inputs.contains_key("anchors") {
        let (anchors, positives) = (case.rows("anchors"), case.rows("positives"));
        return mean(anchors.iter().enumerate().map(|(i, anchor)| loss(anchor, &positives, i)).collect());
    }
    let batch = Batch::of(case);
    let first = |labels: &[i64], label: i64| labels.iter().position(|&other| other == label);
    if !batch.itself {
        let all = &batch.reference_labels;
        let firsts: Vec<usize> = (0..all.len()).filter(|&j| all[j] >= 0 && first(all, all[j]) == Some(j)).collect();
        let keys: Vec<Vec<f64>> = firsts.iter().map(|&j| batch.references[j].clone()).collect();
        let mut losses = Vec::new();
        for (own, &j) in firsts.iter().enumerate() {
            if let Some(i) = first(&batch.labels, all[j]) {
                losses.push(loss(&batch.rows[i], &keys, own));
            }
        }
        return mean(losses);
    }
    let mut pairs = Vec::new();
    for i in 0..batch.rows.len() {
        let label = batch.labels[i];
        let second = (i + 1..batch.rows.len()).find(|&j| batch.labels[j] == label);
        if let (true, Some(j)) = (label >= 0 && first(&batch.labels, label) == Some(i), second) {
            pairs.push((i, j));
        }
    }
    let keys: Vec<Vec<f64>> = pairs.iter().map(|&(_, j)| batch.rows[j].clone()).collect();
    let mut losses = vec![0.0; batch.rows.len()];
    for (own, &(i, _)) in pairs.iter().enumerate() {
        losses[i] = loss(&batch.rows[i], &keys, own);
    }
    losses
}

/// The sets of labels that the numbers of a case stand for: bit `k` says whether label `k` is in it; none for a negative one.
pub fn label_sets(labels: &[i64]) -> Vec<[bool; 6]> {
    let set = |label: i64| core::array::from_fn(|bit| label >= 0 && ((label % 61 + 1) >> bit) & 1 == 1);
    labels.iter().map(|&label| set(label)).collect()
}

/// Supervised contrastive of sets of labels.
pub fn multi_label_sup_con(case: &Case) -> Vec<f64> {
    let (rows, sets) = (case.rows("embeddings"), label_sets(&case.labels));
    let (temperature, overlap) = (case.number("temperature"), case.number("overlap"));
    let known = |i: usize| sets[i].contains(&true);
    let common = |i: usize, j: usize| {
        let count = |holds: fn(bool, bool) -> bool| (0..6).filter(|&k| holds(sets[i][k], sets[j][k])).count() as f64;
        count(|a, b| a && b) / count(|a, b| a || b)
    };
    let loss = |i: usize| {
        let others: Vec<usize> = (0..rows.len()).filter(|&j| j != i && known(i) && known(j)).collect();
        let score = |j: usize| cosine(&rows[i], &rows[j]) / temperature;
        let positives: Vec<usize> = others.iter().copied().filter(|&j| common(i, j) >= overlap).collect();
        let each = |j: usize| {
            let rest: Vec<f64> = others.iter().filter(|&&k| k != j).map(|&k| score(k)).collect();
            common(i, j) * picked(score(j), &rest)
        };
        let sum: f64 = positives.iter().map(|&j| each(j)).sum();
        if positives.is_empty() { 0.0 } else { sum / positives.len() as f64 }
    };
    (0..rows.len()).map(loss).collect()
}

/// Multi-similarity, equation 15.
pub fn multi_similarity(case: &Case) -> Vec<f64> {
    let batch = Batch::of(case);
    let (alpha, beta, base) = (case.number("alpha"), case.number("beta"), case.number("base"));
    let loss = |i: usize| {
        let far = log_of_one_more(batch.positives(i).into_iter().map(|cosine| -alpha * (cosine - base)));
        let near = log_of_one_more(batch.negatives(i).into_iter().map(|cosine| beta * (cosine - base)));
        far / alpha + near / beta
    };
    (0..batch.rows.len()).map(loss).collect()
}

/// Circle loss: one plus the sum over all pairs of a positive and a negative.
pub fn circle(case: &Case) -> Vec<f64> {
    let (batch, margin, scale) = (Batch::of(case), case.number("margin"), case.number("scale"));
    let loss = |i: usize| {
        let mut exponents = Vec::new();
        for positive in batch.positives(i) {
            for negative in batch.negatives(i) {
                let pull = (1.0 + margin - positive).max(0.0) * (positive - (1.0 - margin));
                let push = (negative + margin).max(0.0) * (negative - margin);
                exponents.push(scale * (push - pull));
            }
        }
        log_of_one_more(exponents.into_iter())
    };
    (0..batch.rows.len()).map(loss).collect()
}
