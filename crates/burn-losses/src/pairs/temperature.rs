use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use burn_losses_kernels::math::cast_to;
use burn_losses_kernels::scores::Scale;

/// Whether a temperature is trained.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TemperatureMode {
    /// It stays what it is.
    Fixed,
    /// It starts there and is trained, as the logarithm of its reciprocal.
    Learned,
}

/// What similarities are divided by: `scores = similarities / temperature`.
#[derive(Module, Debug)]
pub struct Temperature {
    temperature: f64,
    /// `log(1 / temperature)`, `[1]`, where it is learned.
    pub log_scale: Option<Param<Tensor<1>>>,
}

/// The smallest temperature that is learned; CLIP's.
const SMALLEST_LEARNED: f64 = 0.01;

impl Temperature {
    #[track_caller]
    pub(super) fn new(loss: &str, temperature: f64, mode: TemperatureMode, device: &Device) -> Self {
        check_temperature(loss, temperature);
        let log_scale = match mode {
            TemperatureMode::Fixed => None,
            TemperatureMode::Learned => Some(Param::from_tensor(Tensor::from_data([-libm::log(temperature)], device))),
        };
        Self { temperature, log_scale }
    }

    /// What similarities are multiplied with, in their precision; a learned one is no larger than CLIP's.
    pub(super) fn scale(&self, dtype: DType) -> Scale {
        self.scale_of(dtype, |log_scale| {
            let bound = -libm::log(SMALLEST_LEARNED);
            // Beyond the bound the value stays and the gradient passes, so that a scale can come back.
            let excess = log_scale.clone().detach().sub_scalar(bound).clamp_min(0.0);
            log_scale - excess
        })
    }

    /// The same without a bound.
    pub(super) fn unbounded_scale(&self, dtype: DType) -> Scale {
        self.scale_of(dtype, |log_scale| log_scale)
    }

    fn scale_of(&self, dtype: DType, bounded: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Scale {
        match &self.log_scale {
            None => Scale::Constant(1.0 / self.temperature),
            // The parts of its gradient are added up before they are rounded to the precision of the parameter.
            Some(log_scale) => Scale::Tensor(bounded(cast_to(log_scale.val(), dtype)).exp()),
        }
    }
}

/// # Panics
///
/// If a temperature is not in `[1e-6, 1e6]`.
#[track_caller]
pub(super) fn check_temperature(loss: &str, temperature: f64) {
    assert!((1e-6..=1e6).contains(&temperature), "{loss}: temperature must be in [1e-6, 1e6], got {temperature}");
}

/// Numbers times the scale.
pub(super) fn times<const D: usize>(numbers: Tensor<D>, scale: &Scale) -> Tensor<D> {
    match scale {
        Scale::Constant(scale) => numbers.mul_scalar(*scale),
        Scale::Tensor(scale) => {
            let scale = cast_to(scale.clone(), numbers.dtype()).reshape([1; D]);
            let dims = numbers.dims();
            numbers * scale.expand(dims)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale_and_slope(temperature: f64) -> [f32; 2] {
        let temperature = Temperature::new("Loss", temperature, TemperatureMode::Learned, &Device::flex().autodiff());
        let Scale::Tensor(scale) = temperature.scale(DType::F32) else { panic!("a learned temperature is a tensor") };
        let slope = temperature.log_scale.unwrap().val().grad(&scale.clone().backward()).unwrap();
        [scale.into_scalar::<f32>(), slope.into_scalar::<f32>()]
    }

    #[test]
    fn a_learned_scale_starts_at_the_temperature_and_has_its_own_slope() {
        let [scale, slope] = scale_and_slope(0.5);

        // The slope of exp is exp.
        assert!((scale - 2.0).abs() < 1e-6 && (slope - 2.0).abs() < 1e-6, "{scale} {slope}");
    }

    #[test]
    fn a_learned_scale_stops_at_a_hundred_and_can_come_back() {
        let [scale, slope] = scale_and_slope(0.001);

        assert!((scale - 100.0).abs() < 1e-3, "{scale}");
        assert!(slope > 0.0, "{slope}");
    }
}
