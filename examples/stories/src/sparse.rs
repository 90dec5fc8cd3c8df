//! Linear regression with more features than matter: what each penalty does to the coefficients.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_losses::reduction::EmbeddingReduction;
use burn_losses::regularization::{L1PenaltyConfig, L2PenaltyConfig, ProximalL1Config};
use rand_distr::{Distribution, Normal};

use crate::generator;

/// The coefficients the data are made with: four features matter.
pub const TRUE: [f64; FEATURES] = [3.0, 0.0, -2.0, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, -0.75, 0.0, 0.0];

const FEATURES: usize = 12;
const ROWS: usize = 80;
const LEARNING_RATE: f64 = 0.1;

/// How the coefficients are kept small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The proximal step after the optimizer's.
    ProximalL1,
    /// L1 in the loss, so its subgradient.
    SubgradientL1,
    /// L2 in the loss.
    L2,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ProximalL1, Self::SubgradientL1, Self::L2];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProximalL1 => "L1, proximal step",
            Self::SubgradientL1 => "L1, subgradient",
            Self::L2 => "L2",
        }
    }
}

/// Features and targets, `[80, 12]` and `[80, 1]`.
pub fn data(seed: u64, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let mut random = generator(seed);
    let normal = Normal::new(0.0, 1.0).expect("a deviation of 1");
    let mut features = Vec::new();
    let mut targets = Vec::new();
    for _ in 0..ROWS {
        let row: Vec<f64> = (0..FEATURES).map(|_| normal.sample(&mut random)).collect();
        let clean: f64 = row.iter().zip(TRUE).map(|(feature, coefficient)| feature * coefficient).sum();
        targets.push(clean + 0.5 * normal.sample(&mut random));
        features.extend(row);
    }
    (
        Tensor::from_data(TensorData::new(features, [ROWS, FEATURES]), device),
        Tensor::from_data(TensorData::new(targets, [ROWS, 1]), device),
    )
}

/// The coefficients after `steps` of gradient descent on all rows, from zero.
pub fn fit(method: Method, strength: f64, steps: usize, data: &(Tensor<2>, Tensor<2>), device: &Device) -> Vec<f64> {
    let mut model: Linear = LinearConfig::new(FEATURES, 1).with_bias(false).init(device);
    model.weight = Param::from_tensor(Tensor::zeros([FEATURES, 1], device));
    let mut optimizer = SgdConfig::new().init();
    for _ in 0..steps {
        let error = model.forward(data.0.clone()) - data.1.clone();
        let loss = EmbeddingReduction::Mean.apply(error.square().mul_scalar(0.5));
        let loss = match method {
            Method::ProximalL1 => loss,
            Method::SubgradientL1 => loss + L1PenaltyConfig::new(strength).init(device).forward(&model),
            Method::L2 => loss + L2PenaltyConfig::new(strength).init(device).forward(&model),
        };
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(LEARNING_RATE, model, gradients);
        if method == Method::ProximalL1 {
            model = ProximalL1Config::new(strength).init(device).step(LEARNING_RATE, model);
        }
    }
    model.valid().weight.val().try_into_vec_as::<f64>().expect("weights can be read")
}

/// Which coefficients are exactly zero.
pub fn zeros(coefficients: &[f64]) -> Vec<usize> {
    (0..coefficients.len()).filter(|&feature| coefficients[feature] == 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proximal_step_puts_coefficients_on_zero() {
        let device = Device::flex().autodiff();
        let data = data(7, &device);
        let fits = Method::ALL.map(|method| fit(method, 0.3, 150, &data, &device));

        assert!(zeros(&fits[0]).len() >= 4, "{fits:?}");
        assert!(zeros(&fits[1]).is_empty() && zeros(&fits[2]).is_empty(), "{fits:?}");
        for strong in [0, 2, 5] {
            assert!(fits[0][strong].abs() > 0.5, "{fits:?}");
        }
    }
}
