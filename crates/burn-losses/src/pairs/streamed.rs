//! The sums over pairs that are never held: what the losses ask of the engine.

use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::math::{NOTHING, comparable, log_sum_exp};
use burn_losses_kernels::scores::{
    Comparison, CosineSums, Counted, Curve, LogitLoss, Scale, Scores, Streaming, Terms, cosine_sums, logit_loss, scores,
};

use super::Pairs;
use super::asked::Labelled;
use super::one_positive::OnePositive;
use super::temperature::times;
use crate::on_device::{on, scale_on, terms_on};

impl Labelled {
    /// `log(sum over the positives of every anchor of exp(scale·<anchor, reference>))`, `[anchors]`, of anchors in the
    /// place of its own.
    pub(super) fn log_sum_of_positives(&self, anchors: Tensor<2>, scale: impl Into<Scale>) -> Tensor<1> {
        self.compare(anchors, Comparison { counted: self.positives(), ..Comparison::new(scale) }).sum
    }

    /// The same over the negatives. An anchor with a negative label has all references that have none.
    pub(super) fn log_sum_of_negatives(&self, scale: impl Into<Scale>) -> Tensor<1> {
        self.compare(self.anchors.clone(), Comparison { counted: self.negatives(), ..Comparison::new(scale) }).sum
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
        let comparison = Comparison { counted: Counted::OtherLabels(keys), ..Comparison::new(scale) };

        scores(self.anchors.clone(), self.references.clone(), own, comparison).sum
    }

    /// `sum over the positives of softplus(offset - scale·<anchor, reference>)` and how many of its terms are not 0,
    /// `[anchors]` each. The anchors come with the other sign.
    pub(super) fn sums_of_softplus(
        &self,
        minus_anchors: Tensor<2>,
        offset: Tensor<1>,
        scale: impl Into<Scale>,
    ) -> (Tensor<1>, Tensor<1>) {
        let terms = Terms::Softplus { offset, curve: Curve::STRAIGHT };
        let comparison = Comparison { counted: self.positives(), terms, ..Comparison::new(scale) };
        let Scores { sum, active, .. } = self.compare(minus_anchors, comparison);

        (sum, active.expect("sums of softplus say how many terms are not 0"))
    }

    /// `sum over the negatives of softplus(scale·<anchor, reference> + offset)`, `[anchors]`. An anchor with a negative label
    /// has all references that have none.
    pub(super) fn sums_of_softplus_of_negatives(&self, offset: Tensor<1>, scale: impl Into<Scale>) -> Tensor<1> {
        let terms = Terms::Softplus { offset, curve: Curve::STRAIGHT };
        let comparison = Comparison { counted: self.negatives(), terms, ..Comparison::new(scale) };
        self.compare(self.anchors.clone(), comparison).sum
    }

    /// `log(sum over the positives of exp(scale·max(score + reach, 0)·(score - goal)))`, where the score is
    /// `<anchor, reference>` and the maximum a constant of the gradient, `[anchors]`.
    pub(super) fn self_paced_positives(&self, anchors: Tensor<2>, reach: f64, goal: f64, scale: f64) -> Tensor<1> {
        let terms = Terms::SelfPaced { reach, goal };
        self.compare(anchors, Comparison { counted: self.positives(), terms, ..Comparison::new(scale) }).sum
    }

    /// The same over the negatives.
    pub(super) fn self_paced_negatives(&self, reach: f64, goal: f64, scale: f64) -> Tensor<1> {
        let terms = Terms::SelfPaced { reach, goal };
        self.compare(self.anchors.clone(), Comparison { counted: self.negatives(), terms, ..Comparison::new(scale) })
            .sum
    }

    fn positives(&self) -> Counted {
        Counted::SameLabel { labels: self.reference_labels.clone(), in_batch: self.in_batch }
    }

    fn negatives(&self) -> Counted {
        Counted::OtherLabels(self.reference_labels.clone())
    }

    fn compare(&self, anchors: Tensor<2>, comparison: Comparison) -> Scores {
        scores(anchors, self.references.clone(), self.labels.clone(), comparison)
    }
}

/// Of anchors with one positive each.
pub(super) struct Contrast {
    /// The cosine of every anchor and its positive, `[anchors]`.
    pub(super) own: Tensor<1>,
    /// `log(sum over the negatives of every anchor of exp(scale·cosine))`, `[anchors]`.
    pub(super) negatives: Tensor<1>,
}

