mod configs;
mod hostile;
mod modules;
mod rows;
mod scikit_learn;
mod steps;

use burn::module::{Module, Param, ParamGroup};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, TensorData};
use burn_losses::regularization::{
    ParameterChoice, ProximalElasticNetConfig, ProximalL1Config, ProximalRowGroupsConfig, ShrinkageStep,
};
use parity::Backend;
use support::table::host;

const RATE: f64 = 0.25;

/// Reproducible numbers in (-3, 3) that nobody chose.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        6.0 * ((state >> 11) as f64 / (1_u64 << 53) as f64) - 3.0
    };
    (0..count).map(|_| next()).collect()
}

fn matrix(data: &[f64], columns: usize, backend: &Backend) -> Tensor<2> {
    let data = TensorData::new(data.to_vec(), [data.len() / columns, columns]);
    Tensor::from_data(data, (&backend.device, backend.dtype))
}

/// Every proximal step with a strength, on rows of three numbers; and the penalty that it is the step of.
fn proximal_steps(strength: f64, backend: &Backend) -> Vec<(&'static str, ProximalStep<'_>, RowPenalty)> {
    let shrink = move |step: Box<dyn Fn(Tensor<2>) -> Tensor<2>>| -> ProximalStep<'_> {
        Box::new(move |weights| host(step(matrix(weights, 3, backend))))
    };
    let l1 = ProximalL1Config::new(strength).init(&backend.device);
    let elastic = ProximalElasticNetConfig::new(strength).with_l1_ratio(0.3).init(&backend.device);
    let ridge = ProximalElasticNetConfig::new(strength).with_l1_ratio(0.0).init(&backend.device);
    let rows = ProximalRowGroupsConfig::new(strength).init(&backend.device);
    let absolute = |row: &[f64]| row.iter().map(|w| w.abs()).sum::<f64>();
    let half_square = |row: &[f64]| row.iter().map(|w| 0.5 * w * w).sum::<f64>();
    vec![
        ("L1", shrink(Box::new(move |w| l1.shrink(RATE, w))), Box::new(move |row| strength * absolute(row))),
        (
            "elastic net",
            shrink(Box::new(move |w| elastic.shrink(RATE, w))),
            Box::new(move |row| strength * (0.3 * absolute(row) + 0.7 * half_square(row))),
        ),
        ("L2", shrink(Box::new(move |w| ridge.shrink(RATE, w))), Box::new(move |row| strength * half_square(row))),
        (
            "row groups",
            shrink(Box::new(move |w| rows.shrink(RATE, w))),
            Box::new(move |row| strength * (2.0 * half_square(row)).sqrt()),
        ),
    ]
}

type ProximalStep<'a> = Box<dyn Fn(&[f64]) -> Vec<f64> + 'a>;
type RowPenalty = Box<dyn Fn(&[f64]) -> f64>;

fn slack(backend: &Backend) -> f64 {
    if backend.is_double() { 1e-12 } else { 1e-5 }
}

#[derive(Module, Debug)]
struct TwoLayers {
    first: Linear,
    second: Linear,
}

impl TwoLayers {
    fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.first.forward(inputs).tanh())
    }
}

fn two_layers(backend: &Backend) -> TwoLayers {
    let layer = |sizes: [usize; 2], seed: u64| {
        let mut layer = LinearConfig::new(sizes[0], sizes[1]).init(&backend.device);
        layer.weight = Param::from_tensor(matrix(&numbers(sizes[0] * sizes[1], seed), sizes[1], backend));
        let bias = numbers(sizes[1], seed + 50);
        layer.bias = Some(Param::from_tensor(Tensor::from_data(bias.as_slice(), (&backend.device, backend.dtype))));
        layer
    };
    TwoLayers { first: layer([3, 4], 1), second: layer([4, 2], 2) }
}

fn in_first() -> ParameterChoice {
    ParameterChoice::new().with_group(ParamGroup::from_regex(r"^first\.").expect("an expression"))
}
