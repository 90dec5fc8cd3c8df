//! The sums over pairs that are never held: what the losses ask of the engine.

use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::logsumexp::{KeyLabels, NOTHING, Scale, Streaming, streamed_logsumexp};
use burn_losses_kernels::rivals::{PairSum, pair_sums};

use super::argument::{Labelled, OnePositive, WhichNegatives};

impl Labelled {
    /// `log(sum over the positives of every anchor of exp(scale·<anchor, reference>))`, `[anchors]`.
    pub(super) fn log_sum_of_positives(&self, anchors: Tensor<2>, scale: impl Into<Scale>) -> Tensor<1> {
        self.log_sum(anchors, self.labels.clone(), self.positives(), scale)
    }

    /// The same over the negatives. An anchor with a negative label has all references that have none.
    pub(super) fn log_sum_of_negatives(&self, scale: impl Into<Scale>) -> Tensor<1> {
        self.log_sum(self.anchors.clone(), self.labels.clone(), self.negatives(), scale)
    }

    /// The same over all references, but for the anchor itself.
    pub(super) fn log_sum_of_all(&self, scale: impl Into<Scale>) -> Tensor<1> {
        let options = (&self.labels.device(), self.labels.dtype());
        let [anchors] = self.labels.dims();
        let in_no_pair = self.reference_labels.clone().lower_scalar(0);
        let (own, keys) = if self.in_batch {
            let own = Tensor::<1, Int>::arange(0..anchors as i64, options);
            (own.clone(), own.mask_fill(in_no_pair, -1))
        } else {
            // A query with a negative label leaves out no key, a key with one counts for nobody.
            (Tensor::full([anchors], -1, options), self.reference_labels.clone())
        };
        self.log_sum(self.anchors.clone(), own, KeyLabels::Tensor(keys), scale)
    }

    /// `sum over the positives of softplus(negatives - scale·<anchor, reference>)` and how many of its terms are not 0,
    /// `[anchors]` each.
    pub(super) fn sums_of_softplus(&self, negatives: Tensor<1>, scale: impl Into<Scale>) -> [Tensor<1>; 2] {
        let sum = PairSum::Softplus { bias: negatives.neg() };
        let sums = self.pair_sums(self.anchors.clone().neg(), self.positives(), sum, scale);
        [1, 0].map(|column| sums.clone().narrow(1, column, 1).squeeze_dim::<1>(1))
    }

    /// `log(sum over the positives of exp(scale·max(score + reach, 0)·(score - goal)))`, where the score is
    /// `<anchor, reference>` and the maximum a constant of the gradient, `[anchors]`.
    pub(super) fn self_paced_positives(&self, anchors: Tensor<2>, reach: f64, goal: f64, scale: f64) -> Tensor<1> {
        self.pair_sums(anchors, self.positives(), PairSum::SelfPaced { reach, goal }, scale)
            .narrow(1, 1, 1)
            .squeeze_dim(1)
    }

    /// The same over the negatives.
    pub(super) fn self_paced_negatives(&self, reach: f64, goal: f64, scale: f64) -> Tensor<1> {
        self.pair_sums(self.anchors.clone(), self.negatives(), PairSum::SelfPaced { reach, goal }, scale)
            .narrow(1, 1, 1)
            .squeeze_dim(1)
    }

    fn positives(&self) -> KeyLabels {
        KeyLabels::Same { labels: self.reference_labels.clone(), in_batch: self.in_batch }
    }

    fn negatives(&self) -> KeyLabels {
        KeyLabels::Tensor(self.reference_labels.clone())
    }

    fn log_sum(
        &self,
        anchors: Tensor<2>,
        labels: Tensor<1, Int>,
        partners: KeyLabels,
        scale: impl Into<Scale>,
    ) -> Tensor<1> {
        streamed_logsumexp(anchors, self.references.clone(), labels, partners, scale, Streaming::new())
    }

    fn pair_sums(&self, anchors: Tensor<2>, partners: KeyLabels, sum: PairSum, scale: impl Into<Scale>) -> Tensor<2> {
        let (references, labels) = (self.references.clone(), self.labels.clone());
        pair_sums(anchors, references, labels, partners, sum, scale, Streaming::new())
    }
}

impl OnePositive {
    /// `log(sum over the negatives of every anchor of exp(scale·<anchor, negative>))`, `[anchors]`.
    pub(super) fn log_sum_of_negatives(self, scale: impl Into<Scale>) -> Tensor<1> {
        let (labels, negatives) = match self.which {
            WhichNegatives::OtherPlaces => {
                (Tensor::arange(0..self.anchors.dims()[0] as i64, &self.anchors.device()), KeyLabels::Position)
            }
            WhichNegatives::OtherLabels(labels, of_negatives) => (labels, KeyLabels::Tensor(of_negatives)),
        };
        streamed_logsumexp(self.anchors, self.negatives, labels, negatives, scale, Streaming::new())
    }
}

/// Whether a log-sum-exp is of anything, `[anchors]`.
pub(super) fn is_something(log_sum_exp: Tensor<1>) -> Tensor<1, Bool> {
    // What was added to the log-sum-exp of nothing is far smaller than it.
    log_sum_exp.lower_scalar(0.5 * NOTHING).bool_not()
}