impl Pairs {
    /// The contrasts of the first numbers of each row, for each of the lengths, and which anchors are in a pair (all without it);
    /// `None` unless every anchor has one positive at a known place. Two sides that are compared with each other share their
    /// products, and so do several lengths of aligned rows.
    pub(super) fn contrasts(
        &self,
        lengths: &[usize],
        scale: &Scale,
    ) -> Option<(Vec<Contrast>, Option<Tensor<1, Bool>>)> {
        let groups = self.one_positive();
        if groups.is_empty() {
            return None;
        }
        let (paired, both) = (OnePositive::all_paired(&groups), self.is_symmetric());
        let contrasts = match self.facing() {
            Some(sides) if both || lengths.len() > 1 => {
                let of_length = |CosineSums { first, second, own }: CosineSums| match second {
                    None => Contrast { own, negatives: first },
                    Some(second) => Contrast { own: own.repeat(&[2]), negatives: Tensor::cat(vec![first, second], 0) },
                };
                cosine_sums(sides, lengths, both, scale.clone()).into_iter().map(of_length).collect()
            }
            _ => {
                let of_length = |&length: &usize| {
                    let of_group = |rows: &OnePositive| {
                        let rows = rows.cut(length).unit();
                        (rows.scores(), rows.log_sum_of_negatives(scale.clone()))
                    };
                    let (own, negatives): (Vec<_>, Vec<_>) = groups.iter().map(of_group).unzip();
                    Contrast { own: Tensor::cat(own, 0), negatives: Tensor::cat(negatives, 0) }
                };
                lengths.iter().map(of_length).collect()
            }
        };
        Some((contrasts, paired))
    }
}

impl OnePositive {
    /// `log(sum over the negatives of every anchor of exp(scale·<anchor, negative>))`, `[anchors]`.
    pub(super) fn log_sum_of_negatives(self, scale: impl Into<Scale>) -> Tensor<1> {
        let mut sums = self.sums_of_negatives(&scale.into(), &Terms::Exp);
        if sums.len() == 1 { sums.remove(0) } else { log_sum_exp(Tensor::stack::<2>(sums, 1)) }
    }

    /// `sum over the negatives of every anchor of softplus(scale·<anchor, negative> + offset)`, `[anchors]`.
    pub(super) fn sums_of_softplus_of_negatives(self, offset: Tensor<1>, scale: impl Into<Scale>) -> Tensor<1> {
        let terms = Terms::Softplus { offset, curve: Curve::STRAIGHT };
        let sums = self.sums_of_negatives(&scale.into(), &terms);
        sums.into_iter().reduce(|sum, other| sum + other).expect("there are negatives here")
    }

    /// What the terms of the negatives here, and of those on every other device, add up to, `[anchors]` each, on the device of
    /// the anchors.
    fn sums_of_negatives(self, scale: &Scale, terms: &Terms) -> Vec<Tensor<1>> {
        let Self { anchors, negatives, labels, counted, elsewhere, labels_elsewhere, .. } = self;
        let home = anchors.device();
        let mut sums = Vec::new();
        for (rows, of_rows) in elsewhere {
            let device = rows.device();
            let (labels, of_rows) = comparable(labels_elsewhere.clone().to_device(&device), of_rows);
            let (counted, terms) = (Counted::OtherLabels(of_rows), terms_on(terms, &device));
            let comparison = Comparison { counted, terms, ..Comparison::new(scale_on(scale, &device)) };
            sums.push(on(scores(on(anchors.clone(), &device), rows, labels, comparison).sum, &home));
        }
        let comparison = Comparison { counted, terms: terms.clone(), ..Comparison::new(scale.clone()) };
        sums.insert(0, scores(anchors, negatives, labels, comparison).sum);
        sums
    }
}

/// `sum over i of -log(softmax over j of scale·<queries[i], keys[j]>)[i]`, `[1]`, of the keys at the places of the queries, with its
/// gradient in one pass; `None` where that is no way to compute it.
pub(super) fn sum_of_picks(queries: Tensor<2>, keys: Tensor<2>, scale: &Scale) -> Option<Tensor<1>> {
    let ([count, _], device) = (queries.dims(), queries.device());
    let every = |number: f64| Tensor::full([count], number, (&device, queries.dtype()));
    let loss = LogitLoss {
        bias: None,
        cap: None,
        weights: None,
        of_target: every(1.0),
        of_all: every(0.0),
        of_square: every(0.0),
        streaming: Streaming::new(),
    };
    let places = Tensor::<1, Int>::arange(0..count as i64, &device);
    logit_loss(times(queries, scale), keys, places, loss)
}

/// Whether a log-sum-exp is of anything, `[anchors]`.
pub(super) fn is_something(log_sum_exp: Tensor<1>) -> Tensor<1, Bool> {
    // What was added to the log-sum-exp of nothing is far smaller than it.
    log_sum_exp.lower_scalar(0.5 * NOTHING).bool_not()
}
