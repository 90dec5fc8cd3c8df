use std::error::Error;
use std::fmt;

/// Why a metric has no value for the data it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EvalError {
    /// There is nothing to evaluate.
    Empty {
        /// Name of the empty argument.
        what: &'static str,
    },
    /// Two arguments that belong together have different lengths.
    LengthMismatch {
        /// Name of the argument with the wrong length.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        actual: usize,
    },
    /// A value is NaN or infinite.
    NotFinite {
        /// Name of the argument.
        what: &'static str,
        /// Position in the argument.
        index: usize,
        /// The value there.
        value: f64,
    },
    /// No pair is of the same person, so there is no true accept rate.
    NoGenuinePairs {
        /// Number of pairs, all of them impostor pairs.
        pairs: usize,
    },
    /// No pair is of different people, so there is no false accept rate.
    NoImpostorPairs {
        /// Number of pairs, all of them genuine pairs.
        pairs: usize,
    },
    /// The wanted false accept rate is not strictly between 0 and 1.
    InvalidTarget {
        /// The wanted false accept rate.
        target: f64,
    },
    /// A threshold chosen on the other folds needs at least two folds.
    TooFewFolds {
        /// Number of folds.
        folds: usize,
    },
    /// Some folds would be empty.
    MoreFoldsThanPairs {
        /// Number of folds.
        folds: usize,
        /// Number of pairs.
        pairs: usize,
    },
    /// The pairs outside a fold are all genuine or all impostors, so no threshold can be chosen.
    OneSidedTraining {
        /// Number of the fold left out.
        fold: usize,
        /// Genuine pairs outside that fold.
        genuine: usize,
        /// Impostor pairs outside that fold.
        impostors: usize,
    },
    /// The pairs in a fold are all genuine or all impostors, so one of its rates is missing.
    OneSidedFold {
        /// Number of the fold.
        fold: usize,
        /// Genuine pairs in it.
        genuine: usize,
        /// Impostor pairs in it.
        impostors: usize,
    },
    /// There are fewer than two resamples, or the level is not strictly between 0 and 1.
    InvalidBootstrap {
        /// How many resamples.
        resamples: usize,
        /// The share of them inside the interval.
        level: f64,
    },
    /// Row-major embeddings do not divide into rows of `dim` values.
    InvalidDim {
        /// Values per row.
        dim: usize,
        /// Number of values.
        values: usize,
    },
    /// No query has a reference with its label, so nothing can be found.
    NoRelevantReference {
        /// Number of queries.
        queries: usize,
    },
    /// A search needs probes of people in the gallery and probes of others.
    OneSidedProbes {
        /// Probes whose label is in the gallery.
        mated: usize,
        /// Probes whose label is not.
        unmated: usize,
    },
    /// A gallery has a label in two rows, so it is not clear which of them is to be found.
    RepeatedLabel {
        /// The label.
        label: usize,
    },
    /// A pair needs two rows.
    TooFewRows {
        /// Number of rows.
        rows: usize,
    },
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty { what } => write!(f, "{what} must not be empty, got 0 items"),
            Self::LengthMismatch { what, expected, actual } => {
                write!(f, "{what} must have {expected} items, got {actual}")
            }
            Self::NotFinite { what, index, value } => {
                write!(f, "{what}[{index}] must be finite, got {value}")
            }
            Self::NoGenuinePairs { pairs } => {
                write!(f, "0 of {pairs} pairs are genuine, at least 1 is needed")
            }
            Self::NoImpostorPairs { pairs } => {
                write!(f, "0 of {pairs} pairs are impostors, at least 1 is needed")
            }
            Self::InvalidTarget { target } => write!(f, "target false accept rate must be > 0 and < 1, got {target}"),
            Self::TooFewFolds { folds } => write!(f, "at least 2 folds are needed, got {folds}"),
            Self::MoreFoldsThanPairs { folds, pairs } => {
                write!(f, "{folds} folds need at least {folds} pairs, got {pairs}")
            }
            Self::OneSidedTraining { fold, genuine, impostors } => write!(
                f,
                "the pairs outside fold {fold} must be of both kinds, \
                 got {genuine} genuine and {impostors} impostors"
            ),
            Self::OneSidedFold { fold, genuine, impostors } => {
                write!(f, "fold {fold} must have pairs of both kinds, got {genuine} genuine and {impostors} impostors")
            }
            Self::InvalidBootstrap { resamples, level } => {
                write!(f, "a bootstrap needs at least 2 resamples and a level > 0 and < 1, got {resamples} and {level}")
            }
            Self::InvalidDim { dim, values } => {
                write!(f, "{values} values do not divide into rows of {dim}")
            }
            Self::NoRelevantReference { queries } => {
                write!(f, "0 of {queries} queries have a reference with their label, at least 1 is needed")
            }
            Self::OneSidedProbes { mated, unmated } => write!(
                f,
                "the probes must be of both kinds, got {mated} with a label of the gallery and {unmated} without"
            ),
            Self::RepeatedLabel { label } => write!(f, "the gallery must have each label once, got {label} twice"),
            Self::TooFewRows { rows } => write!(f, "a pair needs at least 2 rows, got {rows}"),
        }
    }
}

impl Error for EvalError {}
