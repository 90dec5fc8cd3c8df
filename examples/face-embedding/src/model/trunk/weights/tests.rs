use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use clap::ValueEnum;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::TrunkConfig;
use super::super::iresnet::IResNetConfig;
use super::*;
use crate::settings::network::{NetworkKind, NetworkSettings};

/// What python/generate.py wrote, with PyTorch 2.15.0.
#[derive(Deserialize)]
struct Expected {
    outlines: BTreeMap<String, Outline>,
    /// Of two pictures, computed in `f64`.
    embeddings: BTreeMap<String, [Vec<f64>; 2]>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Outline {
    tensors: usize,
    numbers: usize,
    sha256: String,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("testdata/networks.json")).expect("it was written so")
}

fn network(network: NetworkKind, embedding_size: usize) -> Trunk {
    let settings = NetworkSettings { network, embedding_size: Some(embedding_size), ..NetworkSettings::default() };
    TrunkConfig::of(&settings.resolve().expect("in range")).init(&Device::flex()).map(&mut Zeros)
}

/// Drawing the weights of a large network at random takes longer than all else here.
struct Zeros;

impl ModuleMapper for Zeros {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let zeros = Tensor::zeros(parameter.lazy_shape(), &parameter.lazy_device());
        Param::initialized(parameter.id, zeros)
    }
}

/// That of testdata/small.pth.
fn small() -> Trunk {
    let settings =
        NetworkSettings { network: NetworkKind::Small, image_size: Some(16), width: Some(2), embedding_size: Some(4) };
    TrunkConfig::of(&settings).init(&Device::flex())
}

/// The numbers of python/generate.py: FNV-1a of the name, then the last step of MurmurHash3 over the places.
fn noise(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().fold(0x811c_9dc5u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..count as u32).map(move |place| {
        let mut bits = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9));
        bits ^= bits >> 16;
        bits = bits.wrapping_mul(0x85eb_ca6b);
        bits ^= bits >> 13;
        bits = bits.wrapping_mul(0xc2b2_ae35);
        bits ^= bits >> 16;
        ((bits >> 16) as f32 - 32768.0) / 32768.0
    })
}

/// The weight or running statistic of python/generate.py.
fn value(name: &str, shape: &[usize]) -> Vec<f32> {
    let numbers = noise(name, shape.iter().product());
    let [factor, start] = if shape.len() > 1 {
        let fan_in: usize = shape[1..].iter().product();
        let mut amplitude = 1.0;
        while amplitude * amplitude * fan_in as f32 > 6.0 {
            amplitude /= 2.0;
        }
        [amplitude, 0.0]
    } else if name.ends_with("running_var") {
        [0.5, 1.0]
    } else if name.ends_with("weight") {
        [0.25, 0.75]
    } else {
        [0.25, 0.0]
    };
    numbers.map(|number| start + number * factor).collect()
}

type File = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What PyTorch would write of a trunk that is filled by the formula.
fn filled(trunk: &Trunk) -> File {
    let tensors = trunk.to_pytorch().into_iter();
    tensors
        .map(|tensor| {
            let shape = tensor.shape.to_vec();
            let values = value(&tensor.name, &shape);
            (tensor.name, (shape, values))
        })
        .collect()
}

fn path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("face-embedding-weights-{}-{name}", std::process::id()))
}

/// Writes the tensors of a file, and the numbers of batches that PyTorch writes too.
fn write(name: &str, file: &File) -> std::path::PathBuf {
    let path = path(name);
    let batches = 7i64.to_le_bytes();
    let bytes: BTreeMap<&String, Vec<u8>> = file
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let mut views = BTreeMap::new();
    for (name, (shape, _)) in file {
        let view = TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).expect("as many numbers as it takes");
        views.insert(name.clone(), view);
        if let Some(module) = name.strip_suffix("running_mean") {
            let view = TensorView::new(Dtype::I64, vec![], &batches).expect("one number");
            views.insert(format!("{module}num_batches_tracked"), view);
        }
    }
    serialize_to_file(views, None, &path).expect("the folder for temporary files is writable");
    path
}

/// Fills a network through a file, and compares its embeddings with PyTorch's.
fn check(name: NetworkKind) {
    let expected = &expected().embeddings[&name.to_string()];
    let trunk = network(name, expected[0].len());
    let file = write(&format!("{name}.safetensors"), &filled(&trunk));
    let trunk = trunk.with_weights_of(&file).expect("the names are those of PyTorch");
    std::fs::remove_file(file).expect("it was written");
    assert_near(&name.to_string(), &embeddings(&trunk, 112), expected);
    let (again, written) = reread(&format!("{name}-again.safetensors"), network(name, expected[0].len()), &trunk);
    assert!(to_safetensors(again.to_pytorch()).expect("it is in memory") == written, "{name}");
}

