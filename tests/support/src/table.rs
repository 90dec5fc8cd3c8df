//! The table of losses: a new loss joins every test by one row here.

use std::collections::BTreeMap;

use burn::config::Config;
use burn::module::Param;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::center::{CenterLossConfig, CenterMode};
use burn_losses::distance::Distance;
use burn_losses::margin::{ArcFaceConfig, CombinedMarginConfig, CosFaceConfig, MarginHead, NormFaceConfig};
use serde_json::{Value, json};

use crate::golden::{Array, Case};
use crate::naive;

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
    /// Whether rounding errors grow with `scale`.
    pub has_scale: bool,
}

/// Runs a head: every head has the same config fields and the same public `centers`, but no common constructor.
macro_rules! head {
    ($config:ident) => {
        |call| {
            let [classes, embedding_dim] = call.sizes("weights");
            let mut head = call.config($config::new(classes, embedding_dim)).init(call.device);
            head.centers.weight = Param::from_tensor(call.leaf("weights"));
            run_head(call, &head)
        }
    };
}

/// One row per loss.
pub const TABLE: &[Row] = &[
    Row {
        loss: "NormFace",
        family: "margin",
        run: head!(NormFaceConfig),
        naive: naive::margin::losses,
        has_scale: true,
    },
    Row { loss: "CosFace", family: "margin", run: head!(CosFaceConfig), naive: naive::margin::losses, has_scale: true },
    Row { loss: "ArcFace", family: "margin", run: head!(ArcFaceConfig), naive: naive::margin::losses, has_scale: true },
    Row {
        loss: "CombinedMargin",
        family: "margin",
        run: head!(CombinedMarginConfig),
        naive: naive::margin::losses,
        has_scale: true,
    },
    Row { loss: "CenterLoss", family: "center", run: center, naive: naive::center::losses, has_scale: false },
    Row { loss: "Distance", family: "distance", run: distance, naive: naive::distance::distances, has_scale: false },
];

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
        let data = TensorData::new(array.data.clone(), [array.shape[0], array.shape[1]]);
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

    fn sizes(&self, input: &str) -> [usize; 2] {
        let shape = &self.case.inputs[input].shape;
        [shape[0], shape[1]]
    }
}

impl Run {
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

fn run_head(call: &Call<'_>, head: &impl MarginHead) -> Run {
    let embeddings = call.leaf("embeddings");
    let losses = head.forward_no_reduction(embeddings.clone(), call.labels());
    let leaves = BTreeMap::from([("embeddings", embeddings), ("weights", head.centers().weight.val())]);

    Run { losses, leaves, outputs: BTreeMap::new() }
}

fn center(call: &Call<'_>) -> Run {
    let [classes, embedding_dim] = call.sizes("centers");
    let config = call.config(CenterLossConfig::new(classes, embedding_dim));
    let loss = config.init(call.device).with_centers(call.leaf("centers"));
    let embeddings = call.leaf("embeddings");
    let mut leaves = BTreeMap::from([("embeddings", embeddings.clone())]);
    let mut outputs = BTreeMap::new();

    let losses = loss.forward_no_reduction(embeddings.clone(), call.labels());
    match config.mode {
        CenterMode::Trained => {
            leaves.insert("centers", loss.centers());
        }
        CenterMode::Updated => {
            outputs.insert("centers", loss.centers());
            let _ = loss.forward_no_reduction(embeddings.detach(), call.labels());
            outputs.insert("centers_after_two", loss.centers());
        }
    }
    Run { losses, leaves, outputs }
}

fn distance(call: &Call<'_>) -> Run {
    let settings = &call.case.settings;
    let distance: Distance = serde_json::from_value(settings["distance"].clone()).expect("a distance");
    let (first, second) = (call.leaf("first"), call.leaf("second"));
    let losses = match settings["form"].as_str() {
        Some("rowwise") => distance.rowwise(first.clone(), second.clone()),
        _ => {
            let matrix = distance.matrix(first.clone(), second.clone());
            let count = matrix.shape().num_elements();
            matrix.reshape([count])
        }
    };
    Run { losses, leaves: BTreeMap::from([("first", first), ("second", second)]), outputs: BTreeMap::new() }
}

/// A case for the tests that vary inputs by hand: `embeddings` and `weights` as given, settings over the defaults.
pub fn head_case(loss: &str, settings: Value, embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64]) -> Case {
    let array = |rows: &[Vec<f64>]| json!({"shape": [rows.len(), weights[0].len()], "data": rows.concat()});
    let case = json!({
        "name": loss, "loss": loss, "settings": settings, "labels": labels,
        "inputs": {"embeddings": array(embeddings), "weights": array(weights)},
        "cotangent": (0..labels.len()).map(|row| 0.5 + 0.3 * row as f64).collect::<Vec<_>>(),
        "expected": {"losses": {"shape": [0], "data": []}, "gradients": {}}, "source": "none",
    });
    serde_json::from_value(case).expect("a case")
}

/// The row of a loss.
///
/// # Panics
///
/// If the table has none.
pub fn row(loss: &str) -> &'static Row {
    TABLE.iter().find(|row| row.loss == loss).unwrap_or_else(|| panic!("the table has no {loss}"))
}
