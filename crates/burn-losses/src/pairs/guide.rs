use burn::config::Config;

use super::argument::Pairs;
use crate::mining::PairMasks;
use crate::shape::check_shape;

/// How near a negative may come to the positive before a guide takes it for another positive.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum GuideMargin {
    /// Its cosine may be as large as that of the positive less this number; in `[-2, 2]`.
    Absolute(f64),
    /// Less this share of the size of it; in `[-2, 2]`.
    Relative(f64),
}

impl Pairs {
    /// The same pairs without the negatives that a guide, a model that is trained already, finds nearer to the anchor than
    /// its positive: most likely they are none. The filter of GISTEmbed, for every loss that takes pairs.
    ///
    /// ```text
    /// negative n of i is left out if guide[i, n] > guide[i, positive of i] - margin
    /// ```
    ///
    /// With several positives the one that is nearest for the guide counts; an anchor without one keeps all its negatives. No
    /// positive is ever left out. What is left is a choice as that of a [miner](crate::mining): losses keep
    /// `[anchors, references]` numbers of it.
    ///
    /// # Panics
    ///
    /// If the guide's pairs are not as many, or the margin is out of its range.
    ///
    /// # Source
    ///
    /// Solatorio: [GISTEmbed](https://arxiv.org/abs/2402.16829), 2024, section 3.2.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_losses::pairs::{GuideMargin, InfoNceLossConfig, Pairs};
    ///
    /// let device = Device::default();
    /// let rows = |rows: [[f32; 2]; 2]| Tensor::<2>::from_data(rows, &device);
    /// let (queries, keys) = (rows([[1.0, 0.0], [0.0, 1.0]]), rows([[0.8, 0.6], [0.6, 0.8]]));
    /// // For the guide, both queries ask the same.
    /// let guide = Pairs::aligned(rows([[1.0, 0.0], [1.0, 0.0]]), rows([[0.8, 0.6], [1.0, 0.0]]));
    /// let pairs = Pairs::aligned(queries, keys).guided_by(&guide, GuideMargin::Absolute(0.0));
    /// let losses = InfoNceLossConfig::new().init(&device).forward_pairs_no_reduction(&pairs);
    /// let losses = losses.into_data().to_vec::<f32>().unwrap();
    /// // The first query is left without a negative; the second keeps its own.
    /// assert!(losses[0] == 0.0 && losses[1] > 0.0);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn guided_by(self, guide: &Self, margin: GuideMargin) -> Self {
        let (GuideMargin::Absolute(number) | GuideMargin::Relative(number)) = margin;
        assert!((-2.0..=2.0).contains(&number), "Pairs: the margin of a guide must be in [-2, 2], got {number}");
        let dims = self.dims();
        check_shape("Pairs", "the guide's pairs", guide.dims(), dims);
        if self.is_empty() {
            return self;
        }
        let PairMasks { positive, negative } = self.masks();
        let cosines = guide.clone().without_autodiff().cosines();
        let nearest = cosines.clone().mask_fill(positive.clone().bool_not(), -4.0).max_dim(1);
        let bound = match margin {
            GuideMargin::Absolute(margin) => nearest.clone().sub_scalar(margin),
            GuideMargin::Relative(margin) => nearest.clone() - nearest.clone().abs().mul_scalar(margin),
        };
        // Beyond every cosine where there is no positive.
        let bound = bound.mask_fill(nearest.lower_scalar(-3.0), 4.0).expand(dims);
        let kept = cosines.greater(bound).bool_not();

        self.with_masks(PairMasks { positive, negative: negative.bool_and(kept) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use burn::tensor::{Device, Int, Tensor, TensorData};

    fn kept(labels: [i64; 4], margin: GuideMargin) -> Vec<bool> {
        let device = Device::flex();
        let labels = || Tensor::<1, Int>::from_data(TensorData::from(labels), &device);
        let rows = Tensor::<2>::ones([4, 2], &device);
        // Cosines with the first row: 0.8, 0.96 and 0.6.
        let guide = [[1.0_f32, 0.0], [0.8, 0.6], [0.96, 0.28], [0.6, 0.8]];
        let guide = Pairs::in_batch(Tensor::from_data(guide, &device), labels());
        let pairs = Pairs::in_batch(rows, labels()).guided_by(&guide, margin);
        let negatives = pairs.masks().negative.try_into_vec_as::<bool>().unwrap();
        negatives[..4].to_vec()
    }

    #[test]
    fn a_negative_nearer_than_the_positive_is_left_out() {
        // The second row is the positive of the first.
        assert_eq!(kept([1, 1, 2, 3], GuideMargin::Absolute(0.0)), [false, false, false, true]);
        assert_eq!(kept([1, 1, 2, 3], GuideMargin::Absolute(-0.2)), [false, false, true, true]);
        assert_eq!(kept([1, 1, 2, 3], GuideMargin::Absolute(0.3)), [false; 4]);
        assert_eq!(kept([1, 1, 2, 3], GuideMargin::Relative(0.2)), [false, false, false, true]);
        assert_eq!(kept([1, 1, 2, 3], GuideMargin::Relative(0.3)), [false; 4]);
    }

    #[test]
    fn without_a_positive_all_negatives_are_kept_and_no_positive_is_left_out() {
        assert_eq!(kept([1, 2, 2, 3], GuideMargin::Absolute(0.0)), [false, true, true, true]);
        let positives =
            Pairs::in_batch(Tensor::ones([2, 2], &Device::flex()), Tensor::from_ints([5, 5], &Device::flex()));
        let guide = Pairs::in_batch(
            Tensor::from_data([[1.0_f32, 0.0], [-1.0, 0.0]], &Device::flex()),
            Tensor::from_ints([5, 5], &Device::flex()),
        );
        let masks = positives.guided_by(&guide, GuideMargin::Absolute(1.0)).masks();
        assert_eq!(masks.positive.try_into_vec_as::<bool>().unwrap(), [false, true, true, false]);
    }

    #[test]
    #[should_panic(expected = "Pairs: the margin of a guide must be in [-2, 2], got 3")]
    fn a_margin_beyond_all_cosines_is_rejected() {
        let pairs = Pairs::in_batch(Tensor::ones([2, 2], &Device::flex()), Tensor::from_ints([5, 5], &Device::flex()));
        let _ = pairs.clone().guided_by(&pairs, GuideMargin::Absolute(3.0));
    }
}
