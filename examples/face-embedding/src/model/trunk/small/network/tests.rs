use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::{DType, Gradients, TensorData};
use support::close::{Tolerance, assert_close};

use super::*;

const EXACT: Tolerance = Tolerance::new(1e-10, 1e-12);
/// Sums of some hundred numbers, through five layers.
const SINGLE: Tolerance = Tolerance::new(1e-3, 1e-4);

#[test]
fn odd_sizes_give_embeddings_too() {
    let device = Device::flex();
    for image_size in [16, 17, 33] {
        let trunk = SmallNetworkConfig::new(image_size, 5).with_width(2).init(&device);
        let pictures = Tensor::zeros([3, 3, image_size, image_size], &device);
        assert_eq!(trunk.forward(pictures).dims(), [3, 5]);
    }
}

#[test]
#[should_panic(expected = "expected 16, got 17")]
fn pictures_of_another_size_are_rejected() {
    let device = Device::flex();
    let _ = SmallNetworkConfig::new(16, 5).with_width(2).init(&device).forward(Tensor::zeros([3, 3, 17, 17], &device));
}

/// By hand: of factors 2 for the first feature and 0 for the others, the linear layer sees twice the first.
#[test]
fn factors_are_on_the_features_before_the_linear_layer() {
    let device = Device::flex();
    let config = SmallNetworkConfig::new(17, 3).with_width(2);
    let trunk = config.init(&device);
    // 17 pixels are halved, rounded up, to 9, 5, 3 and 2; the channels are 2, 4, 8 and 16.
    assert_eq!(config.features(), 16 * 2 * 2);
    let pictures = wave([2, 3, 17, 17], 0.5, DType::F32, &device);
    let only_first = Tensor::<2>::zeros([2, 64], &device).slice_fill([0..2, 0..1], 2.0);
    let found = numbers(trunk.forward_with(pictures.clone(), Some(only_first)));

    let mut silenced = trunk.clone();
    let weight = silenced.embedding.weight.val();
    let rows = Tensor::<2>::zeros([64, 3], &device).slice_assign([0..1, 0..3], weight.narrow(0, 0, 1).mul_scalar(2.0));
    silenced.embedding.weight = burn::module::Param::from_tensor(rows);
    assert_close("factors", &found, &numbers(silenced.forward(pictures.clone())), SINGLE);
    let all = Tensor::ones([2, 64], &device);
    assert_eq!(numbers(trunk.forward_with(pictures.clone(), Some(all))), numbers(trunk.forward(pictures)));
}

#[test]
fn flex_has_the_batch_last() {
    assert!(batch_last_wins(&Device::flex()));
    assert!(batch_last_wins(&Device::flex().autodiff()));
}

#[test]
fn both_layouts_are_one_network() {
    for (dtype, tolerance) in [(DType::F64, EXACT), (DType::F32, SINGLE)] {
        // The last has several blocks of places.
        for (image_size, batch) in [(16, 5), (17, 3), (33, 2), (61, 2)] {
            let case = format!("{dtype:?}, {batch} pictures of {image_size}");
            let [first, last] = [
                Outcome::of(image_size, batch, dtype, |trunk, pictures| trunk.embed::<BatchFirst>(pictures, None)),
                Outcome::of(image_size, batch, dtype, |trunk, pictures| trunk.embed::<BatchLast>(pictures, None)),
            ];
            assert_close(&format!("{case}: embeddings"), &last.embeddings, &first.embeddings, tolerance);
            assert_close(&format!("{case}: pictures"), &last.pictures, &first.pictures, tolerance);
            assert_eq!(last.parameters.len(), first.parameters.len());
            for ((path, last), (_, first)) in last.parameters.iter().zip(&first.parameters) {
                assert_close(&format!("{case}: {path}"), last, first, tolerance);
            }
            assert_close(&format!("{case}: evaluated"), &last.evaluated, &first.evaluated, tolerance);
        }
    }
}

