//! The table of losses: a new loss joins every test by one row here.

mod adaptive;
mod center;
mod classification;
mod distance;
mod inputs;
mod law;
mod linear;
mod margin;
mod pairwise;
mod per_pair;
mod proxy;
mod regression;
mod regularization;
mod rivals;
mod softmax_pairs;

use std::collections::BTreeMap;

use std::cell::RefCell;

use burn::config::Config;
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde_json::Value;

use crate::golden::{Array, Case};

pub use inputs::{Axis, Input, Sample, Size, Values, numbers};
pub use law::{Hostile, Law};
pub use margin::head_case;

/// A loss and everything the tests need of it.
pub struct Row {
    /// The type's name, which golden cases refer to.
    pub loss: &'static str,
    /// The golden file it is in.
    pub family: &'static str,
    /// What it is a loss of: which laws concern it.
    pub kind: Kind,
    /// What it takes, in a made-up case.
    pub inputs: &'static [Input],
    /// What its losses are losses of.
    pub losses: Losses,
    /// The settings in which the laws are tried, gentle and at the loss's sharpest, and what it does not keep in them.
    pub samples: &'static [Sample],
    /// Runs a case: builds the loss from the case's settings and calls it.
    pub run: fn(&Call<'_>) -> Run,
    /// The same in plain loops.
    pub naive: fn(&Case) -> Vec<f64>,
    /// How steep the loss is.
    pub steepness: Steepness,
    /// What its labels mean.
    pub labels: Labels,
    /// Where it differs from its source on purpose, and why; empty where it does not.
    pub deviation: &'static str,
}

/// How steep a loss is: rounding errors grow with it, and finite differences need smaller steps.
#[derive(Clone, Copy)]
pub enum Steepness {
    /// About as steep as its inputs.
    Ordinary,
    /// Steeper by this number, such as the scale of a head. Its inputs are multiplied with it, so rounding errors grow
    /// with it too.
    Scaled(fn(&Case) -> f64),
    /// Bends more sharply by this number: finite differences need smaller steps, rounding errors are ordinary.
    Bent(fn(&Case) -> f64),
}

/// What the labels of a case mean to a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// There are none.
    None,
    /// Classes `0..classes`; others give their row loss 0 and gradient 0.
    Classes,
    /// Identities: only whether two are equal matters, and a row with a negative one is in no pair.
    Identities,
}

/// What a loss is a loss of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Embeddings and class centers, by an angular margin.
    Head,
    /// Embeddings and each other.
    Pairs,
    /// Embeddings and trained proxies.
    Proxy,
    /// Embeddings and class centers, by their distance.
    Center,
    /// Logits and classes.
    Logits,
    /// Logits, or several, and probabilities.
    Probabilities,
    /// Numbers and numbers.
    Numbers,
    /// The rows of a matrix of embeddings or class centers.
    Regularizer,
    /// Embeddings and embeddings, row by row.
    Distance,
}

impl Kind {
    /// Whether its rows are vectors and not numbers or logits of their own.
    pub fn has_embeddings(self) -> bool {
        matches!(self, Self::Head | Self::Pairs | Self::Proxy | Self::Center | Self::Regularizer | Self::Distance)
    }
}

/// What the losses of a run are losses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// `[batch]`: of the rows.
    PerRow,
    /// `[batch·batch]`: of every row with every row.
    PerPair,
    /// `[batch·columns]`: of every number.
    PerNumber,
    /// `[classes]`: of the classes.
    PerClass,
    /// `[1]`: of the batch.
    One,
}

/// One sample: the defaults.
const DEFAULTS: &[Sample] = &[Sample::new("{}")];

/// All rows, family by family.
pub fn table() -> impl Iterator<Item = &'static Row> {
    let families = [
        margin::ROWS,
        adaptive::ROWS,
        rivals::ROWS,
        center::ROWS,
        distance::ROWS,
        classification::ROWS,
        linear::ROWS,
        regression::ROWS,
        pairwise::ROWS,
        softmax_pairs::ROWS,
        proxy::ROWS,
        regularization::ROWS,
    ];
    families.into_iter().flatten()
}

impl Row {
    /// How much smaller the steps of finite differences must be.
    pub fn sharpness(&self, case: &Case) -> f64 {
        match self.steepness {
            Steepness::Ordinary => 1.0,
            Steepness::Scaled(scale) => scale(case),
            Steepness::Bent(bend) => bend(case),
        }
    }

