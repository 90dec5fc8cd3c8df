use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};

use super::choice::{Candidates, Chosen};
use super::{Miner, PairMasks};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Which positive or negative of an anchor [`BatchEasyHardMiner`] takes.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The farthest positive; the closest negative.
    Hard,
    /// The hardest that is not wrong by itself: the farthest positive that is closer than the chosen negative; the
    /// closest negative that is farther than the chosen positive.
    SemiHard,
    /// The closest positive; the farthest negative.
    Easy,
    /// All of them.
    All,
}

/// Settings of [`BatchEasyHardMiner`].
#[derive(Config, Debug)]
pub struct BatchEasyHardMinerConfig {
    /// Which positives.
    /// Default: `Strategy::Easy`.
    #[config(default = "Strategy::Easy")]
    pub positive: Strategy,
    /// Which negatives. Not both may be `SemiHard`, and `SemiHard` goes with `All` on neither side.
    /// Default: `Strategy::SemiHard`.
    #[config(default = "Strategy::SemiHard")]
    pub negative: Strategy,
    /// Positives at another distance are not taken; `[least, most]`, any `least <= most`. Not used by `All`.
    /// Default: `None`.
    #[config(default = "None")]
    pub positive_range: Option<[f64; 2]>,
    /// Likewise for negatives.
    /// Default: `None`.
    #[config(default = "None")]
    pub negative_range: Option<[f64; 2]>,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl BatchEasyHardMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If the strategies do not go together, or a range is empty.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> BatchEasyHardMiner {
        self.distance.validate();
        let Self { positive, negative, positive_range, negative_range, distance } = *self;
        let semi_hard = [positive, negative].iter().filter(|&&strategy| strategy == Strategy::SemiHard).count();
        assert!(
            semi_hard < 2 && (semi_hard == 0 || positive != Strategy::All && negative != Strategy::All),
            "BatchEasyHardMiner: negative must be Hard or Easy beside a SemiHard one, got positive {positive:?} and \
             negative {negative:?}"
        );
        for (field, range) in [("positive_range", positive_range), ("negative_range", negative_range)] {
            if let Some([least, most]) = range {
                assert!(least <= most, "BatchEasyHardMiner: {field} must be [least, most], got [{least}, {most}]");
            }
        }
        BatchEasyHardMiner { distance, positive, negative, positive_range, negative_range }
    }
}

/// For every anchor an easy, a semi-hard, a hard or every positive, and likewise of the negatives.
///
/// The default, the easiest positive with the semi-hard negative, lets a class keep several clusters (easy positive,
/// [Xuan et al. 2020](https://arxiv.org/abs/1904.04370)); `Hard` with `Hard` are the pairs of
/// [`BatchHardMiner`](super::BatchHardMiner).
///
/// An anchor that finds no positive or no negative is in no pair, but for a side that takes `All`: its pairs do not
/// depend on the other side's.
///
/// # When to take it
///
/// Easy positives keep the spread within a class that [`BatchHardMiner`](super::BatchHardMiner) would pull together.
/// For classes that should be tight take that.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::{BatchEasyHardMinerConfig, Strategy};
/// use burn_losses::pairs::{Pairs, TripletLossConfig};
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.25]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// let miner = BatchEasyHardMinerConfig::new().with_negative(Strategy::Hard).init(&device);
/// let chosen = miner.mine(&Pairs::in_batch(embeddings, labels));
/// // From 0 the easiest positive is 1 away and the hardest negative 2.25, from 1 they are 1 and 1.25 away: losses of 0
/// // and 0.25.
/// let loss = TripletLossConfig::new().with_margin(0.5).init(&device).forward_pairs(&chosen).into_scalar::<f32>();
/// assert!((loss - 0.125).abs() < 1e-5, "{loss}");
/// ```
#[derive(Module, Debug)]
pub struct BatchEasyHardMiner {
    #[module(skip)]
    distance: Distance,
    #[module(skip)]
    positive: Strategy,
    #[module(skip)]
    negative: Strategy,
    #[module(skip)]
    positive_range: Option<[f64; 2]>,
    #[module(skip)]
    negative_range: Option<[f64; 2]>,
}

impl Miner for BatchEasyHardMiner {
    /// The chosen pairs; with neither side `All`, an anchor has one positive and one negative or nothing.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new("BatchEasyHardMiner", self.distance, pairs) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let [anchors, references] = positive.dims();
        let shape = [anchors, references];
        let all = (positive.clone(), negative.clone());
        let mut positive = within(self.positive_range, &distances, positive);
        let mut negative = within(self.negative_range, &distances, negative);
        let choose_positive = |allowed| match self.positive {
            Strategy::Easy => Chosen::closest(distances.clone(), allowed),
            _ => Chosen::farthest(distances.clone(), allowed),
        };
        let choose_negative = |allowed| match self.negative {
            Strategy::Easy => Chosen::farthest(distances.clone(), allowed),
            _ => Chosen::closest(distances.clone(), allowed),
        };

        if self.positive == Strategy::SemiHard {
            let limit = choose_negative(negative.clone()).distance.expand(shape);
            positive = positive.bool_and(distances.clone().lower(limit));
        }
        if self.negative == Strategy::SemiHard {
            let limit = choose_positive(positive.clone()).distance.expand(shape);
            negative = negative.bool_and(distances.clone().greater(limit));
        }
        let chosen = (choose_positive(positive), choose_negative(negative));
        let both = chosen.0.found.clone().bool_and(chosen.1.found.clone()).expand(shape);
        let (positive, negative) = (chosen.0.mask(references), chosen.1.mask(references));
        let (positive, negative) = match (self.positive, self.negative) {
            (Strategy::All, Strategy::All) => all,
            (Strategy::All, _) => (all.0, negative),
            (_, Strategy::All) => (positive, all.1),
            _ => (positive.bool_and(both.clone()), negative.bool_and(both)),
        };
        let masks = PairMasks { positive: positive.to_device(&home), negative: negative.to_device(&home) };
        pairs.clone().with_masks(masks)
    }
}

fn within(range: Option<[f64; 2]>, distances: &Tensor<2>, allowed: Tensor<2, Bool>) -> Tensor<2, Bool> {
    let Some([least, most]) = range else { return allowed };
    let outside = distances.clone().lower_scalar(least).bool_or(distances.clone().greater_scalar(most));
    allowed.bool_and(outside.bool_not())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(positive: Strategy, negative: Strategy) -> BatchEasyHardMinerConfig {
        BatchEasyHardMinerConfig::new().with_positive(positive).with_negative(negative)
    }

    #[test]
    #[should_panic(expected = "got positive SemiHard and negative SemiHard")]
    fn two_semi_hard_sides_are_rejected() {
        config(Strategy::SemiHard, Strategy::SemiHard).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "got positive All and negative SemiHard")]
    fn a_semi_hard_side_beside_all_is_rejected() {
        config(Strategy::All, Strategy::SemiHard).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "BatchEasyHardMiner: negative_range must be [least, most], got [1, 0.5]")]
    fn an_empty_range_is_rejected() {
        BatchEasyHardMinerConfig::new().with_negative_range(Some([1.0, 0.5])).init(&Device::flex());
    }
}
