//! The table of losses: a new loss joins every test by one row here.

mod adaptive;
mod center;
mod classification;
mod distance;
mod margin;
mod pairwise;
mod per_pair;
mod proxy;
mod regression;
mod regularization;
mod rivals;
mod softmax_pairs;

use std::collections::BTreeMap;

use burn::config::Config;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::golden::{Array, Case};

pub use margin::head_case;

/// A loss and everything the tests need of it.
pub struct Row {
    /// The type's name, which golden cases refer to.
    pub loss: &'static str,
    /// The golden file it is in.
    pub family: &'static str,
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

/// All rows, family by family.
pub fn table() -> impl Iterator<Item = &'static Row> {
    let families = [
        margin::ROWS,
        adaptive::ROWS,
        rivals::ROWS,
        center::ROWS,
        distance::ROWS,
        classification::ROWS,
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
pub struct Call<'a> {
    /// What to run; its inputs may have been changed.
    pub case: &'a Case,
    /// Where; with autodiff.
    pub device: &'a Device,
    /// In which precision.
    pub dtype: DType,
}

/// What came out.
pub struct Run {
    /// One loss per row or pair.
    pub losses: Tensor<1>,
    /// The float inputs and trained tensors, for their gradients.
    pub leaves: BTreeMap<&'static str, Tensor<2>>,
    /// What else came out.
    pub outputs: BTreeMap<&'static str, Tensor<2>>,
}

impl Call<'_> {
    /// A float input of the case as a leaf that keeps its gradient.
    pub fn leaf(&self, name: &str) -> Tensor<2> {
        self.tensor(&self.case.inputs[name]).require_grad()
    }

    /// An array as a tensor on the device.
    pub fn tensor(&self, array: &Array) -> Tensor<2> {
        let data = TensorData::new(array.data.clone(), array.sizes());
        Tensor::from_data(data, (self.device, self.dtype))
    }

    /// The labels of the case.
    pub fn labels(&self) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(self.case.labels.as_slice()), self.device)
    }

    /// The config of the loss: `defaults`, changed by the settings of the case.
    ///
    /// # Panics
    ///
    /// If a setting is not a field of the config.
    pub fn config<C: Config>(&self, defaults: C) -> C {
        let mut fields = serde_json::to_value(defaults).expect("a config is JSON");
        for (name, value) in &self.case.settings {
            let field = fields.get_mut(name).unwrap_or_else(|| panic!("{}: no field {name}", self.case.name));
            *field = value.clone();
        }
        serde_json::from_value(fields).unwrap_or_else(|error| panic!("{}: {error}", self.case.name))
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
