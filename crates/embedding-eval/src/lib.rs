//! Verification and retrieval metrics for embeddings, on plain slices and without dependencies.
//!
//! A *pair* is two samples, with a score (**higher = more similar**) and a flag: `true` for a
//! genuine pair (the same person), `false` for an impostor pair. One rule decides everywhere:
//!
//! ```text
//! accepted            = score >= threshold
//! false accept rate   = FAR = accepted impostor pairs / impostor pairs
//! true accept rate    = TAR = accepted genuine pairs  / genuine pairs
//! false reject rate   = FRR = 1 - TAR
//! ```
//!
//! | question | answer |
//! | --- | --- |
//! | how similar are two embeddings, or all of them? | [`cosine_similarity`], [`all_pairs`] |
//! | is an image in the set twice? | [`identical_rows`] |
//! | how do FAR and TAR move with the threshold? | [`roc`], [`Roc::points`], [`Roc::at`] |
//! | one number over all thresholds? | [`Roc::area`], [`Roc::equal_error_rate`] |
//! | how many are recognised at one false accept in a thousand? | [`Roc::tar_at_far`] |
//! | the LFW protocol? | [`contiguous_folds`], [`k_fold_accuracy`] |
//! | the same as InsightFace prints it, on its grid? | [`insightface_accuracy`], [`insightface_val_at_far`] |
//! | TAR at FAR with thresholds of other folds? | [`k_fold_tar_at_far`] |
//! | how far off may these figures be? | [`bootstrap_over_people`] |
//! | have near neighbours the same label: recall@k, R-precision, MAP@R? | [`retrieval`], [`retrieval_among`] |
//! | who of a gallery is it: rank 1, CMC? | [`templates`], [`identification`], [`Identification::recognised_within`] |
//! | and if it may be nobody of them: FNIR at a given FPIR? | [`Identification::fnir_at_fpir`] |
//!
//! ```
//! use embedding_eval::{ScoredPairs, contiguous_folds, k_fold_accuracy, roc};
//!
//! let scores = [0.9, 0.2, 0.8, 0.3, 0.4, 0.6];
//! let same = [true, false, true, false, true, false];
//! let pairs = ScoredPairs::new(&scores, &same)?;
//!
//! let curve = roc(pairs)?;
//! assert_eq!(curve.area(), 8.0 / 9.0);
//! assert_eq!(curve.tar_at_far(0.1)?.tar, 2.0 / 3.0);
//!
//! let accuracy = k_fold_accuracy(pairs, &contiguous_folds(6, 3)?)?;
//! assert_eq!(accuracy.folds.len(), 3);
//! # Ok::<(), embedding_eval::EvalError>(())
//! ```
//!
//! Everything is exact (but `insightface_*`, which keep to its grids): every distinct score is a candidate threshold
//! (no grid), equal scores are accepted or rejected together, and errors are counted in integers. Bad data, NaN and
//! infinity included, is an [`EvalError`].
//!
//! # Memory
//!
//! Scores and flags take 9 bytes a pair. On top of these, [`roc`] needs at most 32 bytes a pair
//! while it works, of which the [`Roc`] keeps 24, and [`k_fold_accuracy`] needs 24 beside the 8 of
//! the fold numbers. Ten million pairs stay below 1 GiB with everything alive at once.

#![forbid(unsafe_code)]

mod accuracy;
mod bootstrap;
mod error;
mod folds;
mod identification;
mod insightface;
mod pairs;
mod retrieval;
mod roc;
mod similarity;
mod tar_over_folds;
mod verification;

pub use accuracy::{FoldAccuracy, KFoldAccuracy, k_fold_accuracy};
pub use bootstrap::{Bootstrap, BootstrapIntervals, Interval, bootstrap_over_people};
pub use error::EvalError;
pub use folds::contiguous_folds;
pub use identification::{FnirAtFpir, Identification, MatedProbe, Templates, UnmatedProbe, identification, templates};
pub use insightface::{insightface_accuracy, insightface_val_at_far};
pub use pairs::ScoredPairs;
pub use retrieval::{LabelledRows, QueryRetrieval, Retrieval, retrieval, retrieval_among};
pub use roc::{Roc, RocPoint, roc};
pub use similarity::{AllPairs, Nearness, all_pairs, cosine_similarity, identical_rows};
pub use tar_over_folds::{FoldTar, KFoldTar, k_fold_tar_at_far};
pub use verification::{EqualErrorRate, ImpostorSupport, TarAtFar};

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
