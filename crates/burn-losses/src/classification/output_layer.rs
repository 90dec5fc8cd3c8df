//! A linear layer as a loss sees it, and what its classes say of hidden states.

use alloc::vec::Vec;

use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Int, Tensor};
use burn_losses_kernels::drawn_rows::distinct_rows;
use burn_losses_kernels::math::{cast_to, comparable, log_sum_exp};
use burn_losses_kernels::scores::{Comparison, LogitFigures, Logits, Streaming, Terms, scores};

use crate::class_sample::Sample;
use crate::reduction::zero_of;
use crate::shape::check_shape;

/// The last layer of a classifier or language model, which [`LinearCrossEntropyLoss`](super::LinearCrossEntropyLoss) and
/// [`LinearDistillationLoss`](super::LinearDistillationLoss) apply themselves.
///
/// `From` a reference to Burn's `Linear`, in either of its layouts, or to an `Embedding` whose rows are the classes (tied
/// weights). Nothing is copied, and the gradient arrives at the parameters of the layer.
///
/// The classes may lie on several devices, see [`sharded`](Self::sharded).
#[derive(Clone, Debug)]
pub struct OutputLayer {
    pub(super) parts: Vec<Part>,
}

/// Classes that lie on one device.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// A row per class, `[classes, dim]`.
    pub(super) weight: Tensor<2>,
    /// `[classes]`.
    pub(super) bias: Option<Tensor<1>>,
}

