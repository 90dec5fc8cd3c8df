use burn::config::Config;
use burn::tensor::Tensor;

use crate::math::{hinge, softplus};

/// How the loss of a triplet grows with its excess, `d(anchor, positive) - d(anchor, negative) + margin`.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TripletShape {
    /// `max(excess, 0)`: no gradient once the margin is kept.
    Hinge,
    /// `log(1 + exp(excess))`, the soft margin of Hermans et al. 2017 (there with margin 0): pulls ever on.
    Softplus,
}

impl TripletShape {
    /// The loss of triplets by their excess.
    pub fn loss(self, excess: Tensor<1>) -> Tensor<1> {
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

/// Which distance a negative is held to.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum NegativeDistance {
    /// That from the anchor.
    FromAnchor,
    /// The shorter of those from the anchor and from the positive: the anchor swap of Balntas et al. 2016. Asks for
    /// distances of a batch with itself that are the same in both directions.
    Nearest,
}

/// A margin and what is done with its excess.
#[derive(Clone, Copy, Debug)]
pub struct TripletRule {
    /// How much farther than the positive the negative must be; finite.
    pub margin: f64,
    /// How the loss grows with the excess.
    pub shape: TripletShape,
    /// Which distance a negative is held to.
    pub negative_distance: NegativeDistance,
}
