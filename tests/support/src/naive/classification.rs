//! Losses of logits and targets, with probabilities where the library has log-odds.

use crate::golden::Case;

/// Softmax cross-entropy with weights and smoothing.
pub fn cross_entropy(case: &Case) -> Vec<f64> {
    let rows = case.rows("logits").into_iter().zip(&case.labels);
    rows.map(|(logits, &label)| smoothed(case, &logits, |class| if class == label as usize { 1.0 } else { 0.0 }))
        .collect()
}

/// The same of a linear layer, with capped logits and the square of the log-sum-exp.
pub fn linear_cross_entropy(case: &Case) -> Vec<f64> {
    let weights = case.rows("weights");
    let bias = if case.inputs.contains_key("bias") { case.rows("bias").concat() } else { vec![0.0; weights.len()] };
    let cap = case.settings.get("soft_cap").and_then(serde_json::Value::as_f64);
    let logit = |product: f64| cap.map_or(product, |cap| cap * (product / cap).tanh());
    let mut losses = Vec::new();
    for (embedding, &label) in case.rows("embeddings").iter().zip(&case.labels) {
        let of_class = |(weight, bias): (&Vec<f64>, &f64)| logit(super::dot(embedding, weight) + bias);
        let logits: Vec<f64> = weights.iter().zip(&bias).map(of_class).collect();
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let loss = smoothed(case, &logits, |class| if class == label as usize { 1.0 } else { 0.0 });
        losses.push(loss + case.number("z_loss") * total.ln().powi(2));
    }
    losses
}

/// The divergence of a student's classes from those of a teacher, of a linear layer each, times the square of the temperature.
pub fn linear_distillation(case: &Case) -> Vec<f64> {
    let temperature = case.number("temperature");
    let divergence = &case.settings["divergence"];
    let side = |prefix: &str| -> Vec<Vec<f64>> {
        let weights = case.rows(&format!("{prefix}weights"));
        let name = format!("{prefix}bias");
        let bias = if case.inputs.contains_key(&name) { case.rows(&name).concat() } else { vec![0.0; weights.len()] };
        let of_row = |row: &Vec<f64>| {
            let classes = weights.iter().zip(&bias);
            let logits: Vec<f64> = classes.map(|(w, bias)| (super::dot(row, w) + bias) / temperature).collect();
            softmax(&logits)
        };
        case.rows(&format!("{prefix}embeddings")).iter().map(of_row).collect()
    };
    let kl = |of: &[f64], other: &[f64]| of.iter().zip(other).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    let mut losses = Vec::new();
    for ((student, teacher), &label) in side("").iter().zip(&side("teacher_")).zip(&case.labels) {
        let beta = divergence.get("JensenShannon").and_then(serde_json::Value::as_f64);
        let loss = match (divergence.as_str(), beta) {
            _ if label < 0 => 0.0,
            (Some("ForwardKl"), _) | (_, Some(0.0)) => kl(teacher, student),
            (Some("ReverseKl"), _) | (_, Some(1.0)) => kl(student, teacher),
            (_, Some(beta)) => {
                let mixed = |(teacher, student): (&f64, &f64)| beta * teacher + (1.0 - beta) * student;
                let mixture: Vec<f64> = teacher.iter().zip(student).map(mixed).collect();
                beta * kl(teacher, &mixture) + (1.0 - beta) * kl(student, &mixture)
            }
            _ => panic!("{}: {divergence} is no divergence", case.name),
        };
        losses.push(temperature.powi(2) * loss);
    }
    losses
}

/// Softmax cross-entropy with one probability per class.
pub fn soft_cross_entropy(case: &Case) -> Vec<f64> {
    let rows = case.rows("logits").into_iter().zip(case.rows("targets"));
    rows.map(|(logits, targets)| smoothed(case, &logits, |class| targets[class])).collect()
}

fn smoothed(case: &Case, logits: &[f64], target: impl Fn(usize) -> f64) -> f64 {
    let smoothing = case.number("label_smoothing");
    let count = logits.len() as f64;
    let mut loss = 0.0;
    for (class, p) in softmax(logits).into_iter().enumerate() {
        let target = (1.0 - smoothing) * target(class) + smoothing / count;
        loss -= weight(case, "class_weights", class).unwrap_or(1.0) * target * p.ln();
    }
    loss
}

/// Cross-entropy of a yes or no, from logits.
pub fn binary_cross_entropy(case: &Case) -> Vec<f64> {
    numbers(case, |class, p, target| {
        let weight = weight(case, "positive_weights", class).unwrap_or(1.0);
        -weight * target * p.ln() - (1.0 - target) * (1.0 - p).ln()
    })
}

