use alloc::vec::Vec;
use core::fmt;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// A weight of classes in a config: one number for all of them, or a number for each. In JSON a number or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeight {
    /// The same for all classes.
    Same(f64),
    /// One per class.
    PerClass(Vec<f64>),
}

impl From<f64> for ClassWeight {
    fn from(weight: f64) -> Self {
        Self::Same(weight)
    }
}

impl From<Vec<f64>> for ClassWeight {
    fn from(weights: Vec<f64>) -> Self {
        Self::PerClass(weights)
    }
}

/// Checked weights of a loss, and what messages call them.
#[derive(Clone)]
pub(super) struct ClassWeights {
    loss: &'static str,
    field: &'static str,
    weight: ClassWeight,
}

impl ClassWeights {
    /// # Panics
    ///
    /// If a weight is not in `[0, largest]`, or there is none.
    #[track_caller]
    pub(super) fn new(
        loss: &'static str,
        field: &'static str,
        weight: Option<ClassWeight>,
        largest: f64,
    ) -> Option<Self> {
        let weight = weight?;
        let weights = match &weight {
            ClassWeight::Same(weight) => core::slice::from_ref(weight),
            ClassWeight::PerClass(weights) => weights,
        };
        assert!(!weights.is_empty(), "{loss}: {field} must have a number per class, got none");
        for weight in weights {
            assert!((0.0..=largest).contains(weight), "{loss}: {field} must be in [0, {largest:?}], got {weight}");
        }
        Some(Self { loss, field, weight })
    }

    /// The weights along the class axis of `like`, 1 long in every other.
    ///
    /// # Panics
    ///
    /// If there is not one per class.
    #[track_caller]
    pub(super) fn along<const D: usize>(&self, class_dim: isize, like: &Tensor<D>) -> Tensor<D> {
        let (weights, shape) = match &self.weight {
            ClassWeight::Same(weight) => (alloc::vec![*weight], [1; D]),
            ClassWeight::PerClass(weights) => {
                let axis = class_axis::<D>(self.loss, class_dim);
                let (given, classes) = (weights.len(), like.dims()[axis]);
                assert!(given == classes, "{}: {} has {given} numbers for {classes} classes", self.loss, self.field);
                let mut shape = [1; D];
                shape[axis] = classes;
                (weights.clone(), shape)
            }
        };
        Tensor::from_data(TensorData::new(weights, shape), (&like.device(), like.dtype()))
    }

    /// The weight of all classes, where they have the same.
    pub(super) fn same(&self) -> Option<f64> {
        match self.weight {
            ClassWeight::Same(weight) => Some(weight),
            ClassWeight::PerClass(_) => None,
        }
    }

    /// The weights of all classes of logits of `[rows, classes]`, `[classes]`.
    #[track_caller]
    pub(super) fn of_classes(&self, logits: &Tensor<2>) -> Tensor<1> {
        let [_, classes] = logits.dims();
        self.along(1, logits).expand([1, classes]).squeeze_dim(0)
    }
}

impl fmt::Debug for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.weight {
            ClassWeight::Same(weight) => write!(f, "{weight}"),
            ClassWeight::PerClass(weights) => write!(f, "{} numbers", weights.len()),
        }
    }
}

/// Which axis is that of the classes; a negative number counts from the end.
///
/// # Panics
///
/// If logits of rank `D` have no such axis.
#[track_caller]
pub(super) fn class_axis<const D: usize>(loss: &str, class_dim: isize) -> usize {
    let axis = if class_dim < 0 { class_dim + D as isize } else { class_dim };
    assert!(
        (0..D as isize).contains(&axis),
        "{loss}: class_dim must be an axis of logits that have {D}, got {class_dim}"
    );
    axis as usize
}
