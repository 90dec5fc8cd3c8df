use core::f64::consts::FRAC_PI_2;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Tensor, assert_shape};
use burn_losses_kernels::math::{unit_rows, widen};

use super::choice::Candidates;
use super::{Pairs, Triplets};
use crate::distance::Distance;

/// Settings of [`AngularMiner`].
#[derive(Config, Debug)]
pub struct AngularMinerConfig {
    /// Triplets with a larger angle are taken, in radians; in `(0, pi/2)`. The default is 20 degrees.
    #[config(default = "20.0_f64.to_radians()")]
    pub angle: f64,
}

impl AngularMinerConfig {
    /// Builds the miner.
    ///
    /// # Panics
    ///
    /// If `angle` is not in `(0, pi/2)`.
    pub fn init(&self) -> AngularMiner {
        let angle = self.angle;
        assert!(angle > 0.0 && angle < FRAC_PI_2, "AngularMiner: angle must be in (0, pi/2) radians, got {angle}");
        AngularMiner { angle }
    }
}

/// Every triplet whose angle at the negative is larger than a limit.
///
/// ```text
/// center = (anchor + positive) / 2
/// tan(angle at the negative) = ‖anchor - positive‖ / (2·‖negative - center‖)
/// ```
///
/// of rows divided by their length. It is compared as
/// `‖anchor - positive‖² > 2·sin²(angle)·(‖anchor - negative‖² + ‖positive - negative‖²)`, which is the same without
/// an arc tangent, a root or a center per triplet.
///
/// pytorch-metric-learning's miner insists on a distance of unit rows, but measures the rows as they are: it takes the
/// same triplets when they have length 1. All `anchors·references²` combinations are marked, see [`mining`](super) for
/// what that takes.
///
/// # Source
///
/// Wang et al.: [Deep Metric Learning with Angular Loss](https://arxiv.org/abs/1708.01682), 2017, section 3.2,
/// equation 4.
#[derive(Module, Debug)]
pub struct AngularMiner {
    angle: f64,
}

impl AngularMiner {
    /// The triplets beyond the angle.
    ///
    /// # Shapes
    ///
    /// - anchors: `[anchors, embedding_dim]`, of any length
    /// - references: `[references, embedding_dim]`; the anchors again for a batch with itself
    /// - pairs: masks of `[anchors, references]`
    /// - output: `anchors·references²` entries
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn mine(&self, anchors: Tensor<2>, references: Tensor<2>, pairs: &Pairs) -> Triplets {
        let ([rows, dim], [columns, _]) = (anchors.dims(), references.dims());
        assert_shape!(references, [columns, dim]);
        assert_shape!(pairs.positive, [rows, columns]);
        if rows == 0 || columns == 0 || dim == 0 {
            return Triplets::none(&pairs.positive.device());
        }
        let unit = |rows: Tensor<2>| unit_rows(widen(rows.without_autodiff()));
        let (anchors, references) = (unit(anchors), unit(references));
        let across = Distance::SquaredEuclidean.matrix(references.clone(), references.clone());
        let squares = Distance::SquaredEuclidean.matrix(anchors, references);
        let Some(candidates) = Candidates::new(squares, pairs) else {
            return Triplets::none(&pairs.positive.device());
        };
        let Candidates { distances: squares, positive, negative, home } = candidates;

        let shape = [rows, columns, columns];
        let to_positive = squares.clone().unsqueeze_dim::<3>(2).expand(shape);
        let to_negative = squares.unsqueeze_dim::<3>(1).expand(shape) + across.unsqueeze_dim::<3>(0).expand(shape);
        let sine = libm::sin(self.angle);
        let taken = to_positive.greater(to_negative.mul_scalar(2.0 * sine * sine));

        Triplets::among_all(taken.bool_and(Pairs { positive, negative }.cube())).on_device(&home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "AngularMiner: angle must be in (0, pi/2) radians, got 20")]
    fn an_angle_in_degrees_is_rejected() {
        AngularMinerConfig::new().with_angle(20.0).init();
    }
}