/// Binary focal loss.
pub fn binary_focal(case: &Case) -> Vec<f64> {
    let gamma = case.number("gamma");
    numbers(case, |class, p, target| {
        let (present, absent) = match weight(case, "alpha", class) {
            Some(alpha) => (alpha, 1.0 - alpha),
            None => (1.0, 1.0),
        };
        let yes = -target * (1.0 - p).powf(gamma) * p.ln();
        let no = -(1.0 - target) * p.powf(gamma) * (1.0 - p).ln();
        present * yes + absent * no
    })
}

/// Softmax focal loss.
pub fn focal(case: &Case) -> Vec<f64> {
    let gamma = case.number("gamma");
    own_probabilities(case, |label, p| -weight(case, "alpha", label).unwrap_or(1.0) * (1.0 - p).powf(gamma) * p.ln())
}

/// The same with one probability per class.
pub fn soft_focal(case: &Case) -> Vec<f64> {
    let gamma = case.number("gamma");
    let mut losses = Vec::new();
    for (logits, targets) in case.rows("logits").iter().zip(case.rows("targets")) {
        let mut loss = 0.0;
        for (class, p) in softmax(logits).into_iter().enumerate() {
            loss -= weight(case, "alpha", class).unwrap_or(1.0) * targets[class] * (1.0 - p).powf(gamma) * p.ln();
        }
        losses.push(loss);
    }
    losses
}

/// Asymmetric loss.
pub fn asymmetric(case: &Case) -> Vec<f64> {
    let (negative, positive) = (case.number("gamma_negative"), case.number("gamma_positive"));
    numbers(case, |_, p, target| {
        let shifted = (p - case.number("clip")).max(0.0);
        let yes = (1.0 - p).powf(positive) * p.ln();
        let no = shifted.powf(negative) * (1.0 - shifted).ln();
        -target * yes - (1.0 - target) * no
    })
}

/// Poly-1.
pub fn poly(case: &Case) -> Vec<f64> {
    own_probabilities(case, |_, p| -p.ln() + case.number("epsilon") * (1.0 - p))
}

/// Generalized cross-entropy.
pub fn generalized_cross_entropy(case: &Case) -> Vec<f64> {
    let q = case.number("q");
    own_probabilities(case, |_, p| (1.0 - p.powf(q)) / q)
}

/// Multi-class hinge.
pub fn multiclass_hinge(case: &Case) -> Vec<f64> {
    let power = if case.word("power", "Linear") == "Squared" { 2 } else { 1 };
    let mut losses = Vec::new();
    for (logits, &label) in case.rows("logits").iter().zip(&case.labels) {
        let mut loss = 0.0;
        for (class, logit) in logits.iter().enumerate() {
            if class != label as usize {
                loss += (case.number("margin") - logits[label as usize] + logit).max(0.0).powi(power);
            }
        }
        losses.push(loss / logits.len() as f64);
    }
    losses
}

/// Jensen-Shannon divergence of two or three views.
pub fn jensen_shannon(case: &Case) -> Vec<f64> {
    let views: Vec<_> = case.inputs.keys().map(|name| case.rows(name)).collect();
    let count = views.len() as f64;
    let mut losses = Vec::new();
    for row in 0..views[0].len() {
        let views: Vec<_> = views.iter().map(|view| softmax(&view[row])).collect();
        let mut loss = 0.0;
        for class in 0..views[0].len() {
            let mixture = views.iter().map(|p| p[class]).sum::<f64>() / count;
            loss += views.iter().map(|p| p[class] * (p[class] / mixture).ln()).sum::<f64>() / count;
        }
        losses.push(loss);
    }
    losses
}

/// Kullback-Leibler divergence, number by number.
pub fn kullback_leibler(case: &Case) -> Vec<f64> {
    let log_target = case.settings["log_target"] == true;
    let pairs = case.inputs["predictions"].data.iter().zip(&case.inputs["targets"].data);
    let divergence = |(prediction, &target): (&f64, &f64)| {
        if log_target { target.exp() * (target - prediction) } else { target * (target.ln() - prediction) }
    };
    pairs.map(divergence).collect()
}

fn numbers(case: &Case, loss: impl Fn(usize, f64, f64) -> f64) -> Vec<f64> {
    let [_, classes] = case.inputs["logits"].sizes();
    let pairs = case.inputs["logits"].data.iter().zip(&case.inputs["targets"].data);
    let of =
        |(place, (logit, &target)): (usize, (&f64, &f64))| loss(place % classes, 1.0 / (1.0 + (-logit).exp()), target);
    pairs.enumerate().map(of).collect()
}

fn own_probabilities(case: &Case, loss: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let rows = case.rows("logits").into_iter().zip(&case.labels);
    rows.map(|(logits, &label)| loss(label as usize, softmax(&logits)[label as usize])).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

fn weight(case: &Case, setting: &str, class: usize) -> Option<f64> {
    case.settings[setting].as_array().map(|weights| weights[class].as_f64().expect("a number"))
}
