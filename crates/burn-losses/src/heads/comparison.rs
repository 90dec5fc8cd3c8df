//! The comparison of a batch with class centers: the only file of the heads and the proxies that calls the engine.

use alloc::vec::Vec;

use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming, class_scores, sampled_class_scores};
use burn_losses_kernels::math::{cast_to, log_sum_exp, widen};
pub(crate) use burn_losses_kernels::rivals::CenterChoice;
use burn_losses_kernels::rivals::{Comparison as EngineComparison, rival_scores};
pub use burn_losses_kernels::rivals::{Curve, Reweighting, Rivals as Terms};

use super::ClassCenters;
use super::sampling::sample_of;

/// What a batch has to do with class centers.
#[derive(Clone, Debug)]
pub(crate) struct ClassScores {
    /// The cosine with the center of the label, `[batch]`; 0 for a row without a class.
    pub(crate) target_cosine: Tensor<1>,
    /// What the other classes weigh, `[batch]`: for most heads `log(sum over them of exp(scale·cosine))`, hugely negative
    /// where there is none.
    pub(crate) negatives: Tensor<1>,
}

/// The centers that one batch is compared with, all of them or a sample.
pub(crate) struct Comparison {
    blocks: Vec<Block>,
}

/// Those that lie on one device.
struct Block {
    /// `[classes·sub_centers, embedding_dim]`.
    weights: Tensor<2>,
    /// Which of these classes is the target of a row, `[batch]`; none of them where it is not in `0..classes`.
    index: Tensor<1, Int>,
    /// Negative for a class that is there a second time and does not count, `[classes]`; `None` where all do.
    used: Option<Tensor<1, Int>>,
    sub_centers: usize,
    streaming: Streaming,
}

impl Comparison {
    /// With these blocks of classes. Where they are sampled in training, this draws.
    ///
    /// # Shapes
    ///
    /// - index: `[batch]`, the class of each row among all blocks; in none of them where it is not in `0..classes`
    pub(crate) fn new(blocks: &[ClassCenters], index: &Tensor<1, Int>) -> Self {
        let of_block = |(centers, index): (&ClassCenters, Tensor<1, Int>)| {
            let (sub_centers, streaming) = (centers.sub_centers(), centers.streaming());
            let weights = centers.weight.val();
            match sample_of(centers, &index) {
                None => Block { weights, index, used: None, sub_centers, streaming },
                Some(sample) => {
                    let weights = weights.select(0, centers.rows_of(sample.classes));
                    Block { weights, index: sample.index, used: Some(sample.used), sub_centers, streaming }
                }
            }
        };
        Self { blocks: blocks.iter().zip(indices(blocks, index)).map(of_block).collect() }
    }

    /// The scores of a batch, on its device.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`, of any length, `batch >= 1`
    pub(crate) fn scores(
        &self,
        embeddings: Tensor<2>,
        scale: &Scale,
        terms: Terms,
        choice: CenterChoice,
    ) -> ClassScores {
        let home = embeddings.device();
        if let [block] = self.blocks.as_slice()
            && block.weights.device().inner() == home.clone().inner()
        {
            return block.scores(embeddings, scale.clone(), terms, choice);
        }
        // Not every device has the half precision of another.
        let embeddings = widen(embeddings);
        let adds = matches!(terms, Terms::Softplus { .. });
        let of_block = |block: &Block| {
            let device = block.weights.device();
            let (scale, terms) = (scale_on(scale, &device), terms_on(&terms, &device));
            let scores = block.scores(embeddings.clone().to_device(&device), scale, terms, choice);
            [scores.target_cosine, scores.negatives].map(|part| part.to_device(&home).unsqueeze_dim::<2>(1))
        };
        let (target, negatives): (Vec<_>, Vec<_>) = self.blocks.iter().map(of_block).map(|[a, b]| (a, b)).unzip();
        let negatives = Tensor::cat(negatives, 1);

        ClassScores {
            target_cosine: Tensor::cat(target, 1).sum_dim(1).squeeze_dim(1),
            negatives: if adds { negatives.sum_dim(1).squeeze_dim(1) } else { log_sum_exp(negatives) },
        }
    }

