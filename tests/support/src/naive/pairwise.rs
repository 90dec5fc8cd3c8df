//! Losses of pairs and triplets, one at a time.

use super::distance::distance;
use crate::golden::Case;

/// Contrastive loss, Hadsell et al. 2006, equation 4, and its other forms.
pub fn contrastive(case: &Case) -> Vec<f64> {
    let of = |is_positive: bool, d: f64| {
        let (near, far) = (case.number("positive_margin"), case.number("negative_margin"));
        match (case.word("form", ""), is_positive) {
            ("Squared", true) => 0.5 * (d - near).max(0.0).powi(2),
            ("Squared", false) => 0.5 * (far - d).max(0.0).powi(2),
            ("SquaredDistance", true) => 0.5 * (d * d - near).max(0.0),
            ("SquaredDistance", false) => 0.5 * (far - d * d).max(0.0).powi(2),
            ("Hinge", true) => (d - near).max(0.0),
            ("Hinge", false) => (far - d).max(0.0),
            other => panic!("{}: no form {other:?}", case.name),
        }
    };
    if case.word("call", "") == "pairs" {
        let (first, second) = (case.rows("first"), case.rows("second"));
        let pairs = first.iter().zip(&second).zip(&case.labels);
        return pairs.map(|((a, b), &label)| of(label == 1, distance(case, a, b))).collect();
    }
    let embeddings = case.rows("embeddings");
    let (mut all, mut positives, mut negatives) = (Vec::new(), Vec::new(), Vec::new());
    for (i, a) in embeddings.iter().enumerate() {
        for (j, b) in embeddings.iter().enumerate() {
            let mut loss = 0.0;
            if i != j && is_pair(case.labels[i], case.labels[j]) {
                let is_positive = case.labels[i] == case.labels[j];
                loss = of(is_positive, distance(case, a, b));
                if is_positive { positives.push(loss) } else { negatives.push(loss) }
            }
            all.push(loss);
        }
    }
    match (reduction(case), case.word("balance", "")) {
        (None, _) => all,
        (Some(how), "Separate") => vec![reduce(how, &positives) + reduce(how, &negatives)],
        (Some(how), _) => vec![reduce(how, &[positives, negatives].concat())],
    }
}

/// Triplet loss: every triplet of a batch in three nested loops, given ones, or listed ones.
pub fn triplet(case: &Case) -> Vec<f64> {
    let swap = case.word("negative_distance", "") == "Nearest";
    let loss = |near: f64, far: f64| {
        let excess = near - far + case.number("margin");
        // Only for numbers of ordinary size.
        if case.word("shape", "") == "Softplus" { (1.0 + excess.exp()).ln() } else { excess.max(0.0) }
    };
    if case.word("call", "") == "triplets" {
        let (a, p, n) = (case.rows("anchor"), case.rows("positive"), case.rows("negative"));
        let one = |i: usize| {
            let far = distance(case, &a[i], &n[i]);
            let other = distance(case, &p[i], &n[i]);
            loss(distance(case, &a[i], &p[i]), if swap { far.min(other) } else { far })
        };
        return (0..a.len()).map(one).collect();
    }
    let rows = case.rows("embeddings");
    let between = |i: usize, j: usize| distance(case, &rows[i], &rows[j]);
    let (mut losses, mut per_anchor) = (Vec::new(), vec![0.0; rows.len()]);
    for [a, p, n] in triplets(case, &between) {
        let swapped = swap && between(p, n) < between(a, n);
        let value = loss(between(a, p), if swapped { between(p, n) } else { between(a, n) });
        losses.push(value);
        // A swapped triplet of a whole batch counts for its positive, which has become the anchor.
        per_anchor[if swapped && case.word("mining", "") == "All" { p } else { a }] += value;
    }
    match reduction(case) {
        None => per_anchor,
        Some(how) => vec![reduce(how, &losses)],
    }
}

