use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor};

use super::argument::Pairs;
use super::masked::{flat, flat_mask};
use crate::EmbeddingLoss;
use crate::reduction::EmbeddingReduction;

/// A loss of the pairs or triplets of embeddings.
///
/// Users call [`forward_pairs`](Self::forward_pairs), or [`EmbeddingLoss::forward`] for the pairs that the labels of a
/// batch make. Authors say what an anchor costs, in [`anchor_losses`](Self::anchor_losses); that there may be nothing to
/// compare, which precision comes in, and how losses become one number is the same for all. Every `PairLoss` is an
/// [`EmbeddingLoss`].
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::EmbeddingLoss;
/// use burn_losses::distance::Distance;
/// use burn_losses::pairs::{AnchorLosses, PairLoss, Pairs};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// /// How far apart the rows of an identity are.
/// struct Spread;
///
/// impl PairLoss for Spread {
///     fn reduction(&self) -> EmbeddingReduction {
///         EmbeddingReduction::Mean
///     }
///
///     fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
///         let positive = pairs.masks().positive;
///         let distances = pairs.distances(Distance::SquaredEuclidean);
///         AnchorLosses::of_pairs(distances.mask_fill(positive.clone().bool_not(), 0.0), positive)
///     }
/// }
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [2.0], [9.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([4, 4, 7], &device);
/// assert_eq!(Spread.forward(embeddings, labels).into_scalar::<f32>(), 4.0);
/// ```
pub trait PairLoss {
    /// How the losses become one number.
    fn reduction(&self) -> EmbeddingReduction;

    /// What every anchor costs. There is an anchor and a reference, and embeddings are in `f32` or `f64`.
    #[track_caller]
    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses;

    /// The name of the loss, for messages.
    fn name(&self) -> &'static str {
        // Without the types that it is made for.
        let path = core::any::type_name::<Self>().split('<').next().unwrap_or_default();
        path.rsplit("::").next().unwrap_or(path)
    }

    /// The reduced loss of these pairs; 0 where there is none.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the loss has no use for such pairs.
    #[track_caller]
    fn forward_pairs(&self, pairs: &Pairs) -> Tensor<1> {
        let losses = self.anchor_losses(&pairs.filled().used_by(self.name()));

        pairs.finish(losses.reduce(self.reduction()))
    }

    /// The reduced loss of the first numbers of each row, for each of the lengths that a
    /// [`MatryoshkaLoss`](crate::matryoshka::MatryoshkaLoss) cuts rows to, `[1]` each. A loss overrides it that has work in common for
    /// them.
    ///
    /// # Panics
    ///
    /// As [`forward_pairs`](Self::forward_pairs), and if the pairs are of precomputed distances.
    #[track_caller]
    fn forward_pairs_of_lengths(&self, pairs: &Pairs, lengths: &[usize]) -> Vec<Tensor<1>> {
        pairs.embedding_dim(self.name());
        lengths.iter().map(|&length| self.forward_pairs(&pairs.cut(length))).collect()
    }

    /// The sum of the losses of every anchor.
    ///
    /// # Shapes
    ///
    /// - output: `[anchors]`
    ///
    /// # Panics
    ///
    /// As [`forward_pairs`](Self::forward_pairs).
    #[track_caller]
    fn forward_pairs_no_reduction(&self, pairs: &Pairs) -> Tensor<1> {
        let [anchors, _] = pairs.dims();
        if anchors == 0 {
            return pairs.no_losses();
        }
        let losses = self.anchor_losses(&pairs.filled().used_by(self.name()));

        pairs.finish(losses.per_anchor(self.name(), anchors))
    }
}

impl<L: PairLoss + ?Sized> EmbeddingLoss for L {
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward_pairs(&Pairs::of_batch(self.name(), embeddings, labels))
    }

    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward_pairs_no_reduction(&Pairs::of_batch(self.name(), embeddings, labels))
    }
}

/// What the anchors of a comparison cost: sums of losses, how many they are of, and how many of these are not 0.
#[derive(Clone, Debug)]
pub struct AnchorLosses {
    /// Each reduced by itself.
    terms: Vec<Term>,
    /// `[1]`, added to the reduced loss.
    penalty: Option<Tensor<1>>,
}

#[derive(Clone, Debug)]
struct Term {
    losses: Losses,
    /// The anchor of every row; without it, row `i` is that of anchor `i`.
    anchor: Option<Tensor<1, Int>>,
}

#[derive(Clone, Debug)]
enum Losses {
    /// The sums of losses, how many they are of, and how many of these are not 0.
    Sums(Box<[Tensor<1>; 3]>),
    /// Losses of pairs, and which of them count.
    Each(Box<(Tensor<2>, Tensor<2, Bool>)>),
}

/// The reduced losses of several lengths that share their work, if `of_lengths` knows how; else of one after the other.
#[track_caller]
pub(super) fn together<L: PairLoss>(
    loss: &L,
    pairs: &Pairs,
    lengths: &[usize],
    of_lengths: impl FnOnce(&Pairs) -> Option<Vec<AnchorLosses>>,
) -> Vec<Tensor<1>> {
    pairs.embedding_dim(loss.name());
    let shared = if lengths.len() > 1 { of_lengths(&pairs.filled().used_by(loss.name())) } else { None };
    match shared {
        Some(losses) => losses.into_iter().map(|losses| pairs.finish(losses.reduce(loss.reduction()))).collect(),
        None => lengths.iter().map(|&length| loss.forward_pairs(&pairs.cut(length))).collect(),
    }
}