/// The file is that of a run of 5d6ad10, when there was only the ordinary layout: `train --people 6 --test-people 6 --pictures 6
/// --image-size 16 --width 2 --embedding-size 4 --batch-size 12 --epochs 2 --seed 5`. The embeddings are those of PyTorch
/// 2.15.0 in `f64`, by `from_burn` of bench/network/peers.py.
#[test]
fn a_record_from_before_there_were_layouts_gives_the_embeddings_of_pytorch() {
    let device = Device::flex();
    let record = include_bytes!("testdata/ordinary.safetensors");
    let mut trunk = SmallNetworkConfig::new(16, 4).with_width(2).init(&device);
    let read = trunk.load_from(&mut SafetensorsStore::from_bytes(Some(record.to_vec()))).expect("it fits");
    assert!(read.missing.is_empty() && read.unused.is_empty(), "{read:?}");

    let pictures = wave([2, 3, 16, 16], 0.5, DType::F32, &device);
    let expected = [
        3.5941055331,
        -12.8036866270,
        1.1901098014,
        5.3144889983, //
        2.4594352458,
        -14.0318928966,
        0.6290985052,
        4.8479907820,
    ];
    let layouts: [fn(&SmallNetwork, Tensor<4>) -> Tensor<2>; 2] = [
        |trunk, pictures| trunk.embed::<BatchFirst>(pictures, None),
        |trunk, pictures| trunk.embed::<BatchLast>(pictures, None),
    ];
    for embed in layouts {
        assert_close("embeddings", &numbers(embed(&trunk, pictures.clone())), &expected, Tolerance::new(1e-5, 1e-5));
    }
}

#[test]
fn no_digit_depends_on_the_number_of_threads() {
    let [one, four] = [1, 4].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(|| Outcome::of(61, 2, DType::F32, |trunk, pictures| trunk.embed::<BatchLast>(pictures, None)))
    });
    assert_eq!(one, four);
}

/// What a step of training leaves.
#[derive(Debug, PartialEq)]
struct Outcome {
    embeddings: Vec<f64>,
    /// The gradient of the pictures.
    pictures: Vec<f64>,
    /// The gradient of every parameter, and every running statistic as it is afterwards.
    parameters: Vec<(String, Vec<f64>)>,
    /// Embeddings by the running statistics.
    evaluated: Vec<f64>,
}

impl Outcome {
    fn of(image_size: usize, batch: usize, dtype: DType, embed: fn(&SmallNetwork, Tensor<4>) -> Tensor<2>) -> Self {
        let device = Device::flex().autodiff();
        let trunk =
            SmallNetworkConfig::new(image_size, 3).with_width(2).init(&device).map(&mut Waves { dtype, phase: 0.0 });
        let pictures = wave([batch, 3, image_size, image_size], 0.5, dtype, &device).require_grad();

        let embeddings = embed(&trunk, pictures.clone());
        let slopes = wave(embeddings.dims(), 0.7, dtype, &device);
        let gradients = (embeddings.clone() * slopes).sum().backward();
        let mut parameters = Parameters { gradients: &gradients, path: vec![], found: vec![] };
        trunk.visit(&mut parameters);
        Self {
            embeddings: numbers(embeddings),
            pictures: numbers(pictures.grad(&gradients).expect("it is a leaf")),
            parameters: parameters.found,
            evaluated: numbers(embed(&trunk.valid(), pictures.without_autodiff())),
        }
    }
}

/// Gives every parameter numbers of its own, around what it began with.
struct Waves {
    dtype: DType,
    phase: f64,
}

impl ModuleMapper for Waves {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.phase += 1.0;
        let trained = parameter.is_require_grad();
        parameter.map(|value| {
            // Weights are random; all other parameters begin with one number for all channels.
            let start = if D == 1 { value.clone().mean().into_scalar::<f64>() } else { 0.0 };
            let value = wave(value.dims(), self.phase, self.dtype, &value.device()).mul_scalar(0.3).add_scalar(start);
            value.detach().set_require_grad(trained)
        })
    }
}

/// Reads gradients, and what has none.
struct Parameters<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: Vec<(String, Vec<f64>)>,
}

impl ModuleVisitor for Parameters<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        let trained = !self.path.iter().any(|name| name.starts_with("running_"));
        let value = if trained { value.grad(self.gradients).expect("a gradient") } else { value };
        self.found.push((self.path.join("."), numbers(value)));
    }
}

/// Numbers in `[-1, 1]` without symmetry.
fn wave<const D: usize>(shape: [usize; D], phase: f64, dtype: DType, device: &Device) -> Tensor<D> {
    let numbers: Vec<f64> = (0..shape.iter().product()).map(|i| (phase + 1.7 * i as f64).sin()).collect();
    Tensor::from_data(TensorData::new(numbers, shape), (device, dtype))
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().expect("readable")
}
