use alloc::vec::Vec;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_losses_kernels::precision::cast_to;

/// A number per class, or 1 for all.
#[derive(Module, Debug)]
pub(crate) struct ClassWeights {
    weights: Option<Tensor<1>>,
}

impl ClassWeights {
    /// # Panics
    ///
    /// If a weight is negative or not finite, or there are none.
    pub(crate) fn new(loss: &str, field: &str, weights: Option<&Vec<f64>>, device: &Device) -> Self {
        let to_tensor = |weights: &Vec<f64>| {
            assert!(!weights.is_empty(), "{loss}: {field} must not be empty");
            for (class, weight) in weights.iter().enumerate() {
                let fits = *weight >= 0.0 && weight.is_finite();
                assert!(fits, "{loss}: {field} must be >= 0, got {weight} for class {class}");
            }
            let device = device.clone().inner();
            Tensor::from_data(TensorData::from(weights.as_slice()), (&device, burn::tensor::DType::F32))
        };
        Self { weights: weights.map(to_tensor) }
    }

    /// The weight of each class, `[classes]`, beside `like`; `None` where all are 1.
    ///
    /// # Panics
    ///
    /// If there are not as many as classes.
    pub(crate) fn all<const D: usize>(&self, like: &Tensor<D>, classes: usize) -> Option<Tensor<1>> {
        self.weights.clone().map(|weights| {
            let [count] = weights.dims();
            assert_eq!(count, classes, "there must be as many class weights as classes");
            cast_to(weights.to_device(&like.device()), like.dtype())
        })
    }

    /// The weight of the class of every row, `[batch]`.
    pub(crate) fn of_rows<const D: usize>(&self, like: &Tensor<D>, classes: usize, index: Tensor<1, Int>) -> Tensor<1> {
        let [batch] = index.dims();
        match self.all(like, classes) {
            Some(weights) => weights.select(0, index),
            None => Tensor::ones([batch], (&like.device(), like.dtype())),
        }
    }
}
