//! The inputs of a loss: what they are, and small made-up cases of any size.

use serde_json::{Map, Value, json};

use super::{Law, Losses, Row};
use crate::golden::Case;

/// What the columns and rows of an input stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// `[batch, dim]`: a row per sample.
    Batch,
    /// `[batch, classes]`: a row per sample, a column per class.
    Logits,
    /// `[classes·k, dim]`: as many rows per class as the settings say, one after the other.
    Classes,
    /// `[1, 1]`: a trained number.
    Number,
}

/// What numbers an input may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Any, of about 1.
    Any,
    /// In `(0, 1)`.
    Probability,
    /// Rows of positive numbers with sum 1.
    Distribution,
    /// Logarithms of such rows.
    LogDistribution,
    /// In `(0.5, 1.5)`.
    Positive,
    /// Whole numbers from 0.
    Count,
}

/// An input of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// Its name in a case.
    pub name: &'static str,
    /// What its rows and columns stand for.
    pub axis: Axis,
    /// What it may hold.
    pub values: Values,
}

impl Input {
    const fn new(name: &'static str, axis: Axis, values: Values) -> Self {
        Self { name, axis, values }
    }

    /// A row of any numbers per sample.
    pub const fn rows(name: &'static str) -> Self {
        Self::new(name, Axis::Batch, Values::Any)
    }

    /// Rows of any numbers per class.
    pub const fn classes(name: &'static str) -> Self {
        Self::new(name, Axis::Classes, Values::Any)
    }

    /// A column of any numbers per class.
    pub const fn logits(name: &'static str) -> Self {
        Self::new(name, Axis::Logits, Values::Any)
    }

    /// A trained number.
    pub const fn number(name: &'static str) -> Self {
        Self::new(name, Axis::Number, Values::Any)
    }

    /// The same with other numbers.
    pub const fn holding(self, values: Values) -> Self {
        Self { values, ..self }
    }
}

/// Settings in which the laws are tried.
pub struct Sample {
    /// Fields of the config, as JSON; the sizes are added.
    pub settings: &'static str,
    /// The laws that the loss does not keep in these settings, each with the reason.
    pub breaks: &'static [(Law, &'static str)],
}

impl Sample {
    /// Settings in which all laws hold.
    pub const fn new(settings: &'static str) -> Self {
        Self { settings, breaks: &[] }
    }

    /// Settings in which some do not.
    pub const fn but(settings: &'static str, breaks: &'static [(Law, &'static str)]) -> Self {
        Self { settings, breaks }
    }

    /// Why the sample breaks a law, if it does.
    pub fn reason(&self, law: Law) -> Option<&'static str> {
        self.breaks.iter().find(|(broken, _)| *broken == law).map(|(_, reason)| *reason)
    }
}

/// How large a made-up case is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The number of samples.
    pub batch: usize,
    /// The length of an embedding, or the columns of numbers.
    pub dim: usize,
    /// The number of classes.
    pub classes: usize,
}

impl Size {
    /// Few of everything, all different.
    pub const SMALL: Self = Self { batch: 6, dim: 4, classes: 5 };
}

impl Row {
    /// A made-up case: reproducible numbers that nobody chose, and labels of which some occur twice.
    ///
    /// # Panics
    ///
    /// If the settings of the sample are not a JSON object.
    pub fn case(&self, sample: &Sample, size: Size, seed: u64) -> Case {
        let mut settings: Map<String, Value> = serde_json::from_str(sample.settings)
            .unwrap_or_else(|error| panic!("{}: {}: {error}", self.loss, sample.settings));
        if self.inputs.iter().any(|input| input.axis == Axis::Classes) {
            settings.insert("classes".to_owned(), json!(size.classes));
            settings.insert("embedding_dim".to_owned(), json!(size.dim));
        }
        let inputs: Map<String, Value> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(place, input)| {
                let shape = match input.axis {
                    Axis::Batch => [size.batch, size.dim],
                    Axis::Logits => [size.batch, size.classes],
                    Axis::Classes => [size.classes * rows_per_class(&settings), size.dim],
                    Axis::Number => [1, 1],
                };
                let data = values(input.values, shape, seed.wrapping_mul(31).wrapping_add(place as u64 + 1));
                (input.name.to_owned(), json!({"shape": shape, "data": data}))
            })
            .collect();
        let count = match self.losses {
            Losses::PerRow => size.batch,
            Losses::PerPair => size.batch * size.batch,
            Losses::PerNumber => size.batch * self.columns(size),
            Losses::PerClass => size.classes,
            Losses::One => 1,
        };
        let labels = if self.labels == super::Labels::None { Vec::new() } else { labels(size) };
        let case = json!({
            "name": format!("{} {}", self.loss, sample.settings), "loss": self.loss, "settings": settings,
            "labels": labels, "inputs": inputs,
            // Not uniform, so that a wrong reduction shows.
            "cotangent": (0..count).map(|place| 0.5 + 0.3 * (place % 7) as f64).collect::<Vec<_>>(),
            "expected": {"losses": {"shape": [0], "data": []}, "gradients": {}}, "source": "none",
        });
        serde_json::from_value(case).expect("a case")
    }

    fn columns(&self, size: Size) -> usize {
        if self.inputs[0].axis == Axis::Logits { size.classes } else { size.dim }
    }

    /// How many rows of centers a class has in a case.
    pub fn rows_per_class(&self, case: &Case) -> usize {
        rows_per_class(&case.settings.clone().into_iter().collect())
    }
}

fn rows_per_class(settings: &Map<String, Value>) -> usize {
    let of = |name: &str| settings.get(name).and_then(Value::as_u64);
    of("sub_centers").or_else(|| of("centers_per_class")).unwrap_or(1) as usize
}

/// Classes of which some occur twice and, with many, some do not fit a byte.
fn labels(size: Size) -> Vec<i64> {
    let order = [0, 3, 1, 3, 0, 2, 4, 1];
    (0..size.batch).map(|place| order[place % order.len()] * (size.classes as i64 - 1) / 4).collect()
}

/// Reproducible numbers in `(-1, 1)` that nobody chose.
pub fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    // The first ones of a small state are small.
    for _ in 0..8 {
        next();
    }
    (0..count).map(|_| next()).collect()
}

fn values(values: Values, [rows, columns]: [usize; 2], seed: u64) -> Vec<f64> {
    let any = numbers(rows * columns, seed);
    let distribution = || -> Vec<f64> {
        any.chunks(columns.max(1))
            .flat_map(|row| {
                let total: f64 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(move |x| x.exp() / total)
            })
            .collect()
    };
    match values {
        Values::Any => any,
        Values::Probability => any.iter().map(|x| 0.5 + 0.499 * x).collect(),
        Values::Distribution => distribution(),
        Values::LogDistribution => distribution().iter().map(|x| x.ln()).collect(),
        Values::Positive => any.iter().map(|x| 1.0 + 0.5 * x).collect(),
        Values::Count => any.iter().map(|x| (2.5 * (x + 1.0)).floor()).collect(),
    }
}
