use burn::config::Config;
use burn::tensor::Tensor;
use burn_losses_kernels::log_space::softplus;

use super::hinge::hinge;

/// How the loss of a triplet grows with its excess, `d(anchor, positive) - d(anchor, negative) + margin`.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TripletShape {
    /// `max(excess, 0)`: no gradient once the margin is kept.
    Hinge,
    /// `log(1 + exp(excess))`, the soft margin of Hermans et al. 2017 (there with margin 0): pulls ever on.
    Softplus,
}

impl TripletShape {
    pub(super) fn loss(self, excess: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Hinge => hinge(excess),
            Self::Softplus => softplus(excess),
        }
    }

    /// The derivative of the loss.
    pub(super) fn slope(self, excess: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Hinge => excess.ones_like().mask_fill(excess.lower_equal_scalar(0.0), 0.0),
            Self::Softplus => {
                let falling = excess.clone().abs().neg().exp();
                let high = falling.clone().add_scalar(1.0).recip();
                high.clone().mask_where(excess.lower_scalar(0.0), high * falling)
            }
        }
    }
}
