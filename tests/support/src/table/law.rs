//! What the losses keep, and the inputs that break losses elsewhere.

use super::Kind;

/// A law that the tests try on every loss of the kinds it concerns, in every one of its samples, on every backend.
///
/// A sample that breaks a law says so, with the reason, in [`Sample::breaks`](super::Sample::breaks); a test fails when
/// it does not break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// The losses are those of the plain loops, also for inputs that no golden case has.
    PlainLoops,
    /// Rows in another order have their losses and gradients in that order, and the other gradients stay.
    BatchOrder,
    /// Classes in another order, or identities with other numbers, change nothing.
    ClassOrder,
    /// Turning all rows of all inputs together changes no loss, and turns the gradients with them.
    Rotation,
    /// Moving all rows of all inputs together changes no loss, and the gradients of all rows sum to 0.
    Translation,
    /// The length of a row of the batch changes no loss.
    Length,
    /// The gradient of a row of the batch is perpendicular to it.
    Perpendicular,
    /// The length of a center changes no loss, and its gradient is perpendicular to it.
    CenterLength,
    /// A number added to all logits of a row changes no loss, and the gradients of a row sum to 0.
    LogitShift,
    /// A batch of no rows has loss 0 and gradient 0.
    EmptyBatch,
    /// A batch of one row has finite losses and gradients.
    OneRow,
    /// A batch without a single class or identity has loss 0 and gradient 0, exactly.
    NoLabel,
    /// A row without a class or identity is as if it were not there, whatever numbers it holds.
    RowWithoutLabel,
    /// With one class and nothing to tell it from, loss and gradient are 0, exactly.
    OneClass,
    /// No two rows of one identity: loss and gradient are 0, exactly.
    NoPositive,
    /// A row that is no number has a loss that is none.
    NanSpreads,
    /// A row that is no number changes no loss of another.
    NanStays,
    /// Half precision in and out, computed in `f32`: the result of the rounded inputs in `f32`, rounded.
    HalfPrecision,
    /// Half precision in the batch alone, as under mixed precision, with parameters in `f32`.
    MixedPrecision,
    /// Inputs that are strided, shifted and flipped views have the results of their copies.
    Views,
    /// Labels of every integer type say the same, also beyond a byte.
    LabelTypes,
    /// `forward` is the reduction of `forward_no_reduction`.
    Reduction,
    /// Without autodiff, as in evaluation, the losses are those of training.
    Evaluation,
    /// A module saved and loaded has the same losses, to the last bit.
    Record,
    /// Losses and gradients are finite for such inputs.
    Finite(Hostile),
}

