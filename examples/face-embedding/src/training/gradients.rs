//! The gradients of all parameters together: averaged over batches, and shortened.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn_losses::optim::mean_of_drawn_rows;

/// What is added to a norm before it divides, as in PyTorch.
const SMALL: f64 = 1e-6;

/// The gradients of batches that make one step of the optimizer: their mean, so that with batches of one size it is the gradient of
/// all their samples; of a sample of the centers, of every row that one of the batches drew. (That of `SupervisedTraining::grads_accumulation` is their sum.)
pub struct MeanGradients<M> {
    sum: GradientsAccumulator<M>,
    /// Those of a sample of the centers, which say which rows they are of.
    drawn: Drawn,
    batches: usize,
}

/// Gradients of drawn rows of every batch, by the parameter, and its size.
type Drawn = BTreeMap<ParamId, ([usize; 2], Vec<Tensor<2>>)>;

impl<M: Module> MeanGradients<M> {
    /// Of no batch yet.
    #[allow(clippy::new_without_default)] // As Burn's accumulator is made.
    pub fn new() -> Self {
        Self { sum: GradientsAccumulator::new(), drawn: Drawn::new(), batches: 0 }
    }

    /// Adds those of a batch.
    pub fn add(&mut self, model: &M, mut gradients: GradientsParams) {
        model.visit(&mut TakeDrawn { gradients: &mut gradients, drawn: &mut self.drawn });
        self.sum.accumulate(model, gradients);
        self.batches += 1;
    }

    /// How many batches they are of.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// The mean; what comes after is of no batch yet.
    pub fn take(&mut self, model: &M) -> GradientsParams {
        let sum = self.sum.grads();
        // Those of one batch are as they are, bit by bit.
        let mut mean = match std::mem::take(&mut self.batches) {
            0 | 1 => sum,
            batches => scaled(model, sum, |device| Tensor::from_data([1.0 / batches as f64], device)),
        };
        for (id, (size, mut gradients)) in std::mem::take(&mut self.drawn) {
            let of_all = if gradients.len() == 1 { gradients.remove(0) } else { mean_of_drawn_rows(gradients, size) };
            mean.register(id, of_all);
        }
        mean
    }
}

/// Takes those out that are of drawn rows, which have another shape than their parameter.
struct TakeDrawn<'a> {
    gradients: &'a mut GradientsParams,
    drawn: &'a mut Drawn,
}

impl ModuleVisitor for TakeDrawn<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(parameter.id) else { return };
        match (gradient.dims().as_slice(), parameter.shape().as_slice()) {
            (&[drawn, width], &[rows, dim]) if [drawn, width] != [rows, dim] => {
                let (_, gradients) = self.drawn.entry(parameter.id).or_insert_with(|| ([rows, dim], Vec::new()));
                gradients.push(gradient.reshape([drawn, width]));
            }
            _ => self.gradients.register(parameter.id, gradient),
        }
    }
}

/// Gradients of all parameters together no longer than `longest`: PyTorch's `clip_grad_norm_`. (Burn's
/// `GradientClipping::Norm` is of every tensor by itself.) They may lie on several devices.
///
/// ```text
/// norm     = sqrt(sum of the squares of all numbers of all gradients)
/// gradient = gradient·min(1, longest / (norm + 1e-6))
/// ```
pub fn clip_to_norm<M: Module>(model: &M, gradients: GradientsParams, longest: f64) -> GradientsParams {
    let mut squares = SumOfSquares { gradients: &gradients, sum: None };
    model.visit(&mut squares);
    let Some(sum) = squares.sum else { return gradients };
    // Stays on the device: nothing waits for the norm.
    let factor = sum.sqrt().add_scalar(SMALL).recip().mul_scalar(longest).clamp_max(1.0);
    scaled(model, gradients, |_| factor)
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(parameter.id) else { return };
        let sum = gradient.square().sum();
        self.sum = Some(match self.sum.take() {
            Some(others) => others.clone() + sum.to_device(&others.device()),
            None => sum,
        });
    }
}

/// Every gradient times a number, `[1]`.
fn scaled<M: Module>(
    model: &M,
    gradients: GradientsParams,
    factor: impl FnOnce(&burn::tensor::Device) -> Tensor<1>,
) -> GradientsParams {
    let Some(device) = model.devices().first().map(|device| device.clone().inner()) else { return gradients };
    let mut scaling = Scaling { gradients, factor: factor(&device) };
    model.visit(&mut scaling);
    scaling.gradients
}