    /// What rounding errors grow with, if it is not the inputs alone.
    pub fn scale(&self, case: &Case) -> Option<f64> {
        match self.steepness {
            Steepness::Scaled(scale) => Some(scale(case)),
            Steepness::Ordinary | Steepness::Bent(_) => None,
        }
    }
}

/// A case on a device.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What to run; its inputs may have been changed.
    pub case: &'a Case,
    /// Where; with autodiff, but for tests of evaluation.
    pub device: &'a Device,
    /// In which precision.
    pub dtype: DType,
    /// How.
    pub how: How<'a>,
}

/// What a test may want otherwise than plainly.
#[derive(Clone, Copy, Default)]
pub struct How<'a> {
    /// One number from `forward`, in place of the losses of `forward_no_reduction`.
    pub reduced: bool,
    /// How the inputs lie in memory.
    pub layout: Layout,
    /// The integer type of the labels, if not the device's own.
    pub labels: Option<DType>,
    /// The precision of trained inputs, if not that of the batch.
    pub parameters: Option<DType>,
    /// Saves the module and loads it into a new one before it is called.
    pub saved: bool,
    /// Where to leave the config that the loss was built from.
    pub config: Option<&'a RefCell<Option<ConfigSeen>>>,
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Row after row.
    #[default]
    Plain,
    /// Column after column.
    Transposed,
    /// Inside a larger tensor: not at its start, and with a gap after every row.
    Window,
    /// The rows in reverse.
    Flipped,
}

/// A config as a loss was built from it.
pub struct ConfigSeen {
    /// What it is without settings.
    pub defaults: Value,
    /// What it is with those of the case.
    pub changed: Value,
    /// Reads it from JSON text and writes it back.
    pub read: fn(&str) -> Result<String, String>,
}

/// What came out.
pub struct Run {
    /// One loss per row, pair, number or class; one number where `forward` was called.
    pub losses: Tensor<1>,
    /// The float inputs and trained tensors, for their gradients.
    pub leaves: BTreeMap<&'static str, Tensor<2>>,
    /// What else came out.
    pub outputs: BTreeMap<&'static str, Tensor<2>>,
}

impl<'a> Call<'a> {
    /// A plain call.
    pub fn new(case: &'a Case, device: &'a Device, dtype: DType) -> Self {
        Self { case, device, dtype, how: How::default() }
    }

    /// The same call of another case.
    pub fn of<'b>(&self, case: &'b Case) -> Call<'b>
    where
        'a: 'b,
    {
        Call { case, ..*self }
    }
}

