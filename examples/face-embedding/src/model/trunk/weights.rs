//! The weights of a trunk as PyTorch names and lays them: out to a file, and in from one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{
    BurnToPyTorchAdapter, FloatCastAdapter, KeyRemapper, ModuleAdapter, ModuleSnapshot, ModuleStore,
    PyTorchToBurnAdapter, PytorchStore, SafetensorsStore, bridge,
};
use burn::tensor::{DType, Shape};
use safetensors::tensor::{Dtype, TensorView};

use super::Trunk;

/// What the names of arcface_torch's `iresnet.py` are for those of [`iresnet`](super::iresnet).
const IRESNET: &[(&str, &str)] =
    &[(r"\.downsample\.conv\.", ".downsample.0."), (r"\.downsample\.norm\.", ".downsample.1.")];

/// What the names of arcface_torch's `mobilefacenet.py` are for those of [`mobilefacenet`](super::mobilefacenet).
const MOBILEFACENET: &[(&str, &str)] = &[
    (r"^features\.depthwise\.", "features.layers.0."),
    (r"^features\.linear\.", "features.layers.2."),
    (r"^features\.norm\.", "features.layers.3."),
    (r"^first\.", "layers.0."),
    (r"^second\.", "layers.1."),
    (r"^stages\.0\.down\.", "layers.2."),
    (r"^stages\.0\.residuals\.", "layers.3.layers."),
    (r"^stages\.1\.down\.", "layers.4."),
    (r"^stages\.1\.residuals\.", "layers.5.layers."),
    (r"^stages\.2\.down\.", "layers.6."),
    (r"^stages\.2\.residuals\.", "layers.7.layers."),
    (r"\.expand\.", ".layers.0."),
    (r"\.depthwise\.", ".layers.1."),
    (r"\.project\.", ".layers.2."),
    (r"\.conv\.", ".layers.0."),
    (r"\.norm\.", ".layers.1."),
    (r"\.activation\.", ".layers.2."),
];

/// Burn's adapter knows the other parameters of PyTorch, such as those of a norm.
const SLOPE: (&str, &str) = (r"\.alpha$", ".weight");
/// What PyTorch counts and no network here looks at.
const IGNORED: &str = "num_batches_tracked";
/// Names in a message about many of them.
const SHOWN: usize = 5;

impl Trunk {
    /// PyTorch's names for those here, applied in turn. The small network has those it has here.
    fn pytorch_names(&self) -> KeyRemapper {
        let table = match self {
            Self::Small(_) => &[],
            Self::MobileFaceNet(_) => MOBILEFACENET,
            Self::IResNet(_) => IRESNET,
        };
        let patterns = table.iter().copied().chain([SLOPE]).collect();
        KeyRemapper::from_patterns(patterns).expect("the patterns are regular expressions")
    }

    /// All weights and running statistics by PyTorch's names, laid as PyTorch has them.
    pub(crate) fn to_pytorch(&self) -> Vec<Stored> {
        self.pytorch_names().remap(self.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false)).0
    }

    /// The trunk with the weights of a file: a safetensors file, or one that `torch.save` wrote, with PyTorch's names.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its tensors are not those of this network; names the first of them.
    pub(crate) fn with_weights_of(self, path: &Path) -> Result<Self> {
        let place = |tensors: Vec<Stored>| self.with_pytorch(tensors);
        read(path).and_then(place).with_context(|| format!("cannot take the weights of {}", path.display()))
    }

    fn with_pytorch(mut self, tensors: Vec<Stored>) -> Result<Self> {
        // In the order of the network, both of them.
        let own = self.collect(None, None, false).into_iter().map(|tensor| tensor.name);
        let expected: BTreeMap<String, (String, Shape)> =
            self.to_pytorch().into_iter().zip(own).map(|(theirs, own)| (theirs.name, (own, theirs.shape))).collect();

        let mut found = BTreeMap::new();
        for tensor in tensors {
            if tensor.name.rsplit('.').next() != Some(IGNORED) {
                found.insert(tensor.name.clone(), tensor);
            }
        }
        let [missing, foreign] = [
            expected.keys().filter(|name| !found.contains_key(*name)).collect::<Vec<_>>(),
            found.keys().filter(|name| !expected.contains_key(*name)).collect(),
        ];
        let mut problems = Vec::new();
        for (what, names) in [("does not have", missing), ("has what the network does not", foreign)] {
            if !names.is_empty() {
                problems.push(format!("it {what}: {}", first(&names)));
            }
        }
        for (name, tensor) in &found {
            let Some((_, shape)) = expected.get(name) else { continue };
            if tensor.shape != *shape {
                problems.push(format!("{name} must be {:?}, got {:?}", shape.as_slice(), tensor.shape.as_slice()));
            } else if !tensor.dtype.is_float() {
                problems.push(format!("{name} must be numbers with a point, got {:?}", tensor.dtype));
            }
        }
        ensure!(problems.is_empty(), "{}", problems[..problems.len().min(SHOWN)].join("; "));

        let mut named = Vec::new();
        for (name, mut tensor) in found {
            let values = bridge::to_data(&tensor).with_context(|| format!("cannot read {name}"))?;
            ensure!(values.iter::<f32>().all(f32::is_finite), "{name} has a value that is no finite number");
            tensor.name.clone_from(&expected[&name].0);
            named.push(tensor);
        }
        let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
        let outcome = self.apply(named, None, Some(Box::new(adapter)), false);
        ensure!(outcome.is_success() && outcome.missing.is_empty() && outcome.unused.is_empty(), "{outcome}");
        Ok(self)
    }
}

/// A safetensors file of tensors, in `f32`.
///
/// # Errors
///
/// If one of them cannot be read from its device.
pub(crate) fn to_safetensors(tensors: Vec<Stored>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for tensor in &tensors {
        let data = bridge::to_data(tensor).with_context(|| format!("cannot read {}", tensor.name))?;
        bytes.push(data.iter::<f32>().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    }
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(tensor, bytes)| Ok((&tensor.name, TensorView::new(Dtype::F32, tensor.shape.to_vec(), bytes)?)));
    Ok(safetensors::serialize(views.collect::<Result<Vec<_>>>()?, None)?)
}

fn first(names: &[&String]) -> String {
    let shown = names[..names.len().min(SHOWN)].iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// The tensors of a file by their names. What `torch.save` wrote is read as data: nothing in it is run.
fn read(path: &Path) -> Result<Vec<Stored>> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let tensors = |tensors: &BTreeMap<String, Stored>| tensors.values().cloned().collect();
    match ending.as_str() {
        "safetensors" => {
            // Read at once: a file that is mapped into memory must not change.
            let mut store = SafetensorsStore::from_bytes(Some(std::fs::read(path)?));
            Ok(tensors(store.get_all_tensors()?))
        }
        "pth" | "pt" => {
            let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
            Ok(tensors(store.get_all_tensors()?))
        }
        _ => bail!("its name must end in .safetensors, .pth or .pt"),
    }
}

#[cfg(test)]
mod tests;