struct Scaling {
    gradients: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scaling {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(parameter.id) else { return };
        let factor = self.factor.clone().to_device(&gradient.device());
        self.gradients.register(parameter.id, gradient * factor.reshape([1; D]));
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{ModuleOptimizer, SgdConfig};
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Two layers: four tensors of two ranks.
    #[derive(Module, Debug)]
    struct Net {
        first: Linear,
        second: Linear,
    }

    impl Net {
        fn new(device: &Device) -> Self {
            Self { first: LinearConfig::new(2, 2).init(device), second: LinearConfig::new(2, 1).init(device) }
        }

        fn numbers(&self) -> Vec<f32> {
            let Self { first, second } = self;
            let [one, two] = [first, second].map(|layer| layer.weight.val().into_data());
            let [three, four] = [first, second].map(|layer| layer.bias.as_ref().expect("it has one").val().into_data());
            [one, two, three, four].iter().flat_map(|data| data.iter::<f32>().collect::<Vec<_>>()).collect()
        }
    }

    /// The gradients of a model, as its weights would have them, in the order of [`Net::numbers`].
    fn given(net: &Net, numbers: [&[f32]; 4]) -> GradientsParams {
        let device = net.devices()[0].clone().inner();
        let mut gradients = GradientsParams::new();
        let matrix = |numbers: &[f32], shape| Tensor::<1>::from_data(numbers, &device).reshape::<2, _>(shape);
        gradients.register(net.first.weight.id, matrix(numbers[0], [2, 2]));
        gradients.register(net.second.weight.id, matrix(numbers[1], [2, 1]));
        for (layer, numbers) in [(&net.first, numbers[2]), (&net.second, numbers[3])] {
            let bias = layer.bias.as_ref().expect("it has one").id;
            gradients.register(bias, Tensor::<1>::from_data(numbers, &device));
        }
        gradients
    }

    fn read(net: &Net, gradients: &GradientsParams) -> Vec<f32> {
        let mut numbers = Vec::new();
        for layer in [&net.first, &net.second] {
            numbers.extend(gradients.get::<2>(layer.weight.id).expect("given").into_data().iter::<f32>());
        }
        for layer in [&net.first, &net.second] {
            let bias = layer.bias.as_ref().expect("it has one").id;
            numbers.extend(gradients.get::<1>(bias).expect("given").into_data().iter::<f32>());
        }
        numbers
    }

    /// By hand: 1 + 4 + 4 + 16 + 16 + 64 + 36 + 3 + 25 = 169, a norm of 13; each tensor alone is shorter than 10. And
    /// PyTorch 2.15 of the same numbers: `clip_grad_norm_` gives 13 and 0.7692307, 1.5384614, ...
    #[test]
    fn the_norm_is_of_all_parameters_together() {
        let net = Net::new(&Device::flex().autodiff());
        let root_3 = 3.0_f32.sqrt();
        let numbers: [&[f32]; 4] = [&[1.0, -2.0, 2.0, 4.0], &[-4.0, 8.0], &[6.0, root_3], &[5.0]];
        let clipped = read(&net, &clip_to_norm(&net, given(&net, numbers), 10.0));
        for (found, given) in clipped.iter().zip(numbers.concat()) {
            assert!((found - given * 10.0 / 13.0).abs() < 1e-6, "{found} for {given}");
        }
        // By hand, of the first layer alone: 1 + 4 + 4 + 16 + 36 + 3 = 64; the other one stays as it is.
        let part = read(&net, &clip_to_norm(&net.first, given(&net, numbers), 4.0));
        for (found, expected) in part.iter().zip([0.5, -1.0, 1.0, 2.0, -4.0, 8.0, 3.0, root_3 / 2.0, 5.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
        // What is short enough stays as it is.
        let kept = read(&net, &clip_to_norm(&net, given(&net, numbers), 13.5));
        assert_eq!(kept, numbers.concat());
    }

    fn loss_of(net: &Net, samples: Tensor<2>) -> Tensor<1> {
        net.second.forward(net.first.forward(samples).tanh()).square().mean()
    }

    fn gradients_of(net: &Net, samples: Tensor<2>) -> GradientsParams {
        GradientsParams::from_grads(loss_of(net, samples).backward(), net)
    }

    #[test]
    fn batches_make_the_step_of_one_large_batch() {
        let device = Device::flex().autodiff();
        device.seed(7);
        let net = Net::new(&device);
        let samples = Tensor::<2>::random([12, 2], Distribution::Default, &device);
        let optimizer = || ModuleOptimizer::from(SgdConfig::new().build());

        let large = optimizer().step(0.5, net.clone(), gradients_of(&net, samples.clone()));
        let mut mean = MeanGradients::new();
        for batch in 0..3 {
            mean.add(&net, gradients_of(&net, samples.clone().narrow(0, batch * 4, 4)));
        }
        assert_eq!(mean.batches(), 3);
        let small = optimizer().step(0.5, net.clone(), mean.take(&net));
        assert_eq!(mean.batches(), 0);
        let (before, large, small) = (net.numbers(), large.numbers(), small.numbers());
        for place in 0..before.len() {
            assert!((large[place] - small[place]).abs() < 1e-6, "{} for {}", small[place], large[place]);
        }
        assert!(before.iter().zip(&large).any(|(before, after)| (before - after).abs() > 1e-3));
    }
}
