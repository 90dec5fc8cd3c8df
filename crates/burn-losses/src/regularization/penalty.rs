use alloc::string::String;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, DType, Tensor};
use burn_losses_kernels::elements::{Element, sum_of_elements_from_zero};
use burn_losses_kernels::math::{cast_to, widen};

use super::ParameterChoice;
use super::parameters::WeightVisitor;

/// The largest strength and learning rate; `f32` holds its products with ordinary weights.
const LARGEST: f64 = 1e30;

/// A penalty on the parameters of a module, to be added to the loss.
pub trait ParameterPenalty {
    /// Which parameters it is about.
    fn parameters(&self) -> &ParameterChoice;

    /// The penalty of one tensor, times the strength.
    ///
    /// # Shapes
    ///
    /// - weights: any, in `f32` or `f64`
    /// - output: `[1]`
    fn of<const D: usize>(&self, weights: Tensor<D>) -> Tensor<1>;

    /// The sum of the penalties of all chosen parameters, times the strength.
    ///
    /// On the device and in the precision of the first of them; parameters in half precision are summed in `f32`. When none
    /// is chosen it is 0, on the device and in the precision of the first parameter of all.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    fn forward<M: Module>(&self, module: &M) -> Tensor<1> {
        let Total { sum, .. } = self.parameters().walk(module, Total { penalty: self, sum: None });
        match sum {
            Some((sum, dtype)) => cast_to(sum, dtype),
            None => zero_beside(module),
        }
    }
}

/// The penalties so far, and the precision of the first parameter.
struct Total<'a, P: ?Sized> {
    penalty: &'a P,
    sum: Option<(Tensor<1>, DType)>,
}

impl<P: ParameterPenalty + ?Sized> WeightVisitor for Total<'_, P> {
    fn visit<const D: usize>(&mut self, _path: &[String], weights: Tensor<D>) {
        if weights.shape().num_elements() == 0 {
            return;
        }
        let dtype = weights.dtype();
        let own = self.penalty.of(widen(weights));
        self.sum = Some(match self.sum.take() {
            None => (own, dtype),
            Some((sum, dtype)) => {
                let own = cast_to(own.to_device(&sum.device()), sum.dtype());
                (sum + own, dtype)
            }
        });
    }
}

/// A zero that can be added to a loss of the module.
fn zero_beside<M: Module>(module: &M) -> Tensor<1> {
    let mut zero = Zero(None);
    module.visit(&mut zero);
    zero.0.unwrap_or_else(|| Tensor::zeros([1], &module.devices().into_iter().next().unwrap_or_default()))
}

/// A zero beside the first parameter that is seen.
struct Zero(Option<Tensor<1>>);

impl ModuleVisitor for Zero {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.0.is_none() && param.dtype().is_float() {
            self.0 = Some(Tensor::zeros([1], (&param.device(), param.dtype())));
        }
    }
}

/// `strength·(l1_ratio·sum(abs(weights)) + (1 - l1_ratio)/2·sum(weights²))`; the gradient of a weight that is 0 is 0. A part
/// of strength 0 is off, whatever its sum.
pub(super) fn elastic_sum<const D: usize>(weights: Tensor<D>, strength: f64, l1_ratio: f64) -> Tensor<1> {
    // Outside of the sum, so that none of its terms is too small for a number.
    let sum = sum_of_elements_from_zero(weights, Element::Penalty { absolute: l1_ratio, square: 1.0 - l1_ratio });
    if strength == 0.0 {
        let all = Tensor::<1, Bool>::full([1], true, &sum.device());
        return sum.mask_fill(all, 0.0);
    }
    sum.mul_scalar(strength)
}

/// # Panics
///
/// If the strength is negative, NaN or too large to compute with.
#[track_caller]
pub(super) fn check_strength(name: &str, strength: f64) {
    assert!((0.0..=LARGEST).contains(&strength), "{name}: strength must be in [0, 1e30], got {strength}");
}

/// # Panics
///
/// If the share is no share.
#[track_caller]
pub(super) fn check_l1_ratio(name: &str, l1_ratio: f64) {
    assert!((0.0..=1.0).contains(&l1_ratio), "{name}: l1_ratio must be in [0, 1], got {l1_ratio}");
}

/// How far a step goes: the strength times the learning rate.
///
/// # Panics
///
/// If the learning rate is negative, NaN or too large to compute with.
#[track_caller]
pub(super) fn reach(name: &str, learning_rate: f64, strength: f64) -> f64 {
    assert!(
        (0.0..=LARGEST).contains(&learning_rate),
        "{name}: learning_rate must be in [0, 1e30], got {learning_rate}"
    );
    (learning_rate * strength).min(LARGEST)
}

#[cfg(test)]
mod tests {
    use super::super::L1PenaltyConfig;
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Halves {
        half: Linear,
        single: Linear,
    }

    #[test]
    fn a_module_without_a_chosen_parameter_has_penalty_zero() {
        let model = LinearConfig::new(2, 3).init(&Device::flex().autodiff()).freeze();
        let penalty = L1PenaltyConfig::new(1.0).init(&Device::flex()).forward(&model);

        assert_eq!(penalty.try_into_vec_as::<f32>().unwrap(), [0.0]);
    }

    #[test]
    fn half_precision_is_summed_in_single_precision() {
        let device = Device::flex().autodiff();
        let linear = |dtype| {
            let mut linear = LinearConfig::new(300, 300).init(&device);
            linear.weight = Param::from_tensor(Tensor::ones([300, 300], (&device, dtype)));
            linear
        };
        let model = Halves { half: linear(DType::F16), single: linear(DType::F32) };
        let penalty = L1PenaltyConfig::new(0.1).init(&Device::flex()).forward(&model);

        // 180 000 ones would overflow f16, whose largest number is 65 504. Its numbers near 18 000 are 16 apart.
        assert_eq!(penalty.dtype(), DType::F16);
        assert_eq!(penalty.try_into_vec_as::<f32>().unwrap(), [18000.0]);
    }
}