/// What becomes of another trunk with the weights that this one writes, and the file.
fn reread(name: &str, other: Trunk, trunk: &Trunk) -> (Trunk, Vec<u8>) {
    let file = path(name);
    let written = to_safetensors(trunk.to_pytorch()).expect("it is in memory");
    std::fs::write(&file, &written).expect("the folder for temporary files is writable");
    let other = other.with_weights_of(&file).expect("they are of the same network");
    std::fs::remove_file(file).expect("it was written");
    (other, written)
}

/// The pictures of python/generate.py.
fn pictures(image_size: usize) -> TensorData {
    let shape = [2, 3, image_size, image_size];
    TensorData::new(noise("pictures", shape.iter().product()).collect(), shape)
}

fn embeddings(trunk: &Trunk, image_size: usize) -> Vec<f32> {
    let pictures = Tensor::from_data(pictures(image_size), &Device::flex());
    trunk.forward(pictures).try_into_vec_as::<f32>().expect("readable")
}

/// Embeddings of the two pictures, which may take turns several times.
fn assert_near(name: &str, found: &[f32], expected: &[Vec<f64>; 2]) {
    let size = expected[0].len();
    assert!(!found.is_empty() && found.len().is_multiple_of(size), "{name}: {} numbers", found.len());
    for (found, expected) in found.chunks(size).zip(expected.iter().cycle()) {
        let norm = |numbers: &[f64]| numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
        let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| f64::from(*a) - b).collect();
        let error = norm(&difference) / norm(expected);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn names_and_shapes_are_those_of_pytorch() {
    let expected = expected().outlines;
    for kind in NetworkKind::value_variants().iter().filter(|kind| **kind != NetworkKind::Small) {
        let tensors = network(*kind, 512).to_pytorch();
        let outline: BTreeMap<&str, &[usize]> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
        let lines: String = outline.iter().map(|(name, shape)| format!("{name} {shape:?}\n")).collect();
        let outline = Outline {
            tensors: outline.len(),
            numbers: outline.values().map(|shape| shape.iter().product::<usize>()).sum(),
            sha256: Sha256::digest(&lines).iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        assert_eq!(outline, expected[&kind.to_string()], "{kind}:\n{lines}");
    }
}

#[test]
fn mobilefacenet_gives_the_embeddings_of_pytorch() {
    check(NetworkKind::MobileFaceNet);
}

#[test]
fn iresnet18_gives_the_embeddings_of_pytorch() {
    check(NetworkKind::IResNet18);
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn iresnet34_gives_the_embeddings_of_pytorch() {
    check(NetworkKind::IResNet34);
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn iresnet50_gives_the_embeddings_of_pytorch() {
    check(NetworkKind::IResNet50);
}

fn small_pth() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model/trunk/weights/testdata/small.pth")
}

#[test]
fn a_file_of_torch_save_is_read() {
    let trunk = small().with_weights_of(&small_pth()).expect("the names are those of PyTorch");
    assert_near("small", &embeddings(&trunk, 16), &expected().embeddings["small"]);
    // The other way round: what is written is what PyTorch had.
    let written: File = trunk
        .to_pytorch()
        .into_iter()
        .map(|tensor| {
            let data = bridge::to_data(&tensor).expect("it is in memory");
            (tensor.name, (tensor.shape.to_vec(), data.iter::<f32>().collect()))
        })
        .collect();
    assert_eq!(written, filled(&small()));
    let (again, _) = reread("small.safetensors", small(), &trunk);
    assert_eq!(embeddings(&again, 16), embeddings(&trunk, 16));
}

/// What another program computes from the ONNX of a trunk; also of fewer and of more pictures than it was recorded with.
#[cfg(feature = "onnx-tests")]
fn assert_onnx_near(name: &str, trunk: &Trunk, image_size: usize, expected: &[Vec<f64>; 2]) {
    use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable, Tensor, tvec};

    let file = super::super::onnx::to_onnx(trunk, image_size, &Device::flex()).expect("all operations are known");
    let model = tract_onnx::onnx().model_for_read(&mut file.as_slice()).expect("it is ONNX");
    let model = model.into_optimized().and_then(IntoRunnable::into_runnable).expect("it runs with any batch");
    let numbers: Vec<f32> = pictures(image_size).iter().collect();
    let picture = numbers.len() / 2;
    for batch in [1, 2, 5] {
        let input: Vec<f32> = numbers.iter().copied().cycle().take(batch * picture).collect();
        let input = Tensor::from_shape(&[batch, 3, image_size, image_size], &input).expect("as many as it says");
        let output = model.run(tvec!(input.into())).expect("it fits");
        let output = output[0].to_plain_array_view::<f32>().expect("in f32");
        assert_eq!(output.shape(), [batch, expected[0].len()], "{name}");
        let found: Vec<f32> = output.iter().copied().collect();
        assert_near(&format!("{name}, {batch} pictures"), &found, expected);
    }
}

#[test]
#[cfg(feature = "onnx-tests")]
fn onnx_of_the_small_network_gives_the_embeddings_of_pytorch() {
    let trunk = small().with_weights_of(&small_pth()).expect("the names are those of PyTorch");
    assert_onnx_near("small", &trunk, 16, &expected().embeddings["small"]);
}

#[test]
#[cfg(feature = "onnx-tests")]
fn onnx_of_the_networks_of_the_field_gives_the_embeddings_of_pytorch() {
    for kind in [NetworkKind::MobileFaceNet, NetworkKind::IResNet18] {
        let expected = &expected().embeddings[&kind.to_string()];
        let trunk = network(kind, expected[0].len());
        let file = write(&format!("{kind}-onnx.safetensors"), &filled(&trunk));
        let trunk = trunk.with_weights_of(&file).expect("the names are those of PyTorch");
        std::fs::remove_file(file).expect("it was written");
        assert_onnx_near(&kind.to_string(), &trunk, 112, expected);
    }
}

#[test]
fn a_file_that_runs_code_when_python_opens_it_is_refused() {
    // A pickle that calls os.system, which makes a file.
    let [file, made] = ["code.pth", "made"].map(path);
    std::fs::write(&file, format!("cos\nsystem\n(S'touch {}'\ntR.", made.display())).expect("writable");
    let error = format!("{:#}", small().with_weights_of(&file).expect_err("it holds no tensors"));
    std::fs::remove_file(&file).expect("it was written");
    assert!(error.contains("cannot take the weights of") && !made.exists(), "{error}");
}

#[test]
fn tensors_that_are_not_those_of_the_network_are_named() {
    let refused = |name: &str, change: &dyn Fn(&mut File)| {
        let mut file = filled(&small());
        change(&mut file);
        let file = write(name, &file);
        let outcome = small().with_weights_of(&file);
        std::fs::remove_file(&file).expect("it was written");
        let error = format!("{:#}", outcome.expect_err("it does not fit"));
        assert!(error.contains(name), "{error}");
        error
    };
    let error = refused("missing.safetensors", &|file| drop(file.remove("stages.1.shortcut.norm.weight")));
    assert!(error.ends_with("it does not have: stages.1.shortcut.norm.weight"), "{error}");
    let error = refused("foreign.safetensors", &|file| drop(file.insert("fc.weight".into(), (vec![1], vec![0.0]))));
    assert!(error.ends_with("it has what the network does not: fc.weight"), "{error}");
    let error = refused("shape.safetensors", &|file| {
        drop(file.insert("embedding.weight".into(), (vec![3, 16], vec![0.0; 48])));
    });
    assert!(error.ends_with("embedding.weight must be [4, 16], got [3, 16]"), "{error}");
    let error = refused("nan.safetensors", &|file| {
        file.get_mut("first.conv.weight").expect("it is there").1[5] = f32::NAN;
    });
    assert!(error.ends_with("first.conv.weight has a value that is no finite number"), "{error}");
    let error = refused("none.safetensors", &|file| file.clear());
    assert!(error.contains("it does not have: embedding.weight, ") && error.contains("and 57 more"), "{error}");
    let error = refused("ending.bin", &|_| ());
    assert!(error.ends_with("its name must end in .safetensors, .pth or .pt"), "{error}");
}

/// A head looks at directions: a length that differs by place would turn them.
#[test]
fn the_last_weight_of_iresnet_is_not_trained() {
    let device = Device::flex().autodiff();
    let trunk = IResNetConfig::new([1, 1, 1, 1]).with_embedding_size(2).init(&device);
    let trained: Vec<String> = Trained::of(&trunk);
    assert!(!trained.contains(&"features.gamma".to_string()), "{trained:?}");
    assert!(trained.contains(&"features.beta".to_string()) && trained.contains(&"bn2.gamma".to_string()));
    // Nor is it when the weights come from a file.
    let (read, _) = reread("frozen.safetensors", Trunk::IResNet(trunk.clone()), &Trunk::IResNet(trunk));
    assert_eq!(Trained::of(&read), trained);
    assert_eq!(Trained::of(&read.valid().train()), trained);
}

/// The parameters that a training changes.
#[derive(Default)]
struct Trained {
    path: Vec<String>,
    found: Vec<String>,
}

impl Trained {
    fn of(module: &impl Module) -> Vec<String> {
        let mut trained = Self::default();
        module.visit(&mut trained);
        trained.found
    }
}

impl ModuleVisitor for Trained {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if parameter.is_require_grad() {
            self.found.push(self.path.join("."));
        }
    }
}