/// Inputs that break losses elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hostile {
    /// Rows of zeros, of embeddings and of centers.
    ZeroRows,
    /// Rows whose squares vanish, down to `1e-38`.
    TinyRows,
    /// Rows of up to `1e18`, whose squares are numbers in `f32`.
    LongRows,
    /// Rows of up to `1e36`, whose squares are not.
    HugeRows,
    /// All rows of all inputs equal.
    EqualRows,
    /// Rows that are their center, three times it, and opposite to it: cosines of 1 and -1, and one rounding error beside.
    RowsOnCenters,
    /// Rows at the angles where margins of up to 0.5 end, and one rounding error beside.
    AngleNearPi,
    /// Rows of one number.
    OneDimension,
    /// One class or identity in the whole batch.
    OneIdentity,
    /// No two rows of one identity.
    Strangers,
    /// Classes perfectly told apart, and perfectly confused.
    Separated,
    /// All logits equal, from `1e-30` to `1e30`.
    EqualLogits,
    /// Logits of `1e4` of either sign: sure and right, sure and wrong.
    SureLogits,
    /// Logits about where the exponential of `f32` and `f64` overflows and vanishes.
    OverflowingLogits,
    /// Logits of `1e30`.
    HugeLogits,
    /// Other classes masked with minus infinity.
    MaskedClasses,
    /// Predictions that equal their targets.
    ExactPredictions,
    /// Errors of up to `1e30`.
    HugeErrors,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 42] = [
        Self::PlainLoops,
        Self::BatchOrder,
        Self::ClassOrder,
        Self::Rotation,
        Self::Translation,
        Self::Length,
        Self::Perpendicular,
        Self::CenterLength,
        Self::LogitShift,
        Self::EmptyBatch,
        Self::OneRow,
        Self::NoLabel,
        Self::RowWithoutLabel,
        Self::OneClass,
        Self::NoPositive,
        Self::NanSpreads,
        Self::NanStays,
        Self::HalfPrecision,
        Self::MixedPrecision,
        Self::Views,
        Self::LabelTypes,
        Self::Reduction,
        Self::Evaluation,
        Self::Record,
        Self::Finite(Hostile::ZeroRows),
        Self::Finite(Hostile::TinyRows),
        Self::Finite(Hostile::LongRows),
        Self::Finite(Hostile::HugeRows),
        Self::Finite(Hostile::EqualRows),
        Self::Finite(Hostile::RowsOnCenters),
        Self::Finite(Hostile::AngleNearPi),
        Self::Finite(Hostile::OneDimension),
        Self::Finite(Hostile::OneIdentity),
        Self::Finite(Hostile::Strangers),
        Self::Finite(Hostile::Separated),
        Self::Finite(Hostile::EqualLogits),
        Self::Finite(Hostile::SureLogits),
        Self::Finite(Hostile::OverflowingLogits),
        Self::Finite(Hostile::HugeLogits),
        Self::Finite(Hostile::MaskedClasses),
        Self::Finite(Hostile::ExactPredictions),
        Self::Finite(Hostile::HugeErrors),
    ];

    /// Whether a loss of this kind is held to it.
    pub fn concerns(self, kind: Kind) -> bool {
        use Kind::{Center, Distance, Head, Logits, Numbers, Pairs, Probabilities, Proxy};
        match self {
            Self::PlainLoops
            | Self::EmptyBatch
            | Self::BatchOrder
            | Self::OneRow
            | Self::NanSpreads
            | Self::HalfPrecision
            | Self::Views
            | Self::Evaluation => true,
            Self::ClassOrder => matches!(kind, Head | Proxy | Center | Logits | Probabilities | Pairs),
            Self::Rotation
            | Self::Finite(Hostile::ZeroRows | Hostile::TinyRows | Hostile::LongRows)
            | Self::Finite(Hostile::HugeRows | Hostile::EqualRows | Hostile::OneDimension) => kind.has_embeddings(),
            Self::Length | Self::Perpendicular => kind.has_embeddings(),
            Self::CenterLength => matches!(kind, Head | Proxy | Center),
            Self::Translation => matches!(kind, Pairs | Center | Distance),
            Self::LogitShift => matches!(kind, Logits | Probabilities),
            Self::NoLabel | Self::RowWithoutLabel | Self::LabelTypes => {
                matches!(kind, Head | Proxy | Center | Pairs | Logits)
            }
            Self::OneClass => matches!(kind, Head | Proxy | Logits),
            Self::NoPositive => kind == Pairs,
            Self::NanStays => kind != Pairs,
            Self::MixedPrecision | Self::Record => matches!(kind, Head | Proxy | Center),
            Self::Reduction => !matches!(kind, Distance | Pairs),
            Self::Finite(Hostile::RowsOnCenters | Hostile::AngleNearPi) => matches!(kind, Head | Proxy),
            Self::Finite(Hostile::OneIdentity | Hostile::Strangers | Hostile::Separated) => {
                matches!(kind, Head | Proxy | Center | Pairs)
            }
            Self::Finite(
                Hostile::EqualLogits | Hostile::SureLogits | Hostile::OverflowingLogits | Hostile::HugeLogits,
            ) => matches!(kind, Logits | Probabilities),
            Self::Finite(Hostile::MaskedClasses) => kind == Logits,
            Self::Finite(Hostile::ExactPredictions | Hostile::HugeErrors) => kind == Numbers,
        }
    }
}
