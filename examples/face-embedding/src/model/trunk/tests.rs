use burn::module::{ModuleMapper, ModuleVisitor, Param};
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
        let trunk = TrunkConfig::new(image_size, 5).with_width(2).init(&device);
        let pictures = Tensor::zeros([3, 3, image_size, image_size], &device);
        assert_eq!(trunk.forward(pictures).dims(), [3, 5]);
    }
}

#[test]
#[should_panic(expected = "expected 16, got 17")]
fn pictures_of_another_size_are_rejected() {
    let device = Device::flex();
    let _ = TrunkConfig::new(16, 5).with_width(2).init(&device).forward(Tensor::zeros([3, 3, 17, 17], &device));
}

#[test]
fn flex_has_the_batch_last() {
    assert!(layout::batch_last_wins(&Device::flex()));
    assert!(layout::batch_last_wins(&Device::flex().autodiff()));
}

#[test]
fn both_layouts_are_one_network() {
    for (dtype, tolerance) in [(DType::F64, EXACT), (DType::F32, SINGLE)] {
        for (image_size, batch) in [(16, 5), (17, 3), (33, 2)] {
            let case = format!("{dtype:?}, {batch} pictures of {image_size}");
            let [first, last] = [
                Outcome::of(image_size, batch, dtype, Trunk::embed::<BatchFirst>),
                Outcome::of(image_size, batch, dtype, Trunk::embed::<BatchLast>),
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

/// What a step of training leaves.
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
    fn of(image_size: usize, batch: usize, dtype: DType, embed: fn(&Trunk, Tensor<4>) -> Tensor<2>) -> Self {
        let device = Device::flex().autodiff();
        let trunk = TrunkConfig::new(image_size, 3).with_width(2).init(&device).map(&mut Waves { dtype, phase: 0.0 });
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
        parameter.map(|value| {
            // Weights are random; all other parameters begin with one number for all channels.
            let start = if D == 1 { value.clone().mean().into_scalar::<f64>() } else { 0.0 };
            wave(value.dims(), self.phase, self.dtype, &value.device()).mul_scalar(0.3).add_scalar(start)
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
        let value = if parameter.is_require_grad() { value.grad(self.gradients).expect("a gradient") } else { value };
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
