use burn::tensor::Tensor;

/// `cap·tanh(x / cap)`. (Divided by a scalar, the gradient would have the digits of `f32` in `f64`, too.)
pub fn soft_cap<const D: usize>(x: Tensor<D>, cap: f64) -> Tensor<D> {
    x.mul_scalar(1.0 / cap).tanh().mul_scalar(cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn the_slope_has_the_digits_of_the_numbers() {
        let device = Device::flex().autodiff();
        let numbers = [0.0, 1.0, -3.0, 1e30, f64::NEG_INFINITY];
        let options = (&device, burn::tensor::DType::F64);
        // A third is no number of f32.
        let x = Tensor::<1>::from_data(TensorData::from(numbers), options).require_grad();
        let y = soft_cap(x.clone(), 3.0);
        let values = y.clone().try_into_vec_as::<f64>().unwrap();
        let slopes = x.grad(&y.sum().backward()).unwrap().try_into_vec_as::<f64>().unwrap();

        for ((number, value), slope) in numbers.into_iter().zip(values).zip(slopes) {
            let bent = (number / 3.0).tanh();
            assert!((value - 3.0 * bent).abs() < 1e-15, "{number}: {value}");
            assert!((slope - (1.0 - bent * bent)).abs() < 1e-15, "{number}: {slope}");
        }
    }
}