impl Call<'_> {
    /// A float input of the case as a leaf that keeps its gradient.
    pub fn leaf(&self, name: &str) -> Tensor<2> {
        self.make_leaf(self.tensor(&self.case.inputs[name]))
    }

    /// A trained input of the case, likewise.
    pub fn parameter(&self, name: &str) -> Tensor<2> {
        let dtype = self.how.parameters.unwrap_or(self.dtype);
        self.make_leaf(self.lay(&self.case.inputs[name], dtype))
    }

    fn make_leaf(&self, tensor: Tensor<2>) -> Tensor<2> {
        if self.device.is_autodiff() { tensor.detach().require_grad() } else { tensor }
    }

    /// An array as a tensor on the device.
    pub fn tensor(&self, array: &Array) -> Tensor<2> {
        self.lay(array, self.dtype)
    }

    fn lay(&self, array: &Array, dtype: DType) -> Tensor<2> {
        let [rows, columns] = array.sizes();
        let make = |data: Vec<f64>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(data, shape), (self.device, dtype))
        };
        let at = |row: usize, column: usize| array.data[row * columns + column];
        match self.how.layout {
            Layout::Plain => make(array.data.clone(), [rows, columns]),
            Layout::Transposed => {
                let data = (0..columns).flat_map(|column| (0..rows).map(move |row| at(row, column))).collect();
                make(data, [columns, rows]).transpose()
            }
            Layout::Window => {
                // What lies around it is no number: reading it shows.
                let mut wide = vec![f64::NAN; (rows + 2) * (columns + 3)];
                for row in 0..rows {
                    let start = (row + 1) * (columns + 3) + 2;
                    wide[start..start + columns].copy_from_slice(&array.data[row * columns..(row + 1) * columns]);
                }
                make(wide, [rows + 2, columns + 3]).slice([1..rows + 1, 2..columns + 2])
            }
            Layout::Flipped => {
                let data = (0..rows).rev().flat_map(|row| (0..columns).map(move |column| at(row, column))).collect();
                make(data, [rows, columns]).flip([0])
            }
        }
    }

    /// The labels of the case.
    pub fn labels(&self) -> Tensor<1, Int> {
        self.integers(&self.case.labels)
    }

    /// Integers as labels on the device.
    pub fn integers(&self, numbers: &[i64]) -> Tensor<1, Int> {
        let data = TensorData::from(numbers);
        match self.how.labels {
            None => Tensor::from_data(data, self.device),
            Some(dtype) => Tensor::from_data(data, (self.device, dtype)),
        }
    }

    /// The config of the loss: `defaults`, changed by the settings of the case.
    ///
    /// # Panics
    ///
    /// If a setting is not a field of the config.
    pub fn config<C: Config>(&self, defaults: C) -> C {
        let defaults = serde_json::to_value(defaults).expect("a config is JSON");
        let mut changed = defaults.clone();
        for (name, value) in &self.case.settings {
            // What all losses with class centers have in common stands in a config of its own.
            let fields = if changed.get(name).is_none() && changed.get("centers").is_some() {
                &mut changed["centers"]
            } else {
                &mut changed
            };
            let field = fields.get_mut(name).unwrap_or_else(|| panic!("{}: no field {name}", self.case.name));
            *field = value.clone();
        }
        let config =
            serde_json::from_value(changed.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.case.name));
        if let Some(seen) = self.how.config {
            let read = |text: &str| {
                let config: C = serde_json::from_str(text).map_err(|error| error.to_string())?;
                serde_json::to_string(&config).map_err(|error| error.to_string())
            };
            seen.replace(Some(ConfigSeen { defaults, changed, read }));
        }
        config
    }

    /// The module itself, or, where the test asks for it, a new one into which its record was loaded.
    ///
    /// # Panics
    ///
    /// If it cannot be saved or loaded.
    pub fn module<M: Module>(&self, module: M, new: impl FnOnce() -> M) -> M {
        if !self.how.saved {
            return module;
        }
        let bytes = module.into_record().into_bytes().expect("a record");
        new().load_record(ModuleRecord::from_bytes(bytes).expect("a record"))
    }

    /// The rows and columns of an input.
    pub fn sizes(&self, input: &str) -> [usize; 2] {
        self.case.inputs[input].sizes()
    }

    /// Whether the case has this input.
    pub fn has(&self, input: &str) -> bool {
        self.case.inputs.contains_key(input)
    }
}

impl Run {
    /// Losses and leaves, without other outputs.
    pub fn new<const D: usize>(losses: Tensor<D>, leaves: impl IntoIterator<Item = (&'static str, Tensor<2>)>) -> Self {
        let count = losses.shape().num_elements();
        Self { losses: losses.reshape([count]), leaves: leaves.into_iter().collect(), outputs: BTreeMap::new() }
    }

    /// The losses on the host.
    pub fn loss_values(&self) -> Vec<f64> {
        host(self.losses.clone())
    }

    /// The gradients of `sum(cotangent·losses)`.
    ///
    /// # Panics
    ///
    /// If a leaf has no gradient.
    pub fn gradients(&self, cotangent: &[f64]) -> BTreeMap<&'static str, Vec<f64>> {
        let options = (&self.losses.device(), self.losses.dtype());
        let cotangent = Tensor::<1>::from_data(TensorData::from(cotangent), options);
        let gradients = (self.losses.clone() * cotangent).sum().backward();
        let of = |(&name, leaf): (&&'static str, &Tensor<2>)| {
            let gradient = leaf.grad(&gradients).unwrap_or_else(|| panic!("{name} has no gradient"));
            (name, host(gradient))
        };
        self.leaves.iter().map(of).collect()
    }
}

/// One loss after the other.
fn flat<const D: usize>(losses: Tensor<D>) -> Tensor<1> {
    let count = losses.shape().num_elements();
    losses.reshape([count])
}

/// A tensor's numbers as `f64`.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().expect("the tensor can be read")
}

/// The row of a loss.
///
/// # Panics
///
/// If the table has none.
pub fn row(loss: &str) -> &'static Row {
    table().find(|row| row.loss == loss).unwrap_or_else(|| panic!("the table has no {loss}"))
}