impl OutputLayer {
    /// A layer with a row per class.
    ///
    /// # Shapes
    ///
    /// - weight: `[classes, dim]`
    /// - bias: `[classes]`
    ///
    /// # Panics
    ///
    /// If there is not one bias per class.
    #[track_caller]
    pub fn new(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Self {
        if let Some(bias) = &bias {
            check_shape("OutputLayer", "bias", bias.dims(), [weight.dims()[0]]);
        }
        Self { parts: alloc::vec![Part { weight, bias }] }
    }

    /// Layers one after the other, as one layer of all their classes: the vocabulary split over devices. Every part does its
    /// share where it lies, and only numbers per token travel.
    ///
    /// # Panics
    ///
    /// If there is none, or their widths differ.
    #[track_caller]
    pub fn sharded(layers: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Part> = layers.into_iter().flat_map(|layer| layer.parts).collect();
        assert!(!parts.is_empty(), "OutputLayer: there must be a part");
        let dim = parts[0].weight.dims()[1];
        for part in &parts {
            let [classes, _] = part.weight.dims();
            check_shape("OutputLayer", "the weight of a part", part.weight.dims(), [classes, dim]);
        }
        Self { parts }
    }

    pub(super) fn classes(&self) -> usize {
        self.parts.iter().map(Part::classes).sum()
    }

    /// A sample of the classes of every part, with [corrected](Sample::correction) logits, and which of them is that of each
    /// token, on the device of the labels; -1 where there is none. `None` where it would be all classes.
    pub(super) fn sampled(
        &self,
        labels: &Tensor<1, Int>,
        draw: impl Fn(usize, &Tensor<1, Int>) -> Option<Sample>,
    ) -> Option<(Self, Tensor<1, Int>)> {
        let home = labels.device();
        let (mut parts, mut places) = (Vec::new(), labels.full_like(-1));
        let (mut first, mut start, mut is_smaller) = (0, 0, false);
        for part in &self.parts {
            let (classes, device) = (part.classes(), part.weight.device().inner());
            let index = labels.clone().sub_scalar(first);
            first += classes as i64;
            let sample = if classes > 0 { draw(classes, &index.clone().to_device(&device)) } else { None };
            let (part, index) = match sample {
                Some(sample) => {
                    is_smaller = true;
                    (part.some(&sample), sample.index.to_device(&home))
                }
                None => {
                    let elsewhere = index.clone().greater_equal_scalar(classes as i64);
                    (part.clone(), index.mask_fill(elsewhere, -1))
                }
            };
            let is_here = index.clone().greater_equal_scalar(0);
            places = places.mask_where(is_here, index.add_scalar(start));
            start += part.classes() as i64;
            parts.push(part);
        }
        is_smaller.then_some((Self { parts }, places))
    }

    /// The loss of no tokens: 0, with a gradient of 0 for the hidden states and the weights.
    pub(super) fn zero(&self, hidden: Tensor<2>) -> Tensor<1> {
        let parts = self.parts.iter().filter(|part| part.classes() > 0);
        let zeros = parts.map(|part| zero_of(hidden.clone(), part.weight.clone()));
        zeros.fold(hidden.clone().sum(), |sum, zero| sum + zero)
    }

    /// Adds a number to the logit of every class, `[classes]`: `tau·log(prior)` is logit adjustment, with `tau` 1 balanced
    /// softmax. In a two-tower model, where the items of a batch are the classes of its queries, `-log(how often an item is drawn)` is
    /// the logQ correction of sampled softmax. Not to be used when the model is asked.
    ///
    /// # Panics
    ///
    /// If there is not one number per class.
    #[track_caller]
    pub fn with_adjustment(mut self, adjustment: Tensor<1>) -> Self {
        check_shape("OutputLayer", "adjustment", adjustment.dims(), [self.classes()]);
        let mut start = 0;
        for part in &mut self.parts {
            let count = part.classes();
            let adjustment = adjustment.clone().narrow(0, start, count).to_device(&part.weight.device());
            part.bias = Some(match part.bias.take() {
                Some(bias) => {
                    let adjustment = cast_to(adjustment, bias.dtype());
                    bias + adjustment
                }
                None => adjustment,
            });
            start += count;
        }
        self
    }
}

impl Part {
    pub(super) fn classes(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The classes of a sample.
    fn some(&self, sample: &Sample) -> Self {
        let some = |rows: Tensor<2>| distinct_rows(rows, sample.classes.clone(), sample.used.clone());
        let weight = some(self.weight.clone());
        let correction = sample.correction(widened(weight.dtype()));
        let bias = self.bias.clone().map(|bias| {
            let column = cast_to(bias, correction.dtype()).unsqueeze_dim(1);
            some(column).squeeze_dim(1)
        });
        let correction = if weight.is_autodiff() { correction.autodiff() } else { correction };
        Self { weight, bias: Some(bias.map_or(correction.clone(), |bias| bias + correction)) }
    }

    /// What these classes say, on the device of the hidden states, which are in a precision fit for sums.
    ///
    /// - labels: `[tokens]`, places among these classes; others where the class is none of them
    /// - weights: `[classes]`
    pub(super) fn figures(
        &self,
        hidden: &Tensor<2>,
        labels: Tensor<1, Int>,
        weights: Option<Tensor<1>>,
        cap: Option<f64>,
        streaming: Streaming,
    ) -> Figures {
        let (home, device, count) = (hidden.device(), self.weight.device(), self.classes());
        let is_home = device.clone().inner() == home.clone().inner();
        let there = |numbers: Tensor<1>| if is_home { numbers } else { numbers.to_device(&device) };
        let back = |numbers: Tensor<1>| if is_home { numbers } else { numbers.to_device(&home) };
        let (hidden, labels) = if is_home {
            (hidden.clone(), labels)
        } else {
            (hidden.clone().to_device(&device), labels.to_device(&device))
        };
        let terms = Terms::Logits(Logits { cap, weights: weights.map(there) });
        let bias = self.bias.clone();
        let comparison = Comparison { terms, bias: bias.clone(), streaming, ..Comparison::new(1.0) };
        let scores = scores(hidden, self.weight.clone(), labels.clone(), comparison);
        let LogitFigures { weighted, largest, largest_key } = scores.logits.expect("terms of logits");
        let target = match bias {
            Some(bias) if count > 0 => {
                let elsewhere =
                    labels.clone().lower_scalar(0).bool_or(labels.clone().greater_equal_scalar(count as i64));
                let bias = cast_to(bias, scores.target.dtype()).select(0, labels.mask_fill(elsewhere.clone(), 0));
                (scores.target + bias).mask_fill(elsewhere, 0.0)
            }
            _ => scores.target,
        };
        let key = if is_home { largest_key } else { largest_key.to_device(&home) };

        Figures {
            target: back(target),
            others: back(scores.sum),
            weighted: weighted.map(back),
            largest: back(largest),
            largest_key: key,
        }
    }
}

/// What some classes say of every token, `[tokens]` each.
pub(super) struct Figures {
    /// The logit of its class before a cap, 0 where that is none of these.
    pub(super) target: Tensor<1>,
    /// The log-sum-exp of the others.
    pub(super) others: Tensor<1>,
    /// The weighted sum of all.
    pub(super) weighted: Option<Tensor<1>>,
    /// The largest of the others, and its class.
    pub(super) largest: Tensor<1>,
    pub(super) largest_key: Tensor<1, Int>,
}

impl Figures {
    /// Of these classes and those that come after `before` of them.
    pub(super) fn and(self, other: Self, before: usize) -> Self {
        let (key, other_key) = comparable(self.largest_key, other.largest_key);
        let is_larger = other.largest.clone().greater(self.largest.clone());
        Self {
            target: self.target + other.target,
            others: log_sum_exp(Tensor::stack::<2>(alloc::vec![self.others, other.others], 1)),
            weighted: self.weighted.zip(other.weighted).map(|(one, other)| one + other),
            largest: self.largest.mask_where(is_larger.clone(), other.largest),
            largest_key: key.mask_where(is_larger, other_key.add_scalar(before as i64)),
        }
    }
}

/// The type that half precision is computed in.
pub(super) fn widened(dtype: DType) -> DType {
    if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype }
}

impl From<&Linear> for OutputLayer {
    fn from(layer: &Linear) -> Self {
        // Burn's has a column per class. Turning it round copies nothing.
        Self::new(layer.weight.val().transpose(), layer.bias.as_ref().map(|bias| bias.val()))
    }
}

impl From<&Embedding> for OutputLayer {
    fn from(layer: &Embedding) -> Self {
        Self::new(layer.weight.val(), None)
    }
}
