//! A network that finds out which of its inputs matter: the weights of all others become exact zeros, row by row.
//!
//! ```sh
//! cargo run -p burn-losses --example sparse_mlp --features flex,optim
//! ```
//!
//! Its last line: `inputs in use: [0, 3, 7, 11]`

use burn::module::{Module, ParamGroup};
use burn::nn::{Linear, LinearConfig, Tanh};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_losses::regression::{MseLoss, Reduction};
use burn_losses::{ParameterChoice, ProximalRowGroupsConfig};

const INPUTS: usize = 16;
/// Those that the target depends on.
const TELLING: [usize; 4] = [0, 3, 7, 11];

#[derive(Module, Debug)]
struct Network {
    first: Linear,
    activation: Tanh,
    second: Linear,
}

impl Network {
    fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.activation.forward(self.first.forward(inputs)))
    }
}

/// `tanh(x0 + x3) + tanh(x7 - x11)`, and some noise.
fn target(inputs: &Tensor<2>) -> Tensor<2> {
    let [a, b, c, d] = TELLING.map(|input| inputs.clone().narrow(1, input, 1));
    let noise = Tensor::random([inputs.dims()[0], 1], Distribution::Normal(0.0, 0.1), &inputs.device());
    (a + b).tanh() + (c - d).tanh() + noise
}

fn main() {
    let device = Device::flex();
    device.seed(42);
    let inputs = Tensor::<2>::random([1024, INPUTS], Distribution::Normal(0.0, 1.0), &device);
    let targets = target(&inputs);
    let training_device = device.autodiff();
    let (inputs, targets) = (Tensor::from_inner(inputs), Tensor::from_inner(targets));
    let mut network = Network {
        first: LinearConfig::new(INPUTS, 32).init(&training_device),
        activation: Tanh::new(),
        second: LinearConfig::new(32, 1).init(&training_device),
    };

    // A row of the first layer is all that one input does. The step after the optimizer's shortens it, down to nothing.
    let rows = ParameterChoice::new().with_group(ParamGroup::from_predicate("first"));
    let shrink = ProximalRowGroupsConfig::new(0.05).with_parameters(rows).init(&training_device);
    // Without decay the second layer grows by what the first one loses.
    let mut optimizer = SgdConfig::new().with_weight_decay(Some(WeightDecayConfig::new(1e-2))).init();
    let learning_rate = 0.1;
    for step in 1..=1500 {
        let loss = MseLoss::new().forward(network.forward(inputs.clone()), targets.clone(), Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(learning_rate, network, gradients);
        network = shrink.step(learning_rate, network);
        if step % 300 == 0 {
            println!("step {step:>4}: loss {:.4}", loss.into_scalar::<f64>());
        }
    }

    let lengths = network.valid().first.weight.val().square().sum_dim(1).sqrt();
    let lengths = lengths.try_into_vec_as::<f32>().expect("lengths are numbers");
    for (input, length) in lengths.iter().enumerate() {
        println!("input {input:>2}: {length:.3}");
    }
    let used: Vec<usize> = (0..INPUTS).filter(|&input| lengths[input] != 0.0).collect();
    println!("inputs in use: {used:?}");
}