fn triplets(case: &Case, between: &dyn Fn(usize, usize) -> f64) -> Vec<[usize; 3]> {
    if let Some(columns) = case.settings.get("triplets") {
        let columns: Vec<Vec<usize>> = serde_json::from_value(columns.clone()).expect("three columns");
        return (0..columns[0].len()).map(|entry| [columns[0][entry], columns[1][entry], columns[2][entry]]).collect();
    }
    let count = case.labels.len();
    let mut found = Vec::new();
    for a in 0..count {
        let paired = |other: &usize| *other != a && is_pair(case.labels[a], case.labels[*other]);
        let is_same = |other: &usize| case.labels[a] == case.labels[*other];
        let positives: Vec<usize> = (0..count).filter(paired).filter(is_same).collect();
        let negatives: Vec<usize> = (0..count).filter(paired).filter(|other| !is_same(other)).collect();
        let nearer = |i: &usize, j: &usize| between(a, *i).total_cmp(&between(a, *j));
        match case.word("mining", "") {
            "All" => {
                found.extend(positives.iter().flat_map(|&p| negatives.iter().map(move |&n| [a, p, n])));
            }
            "Hard" => {
                let hardest = (positives.iter().copied().max_by(nearer), negatives.iter().copied().min_by(nearer));
                if let (Some(p), Some(n)) = hardest {
                    found.push([a, p, n]);
                }
            }
            "SemiHard" => {
                for p in positives {
                    let farther = negatives.iter().copied().filter(|&n| between(a, n) > between(a, p));
                    found.extend(farther.min_by(nearer).map(|n| [a, p, n]));
                }
            }
            other => panic!("{}: no mining {other:?}", case.name),
        }
    }
    found
}

/// Generalised lifted structure loss, Hermans et al. 2017.
pub fn lifted_structure(case: &Case) -> Vec<f64> {
    let rows = case.rows("embeddings");
    let mut losses = Vec::new();
    for (i, a) in rows.iter().enumerate() {
        let (mut near, mut far) = (0.0, 0.0);
        for (j, b) in rows.iter().enumerate().filter(|(j, _)| *j != i && is_pair(case.labels[i], case.labels[*j])) {
            let d = distance(case, a, b);
            if case.labels[i] == case.labels[j] {
                near += (d - case.number("positive_margin")).exp();
            } else {
                far += (case.number("negative_margin") - d).exp();
            }
        }
        // Without a positive or a negative a logarithm is minus infinity, and the loss 0.
        losses.push((near.ln() + far.ln()).max(0.0));
    }
    match reduction(case) {
        None => losses,
        Some(how) => vec![reduce(how, &losses)],
    }
}

/// Margin loss, Wu et al. 2017, section 4.
pub fn margin(case: &Case) -> Vec<f64> {
    let (rows, beta) = (case.rows("embeddings"), &case.inputs["beta"].data);
    let (references, reference_labels) = match case.settings.get("reference_labels") {
        Some(labels) => (case.rows("references"), serde_json::from_value(labels.clone()).expect("labels")),
        None => (rows.clone(), case.labels.clone()),
    };
    let itself = !case.settings.contains_key("reference_labels");
    let (mut all, mut pairs, mut boundaries) = (Vec::new(), Vec::new(), Vec::new());
    for (i, a) in rows.iter().enumerate() {
        let boundary = if beta.len() == 1 { beta[0] } else { beta[case.labels[i] as usize] };
        let before = pairs.len();
        for (j, b) in references.iter().enumerate() {
            let mut loss = 0.0;
            if !(itself && i == j) && is_pair(case.labels[i], reference_labels[j]) {
                let beyond = distance(case, a, b) - boundary;
                let sign = if case.labels[i] == reference_labels[j] { 1.0 } else { -1.0 };
                loss = (sign * beyond + case.number("margin")).max(0.0);
                pairs.push(loss);
            }
            all.push(loss);
        }
        if pairs.len() > before {
            boundaries.push(boundary);
        }
    }
    match reduction(case) {
        None => all,
        Some(how) => vec![reduce(how, &pairs) + case.number("nu") * reduce("Mean", &boundaries)],
    }
}

fn is_pair(label: i64, other: i64) -> bool {
    label >= 0 && other >= 0
}

fn reduction(case: &Case) -> Option<&str> {
    case.settings.get("reduction").and_then(|how| how.as_str())
}

fn reduce(how: &str, losses: &[f64]) -> f64 {
    let sum: f64 = losses.iter().sum();
    match how {
        "Sum" => sum,
        "Mean" => sum / losses.len().max(1) as f64,
        "MeanNonZero" => sum / losses.iter().filter(|&&loss| loss != 0.0).count().max(1) as f64,
        other => panic!("no reduction {other}"),
    }
}
