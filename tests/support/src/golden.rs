//! Numbers from other libraries, computed once in `f64` by `tests/parity/generate` and read from files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// A matrix or vector in row-major order.
#[derive(Clone, Debug, Deserialize)]
pub struct Array {
    /// One or two sizes.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<f64>,
}

impl Array {
    /// Rows and columns; a vector is a column.
    pub fn sizes(&self) -> [usize; 2] {
        [self.shape[0], self.shape.get(1).copied().unwrap_or(1)]
    }
}

/// What a case should give.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    /// One loss per row (or per pair).
    pub losses: Array,
    /// The gradient of `sum(cotangent·losses)` for every float input.
    pub gradients: BTreeMap<String, Array>,
    /// What else comes out, such as moved centers.
    #[serde(default)]
    pub outputs: BTreeMap<String, Array>,
}

/// One golden case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// `loss/what is special`.
    pub name: String,
    /// The row of the table it belongs to.
    pub loss: String,
    /// What differs from the defaults of the loss's config.
    pub settings: BTreeMap<String, Value>,
    /// The float inputs.
    pub inputs: BTreeMap<String, Array>,
    /// The class of every row, for losses that have labels.
    #[serde(default)]
    pub labels: Vec<i64>,
    /// The upstream gradient of every loss: not uniform, so that a wrong reduction shows.
    pub cotangent: Vec<f64>,
    /// What comes out.
    pub expected: Expected,
    /// Which library computed it.
    pub source: String,
    /// Whether a constant of the gradient depends on the inputs, such as an average of the batch: then finite differences
    /// say something else than the gradient.
    #[serde(default)]
    pub measures_batch: bool,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// All cases of a family, from `tests/parity/golden/FAMILY.json`.
///
/// # Panics
///
/// If the file is missing or not of this form.
pub fn cases(family: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parity/golden");
    let path = folder.join(family).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!file.cases.is_empty(), "{} holds no case", path.display());
    file.cases
}

impl Case {
    /// A setting of the case as a number.
    ///
    /// # Panics
    ///
    /// If it is missing.
    pub fn number(&self, setting: &str) -> f64 {
        let value = self.settings.get(setting).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("{}: no number {setting} among the settings", self.name))
    }

    /// A setting of the case as a word, or `default` when it is not set.
    pub fn word<'a>(&'a self, setting: &str, default: &'a str) -> &'a str {
        self.settings.get(setting).and_then(Value::as_str).unwrap_or(default)
    }

    /// The rows of an input.
    pub fn rows(&self, input: &str) -> Vec<Vec<f64>> {
        let array = &self.inputs[input];
        array.data.chunks(array.sizes()[1]).map(<[f64]>::to_vec).collect()
    }
}