    /// What the other classes weigh in a plain softmax of this scale, without a gradient, `[batch]`.
    pub(crate) fn negatives_of_constants(&self, embeddings: Tensor<2>, scale: &Scale) -> Tensor<1> {
        let detached = |block: &Block| Block {
            weights: block.weights.clone().detach(),
            index: block.index.clone(),
            used: block.used.clone(),
            ..*block
        };
        let constants = Self { blocks: self.blocks.iter().map(detached).collect() };
        constants.scores(embeddings.detach(), scale, Terms::LogSumExp, CenterChoice::Nearest).negatives
    }
}

impl Block {
    fn scores(&self, embeddings: Tensor<2>, scale: Scale, terms: Terms, choice: CenterChoice) -> ClassScores {
        let Self { weights, index, used, sub_centers, streaming } = self;
        let (weights, index, used) = (weights.clone(), index.clone(), used.clone());
        let packed = match scale {
            Scale::Constant(scale) => {
                let comparison = EngineComparison { sub_centers: *sub_centers, choice, rivals: terms };
                rival_scores(embeddings, weights, index, used, comparison, scale, *streaming)
            }
            measured @ Scale::Tensor(_) => {
                let plain = *sub_centers == 1 && matches!(terms, Terms::LogSumExp);
                assert!(plain, "a measured scale needs one center per class and a plain softmax");
                match used {
                    None => class_scores(embeddings, weights, index, measured, *streaming),
                    Some(used) => sampled_class_scores(embeddings, weights, index, used, measured, *streaming),
                }
            }
        };
        let column = |column| packed.clone().narrow(1, column, 1).squeeze_dim::<1>(1);
        ClassScores { target_cosine: column(0), negatives: column(1) }
    }
}

/// The cosine of every embedding with the center of its class, of several the nearest, `[batch]`; 0 where the row has no
/// class. Only these centers are looked at.
///
/// # Shapes
///
/// - embeddings: `[batch, embedding_dim]`, `batch >= 1`
/// - index: `[batch]`, the class of each row among all blocks; in none of them where it is not in `0..classes`
pub(crate) fn target_cosines(blocks: &[ClassCenters], embeddings: &Tensor<2>, index: &Tensor<1, Int>) -> Tensor<1> {
    let (home, alone) = (embeddings.device(), blocks.len() == 1);
    let embeddings = widen(embeddings.clone());
    let of_block = |(centers, index): (&ClassCenters, Tensor<1, Int>)| {
        let classes = centers.classes() as i64;
        let outside = index.clone().lower_scalar(0).bool_or(index.clone().greater_equal_scalar(classes));
        let index = index.mask_fill(outside.clone(), 0);
        let embeddings = embeddings.clone();
        let embeddings = if alone { embeddings } else { embeddings.to_device(&centers.weight.val().device()) };
        let cosines = centers.cosines_with_own_centers(embeddings, index).max_dim(1).squeeze_dim::<1>(1);
        let cosines = cosines.mask_fill(outside, 0.0);
        if alone { cosines } else { cosines.to_device(&home) }
    };
    let cosines = blocks.iter().zip(indices(blocks, index)).map(of_block);
    cosines.reduce(|sum, cosines| sum + cosines).expect("a head has centers")
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

/// The class of each row counted from the first of every block, on the device of the block.
fn indices<'a>(blocks: &'a [ClassCenters], index: &'a Tensor<1, Int>) -> impl Iterator<Item = Tensor<1, Int>> + 'a {
    let mut start = 0;
    blocks.iter().map(move |centers| {
        if blocks.len() == 1 {
            return index.clone();
        }
        let index = index.clone().sub_scalar(start as i64).to_device(&centers.weight.val().device());
        start += centers.classes();
        index
    })
}

fn scale_on(scale: &Scale, device: &Device) -> Scale {
    match scale {
        Scale::Constant(scale) => Scale::Constant(*scale),
        Scale::Tensor(scale) => Scale::Tensor(scale.clone().to_device(device)),
    }
}

fn terms_on(terms: &Terms, device: &Device) -> Terms {
    match terms.clone() {
        Terms::LogSumExp => Terms::LogSumExp,
        Terms::Reweighted(Reweighting { threshold, quadratic, linear, constant }) => {
            let [threshold, linear, constant] = [threshold, linear, constant].map(|part| part.to_device(device));
            Terms::Reweighted(Reweighting { threshold, quadratic, linear, constant })
        }
        Terms::Softplus { bias, curve } => Terms::Softplus { bias: bias.to_device(device), curve },
    }
}