impl AnchorLosses {
    /// Sums that are known.
    ///
    /// # Shapes
    ///
    /// - losses: `[anchors]`, each the sum of an anchor's losses
    /// - counts: `[anchors]`, of how many; what [`EmbeddingReduction::Mean`] divides by
    /// - active: `[anchors]`, how many of them are not 0; what [`EmbeddingReduction::MeanNonZero`] divides by
    pub fn new(losses: Tensor<1>, counts: Tensor<1>, active: Tensor<1>) -> Self {
        Self::listed_sums([losses, counts, active], None)
    }

    /// Sums of rows that are not those of the anchors in their order: losses, counts and active ones.
    pub(super) fn listed_sums(sums: [Tensor<1>; 3], anchor: Option<Tensor<1, Int>>) -> Self {
        Self::of(Losses::Sums(Box::new(sums)), anchor)
    }

    /// One loss per anchor.
    ///
    /// # Shapes
    ///
    /// - losses: `[anchors]`, 0 where they do not count
    /// - counted: `[anchors]`
    pub fn one_each(losses: Tensor<1>, counted: Tensor<1, Bool>) -> Self {
        Self::of_pairs(losses.unsqueeze_dim(1), counted.unsqueeze_dim(1))
    }

    /// One loss per anchor, all of which count.
    pub(super) fn all(losses: Tensor<1>) -> Self {
        let counted = Tensor::<1, Bool>::full(losses.dims(), true, &losses.device());
        Self::one_each(losses, counted)
    }

    /// One loss per anchor, of which those count that are in a pair; all without it.
    pub(super) fn where_paired(losses: Tensor<1>, paired: Option<Tensor<1, Bool>>) -> Self {
        match paired {
            None => Self::all(losses),
            Some(paired) => Self::one_each(losses.mask_fill(paired.clone().bool_not(), 0.0), paired),
        }
    }

    /// A loss per pair.
    ///
    /// # Shapes
    ///
    /// - losses: `[anchors, references]`, 0 where they do not count
    /// - counted: `[anchors, references]`
    pub fn of_pairs(losses: Tensor<2>, counted: Tensor<2, Bool>) -> Self {
        Self::listed(losses, counted, None)
    }

    /// Losses of rows that are not those of the anchors in their order.
    pub(super) fn listed(losses: Tensor<2>, counted: Tensor<2, Bool>, anchor: Option<Tensor<1, Int>>) -> Self {
        Self::of(Losses::Each(Box::new((losses, counted))), anchor)
    }

    fn of(losses: Losses, anchor: Option<Tensor<1, Int>>) -> Self {
        Self { terms: vec![Term { losses, anchor }], penalty: None }
    }

    /// These and others, each reduced by themselves and then added.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        self.penalty = match (self.penalty, other.penalty) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self
    }

    /// A number that is added to the reduced loss.
    ///
    /// # Shapes
    ///
    /// - penalty: `[1]`
    #[must_use]
    pub fn with_penalty(self, penalty: Tensor<1>) -> Self {
        Self { penalty: Some(penalty), ..self }
    }

    pub(super) fn reduce(self, reduction: EmbeddingReduction) -> Tensor<1> {
        let terms = self.terms.into_iter().map(|term| match term.losses {
            Losses::Sums(sums) => {
                let [losses, counts, active] = *sums;
                reduction.apply_sums(losses, counts, active)
            }
            Losses::Each(pairs) => {
                let (losses, counted) = *pairs;
                reduction.apply_valid(flat(losses), flat_mask(counted))
            }
        });
        terms.chain(self.penalty).reduce(|sum, term| sum + term).expect("there is a term")
    }

    /// `[anchors]`.
    #[track_caller]
    fn per_anchor(self, loss: &str, anchors: usize) -> Tensor<1> {
        let terms = self.terms.into_iter().map(|term| {
            let sums = match term.losses {
                Losses::Sums(sums) => {
                    let [losses, ..] = *sums;
                    losses
                }
                Losses::Each(pairs) => pairs.0.sum_dim(1).squeeze_dim::<1>(1),
            };
            match term.anchor {
                None => sums,
                Some(anchor) => Tensor::<1>::zeros([anchors], (&sums.device(), sums.dtype())).select_assign(
                    0,
                    anchor,
                    sums,
                    IndexingUpdateOp::Add,
                ),
            }
        });
        let sums = terms.reduce(|sum, term| sum + term).expect("there is a term");
        let [rows] = sums.dims();
        // Rows that a swap has made anchors.
        assert!(rows == anchors, "{loss}: with references and NegativeDistance::Nearest there is a reduced loss only");
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_another_type_has_a_name_of_its_own() {
        struct Wrap<L>(core::marker::PhantomData<L>);

        impl<L> PairLoss for Wrap<L> {
            fn reduction(&self) -> EmbeddingReduction {
                EmbeddingReduction::Mean
            }

            fn anchor_losses(&self, _: &Pairs) -> AnchorLosses {
                unreachable!("nothing is computed here")
            }
        }
        assert_eq!(Wrap::<Pairs>(core::marker::PhantomData).name(), "Wrap");
    }
}
