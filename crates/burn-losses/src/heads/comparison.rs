//! The comparison of a batch with class centers: the only file of the heads and the proxies that calls the engine.

use alloc::vec::Vec;

use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::drawn_rows::{distinct_rows, drawn_rows};
use burn_losses_kernels::math::{cast_to, log_sum_exp, unit_rows, widen};
pub(crate) use burn_losses_kernels::scores::CenterChoice;
use burn_losses_kernels::scores::{self, Counted, Normalise, Scale, Streaming};
pub use burn_losses_kernels::scores::{Curve, Reweighting, Terms};

use super::ClassCenters;
use super::sampling::sample_of;
use crate::class_sample::Sample;
use crate::on_device::{scale_on, terms_on};
use crate::optim::RowGradient;

/// What a batch has to do with class centers.
#[derive(Clone, Debug)]
pub(crate) struct ClassScores {
    /// The cosine with the center of the label, `[batch]`; 0 for a row without a class.
    pub(crate) target_cosine: Tensor<1>,
    /// What the other classes weigh, `[batch]`: for most heads `log(sum over them of exp(scale·cosine))`, hugely negative
    /// where there is none.
    pub(crate) negatives: Tensor<1>,
}

/// A batch beside the centers it is compared with, all of them or a sample.
pub(crate) struct Comparison {
    blocks: Vec<Block>,
    home: Device,
}

/// The centers that lie on one device, and the batch there.
struct Block {
    /// Embeddings divided by their length, `[batch, embedding_dim]`.
    unit: Tensor<2>,
    /// `[classes·sub_centers, embedding_dim]`.
    weights: Tensor<2>,
    /// Which of these classes is the target of a row, `[batch]`; none of them where it is not in `0..classes`.
    index: Tensor<1, Int>,
    /// Negative for a class that is there a second time and does not count, `[classes]`; `None` where all do.
    used: Option<Tensor<1, Int>>,
    sub_centers: usize,
    streaming: Streaming,
}

impl Block {
    /// Leaves the classes of a sample.
    fn draw(&mut self, sample: Sample, gradient: RowGradient) {
        let Sample { classes, index, used, .. } = sample;
        let rows = rows_of(classes, self.sub_centers);
        let ([count], [classes]) = (rows.dims(), used.dims());
        // Of every center of a class.
        let used_rows = used.clone().unsqueeze_dim::<2>(1).expand([classes, self.sub_centers]).reshape([count]);
        let weights = self.weights.clone();
        self.weights = match gradient {
            RowGradient::Dense => distinct_rows(weights, rows, used_rows),
            RowGradient::Drawn => drawn_rows(weights, rows, used_rows.greater_equal_scalar(0)),
        };
        (self.index, self.used) = (index, Some(used));
    }
}

impl Comparison {
    /// With these blocks of classes. Where they are sampled in training, this draws.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`, of any length, `batch >= 1`
    /// - index: `[batch]`, the class of each row among all blocks; in none of them where it is not in `0..classes`
    pub(crate) fn new(blocks: &[ClassCenters], embeddings: &Tensor<2>, index: &Tensor<1, Int>) -> Self {
        let mut whole = Self::with_all(blocks, embeddings, index);
        for (block, centers) in whole.blocks.iter_mut().zip(blocks) {
            if let Some(sample) = sample_of(centers, &block.index) {
                block.draw(sample, centers.gradient());
            }
        }
        whole
    }

    /// The same, with all classes whatever the sample rate.
    pub(crate) fn with_all(blocks: &[ClassCenters], embeddings: &Tensor<2>, index: &Tensor<1, Int>) -> Self {
        let home = embeddings.device();
        // Not every device has the half precision of another.
        let unit = unit_rows(widen(embeddings.clone()));
        let mut start = 0;
        let of_block = |centers: &ClassCenters| {
            let (weights, index) = (centers.weight.val(), index.clone());
            let (sub_centers, streaming) = (centers.sub_centers(), centers.streaming());
            let first = start;
            start += centers.classes();
            let device = weights.device();
            if blocks.len() == 1 && device.clone().inner() == home.clone().inner() {
                return Block { unit: unit.clone(), weights, index, used: None, sub_centers, streaming };
            }
            let (unit, index) = (unit.clone().to_device(&device), index.sub_scalar(first as i64).to_device(&device));
            Block { unit, weights, index, used: None, sub_centers, streaming }
        };
        Self { blocks: blocks.iter().map(of_block).collect(), home }
    }

    /// The scores of the batch, on its device.
    pub(crate) fn scores(&self, scale: &Scale, terms: &Terms, choice: CenterChoice) -> ClassScores {
        let adds = matches!(terms, Terms::Softplus { .. });
        let together = |numbers: Tensor<2>| if adds { sum_of(numbers) } else { log_sum_exp(numbers) };
        let of_block = |block: &Block| block.scores(scale, terms, choice);
        let (target, negatives): (Vec<_>, Vec<_>) = self.blocks.iter().map(of_block).unzip();

        ClassScores { target_cosine: self.home(target, sum_of), negatives: self.home(negatives, together) }
    }

    /// The cosine of every embedding with the center of its class, of several the nearest, `[batch]`; 0 where the row has
    /// no class. Only these centers are looked at.
    pub(crate) fn target_cosines(&self) -> Tensor<1> {
        let of_block = |block: &Block| {
            let classes = (block.weights.dims()[0] / block.sub_centers) as i64;
            let outside =
                block.index.clone().lower_scalar(0).bool_or(block.index.clone().greater_equal_scalar(classes));
            let index = block.index.clone().mask_fill(outside.clone(), 0);
            let cosines = cosines_with_targets(block.unit.clone(), block.weights.clone(), index, block.sub_centers);
            cosines.max_dim(1).squeeze_dim::<1>(1).mask_fill(outside, 0.0)
        };
        self.home(self.blocks.iter().map(of_block).collect(), sum_of)
    }

    /// As a constant of the gradient.
    pub(crate) fn detached(&self) -> Self {
        let of_block = |block: &Block| Block {
            unit: block.unit.clone().detach(),
            weights: block.weights.clone().detach(),
            index: block.index.clone(),
            used: block.used.clone(),
            ..*block
        };
        Self { blocks: self.blocks.iter().map(of_block).collect(), home: self.home.clone() }
    }

    /// What the blocks say, put together on the device of the batch.
    fn home(&self, mut parts: Vec<Tensor<1>>, together: impl Fn(Tensor<2>) -> Tensor<1>) -> Tensor<1> {
        if parts.len() == 1 {
            let part = parts.remove(0);
            let is_home = part.device().inner() == self.home.clone().inner();
            return if is_home { part } else { part.to_device(&self.home) };
        }
        let column = |part: Tensor<1>| part.to_device(&self.home).unsqueeze_dim::<2>(1);
        together(Tensor::cat(parts.into_iter().map(column).collect(), 1))
    }
}

impl Block {
    fn scores(&self, scale: &Scale, terms: &Terms, choice: CenterChoice) -> (Tensor<1>, Tensor<1>) {
        let device = self.unit.device();
        let comparison = scores::Comparison {
            counted: self.used.clone().map_or(Counted::AllButTarget, Counted::Sample),
            terms: terms_on(terms, &device),
            normalise: Normalise::Keys,
            sub_centers: self.sub_centers,
            choice,
            streaming: self.streaming,
            ..scores::Comparison::new(scale_on(scale, &device))
        };
        let scores = scores::scores(self.unit.clone(), self.weights.clone(), self.index.clone(), comparison);
        (scores.target, scores.sum)
    }
}

/// The cosine of every embedding with each center of its class.
///
/// # Shapes
///
/// - unit: `[batch, embedding_dim]`, rows of length 1
/// - weights: `[classes·sub_centers, embedding_dim]`
/// - index: `[batch]`, in `0..classes`
/// - output: `[batch, sub_centers]`
pub(crate) fn cosines_with_targets(
    unit: Tensor<2>,
    weights: Tensor<2>,
    index: Tensor<1, Int>,
    sub_centers: usize,
) -> Tensor<2> {
    let [batch, dim] = unit.dims();
    let targets = unit_rows(cast_to(weights.select(0, rows_of(index, sub_centers)), unit.dtype()));
    let unit = unit.unsqueeze_dim::<3>(1).expand([batch, sub_centers, dim]);
    (unit * targets.reshape([batch, sub_centers, dim])).sum_dim(2).squeeze_dim(2)
}

/// The cosine of every embedding with every class, `[batch, classes]`, on the device of the embeddings.
pub(crate) fn cosines(blocks: &[ClassCenters], embeddings: Tensor<2>) -> Tensor<2> {
    if let [centers] = blocks {
        return centers.cosines(embeddings);
    }
    let (home, dtype) = (embeddings.device(), embeddings.dtype());
    let embeddings = widen(embeddings);
    let of_block = |centers: &ClassCenters| {
        centers.cosines(embeddings.clone().to_device(&centers.weight.val().device())).to_device(&home)
    };
    cast_to(Tensor::cat(blocks.iter().map(of_block).collect(), 1), dtype)
}

/// The rows of the weights that are centers of the given classes: `sub_centers` for each.
fn rows_of(classes: Tensor<1, Int>, sub_centers: usize) -> Tensor<1, Int> {
    let [count] = classes.dims();
    if sub_centers == 1 {
        return classes;
    }
    let shape = [count, sub_centers];
    let each = Tensor::<1, Int>::arange(0..sub_centers as i64, (&classes.device(), classes.dtype()));
    let first = classes.mul_scalar(sub_centers as i64).unsqueeze_dim::<2>(1).expand(shape);
    (first + each.unsqueeze_dim::<2>(0).expand(shape)).reshape([count * sub_centers])
}

fn sum_of(numbers: Tensor<2>) -> Tensor<1> {
    numbers.sum_dim(1).squeeze_dim(1)
}
