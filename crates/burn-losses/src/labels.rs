//! Class labels: checked where they are made, made safe where they are used.
//!
//! On GPU backends a gather with an index that is out of range reads, and its backward writes, foreign memory without
//! a word. So labels are guarded twice:
//!
//! 1. [`labels_from_host`] checks them on the host, for free, and names the first bad one;
//! 2. every loss of this crate turns a bad label into class 0 before it indexes with it, and gives its row a loss and a
//!    gradient of exactly 0. [`count_bad`] counts such rows without a read-back: read it where you read the loss.
//!
//! [`LabelPolicy`] says which label means "no class" and whether a bad one should panic at once.

use core::fmt;

use burn::config::Config;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_losses_kernels::math::signed;

/// What the losses do about labels that name no class.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct LabelPolicy {
    /// A label that means "no class": its row has loss 0, gradient 0, and does not count in a mean. Often `-1`
    /// (samples whose class lives on another shard) or `-100` (PyTorch). It wins over a class of the same number.
    #[config(default = "None")]
    pub ignore_label: Option<i64>,
    /// Panics at the first label that is neither a class nor ignored. Reads the labels back in every forward: for
    /// finding a fault, not for training.
    #[config(default = false)]
    pub strict: bool,
}

impl Default for LabelPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Labels that are safe to index with.
#[derive(Clone, Debug)]
pub struct SafeLabels {
    /// The class of every row, in `0..classes`; 0 where `valid` is false. Shape `[batch]`.
    pub index: Tensor<1, Int>,
    /// Whether the row has a class. Shape `[batch]`.
    pub valid: Tensor<1, Bool>,
}

impl LabelPolicy {
    /// Makes labels safe to index with, on their device.
    ///
    /// # Shapes
    ///
    /// - labels: `[batch]`, of any integer type; numbers of 32 bits count
    ///
    /// # Panics
    ///
    /// If the policy is strict and a label is neither in `0..classes` nor the ignored one.
    pub fn sanitise(&self, labels: Tensor<1, Int>, classes: usize) -> SafeLabels {
        let labels = signed(labels);
        if self.strict {
            let host = labels.try_to_vec_as::<i64>().expect("labels are integers");
            if let Err(error) = check_labels(&host, classes, self.ignore_label) {
                panic!("{error}");
            }
        }
        let mut invalid = out_of_range(labels.clone(), classes);
        if let Some(ignore_label) = self.ignore_label {
            invalid = invalid.bool_or(labels.clone().equal_scalar(ignore_label));
        }
        SafeLabels { index: labels.mask_fill(invalid.clone(), 0), valid: invalid.bool_not() }
    }

    /// # Panics
    ///
    /// If the ignored label does not fit the 32-bit integers of GPU backends.
    pub(crate) fn validate(&self, loss: &str) {
        if let Some(label) = self.ignore_label {
            assert!(i32::try_from(label).is_ok(), "{loss}: labels.ignore_label must be a 32-bit integer, got {label}");
        }
    }
}

/// How many labels are neither in `0..classes` nor the ignored one, as a tensor that stays on the device.
///
/// # Shapes
///
/// - labels: `[batch]`
/// - output: `[1]`
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::labels::count_bad;
///
/// let labels = Tensor::<1, Int>::from_ints([0, 7, -1, 2], &Device::default());
/// assert_eq!(count_bad(labels.clone(), 3, None).into_scalar::<i64>(), 2);
/// assert_eq!(count_bad(labels, 3, Some(-1)).into_scalar::<i64>(), 1);
/// ```
pub fn count_bad(labels: Tensor<1, Int>, classes: usize, ignore_label: Option<i64>) -> Tensor<1, Int> {
    let labels = signed(labels);
    let mut bad = out_of_range(labels.clone(), classes);
    if let Some(ignore_label) = ignore_label {
        bad = bad.bool_and(labels.not_equal_scalar(ignore_label));
    }
    bad.int().sum()
}

/// Labels on `device`, after a check on the host.
///
/// # Errors
///
/// [`LabelError`] for the first label that is neither in `0..classes` nor the ignored one.
///
/// ```
/// use burn::tensor::Device;
/// use burn_losses::labels::labels_from_host;
///
/// let labels = labels_from_host(&[2, 0, -1], 3, Some(-1), &Device::default()).unwrap();
/// assert_eq!(labels.dims(), [3]);
///
/// let error = labels_from_host(&[2, 3], 3, None, &Device::default()).unwrap_err();
/// assert_eq!(error.to_string(), "label 1 is 3, which is not a class: there are 3 classes, 0 to 2");
/// ```
pub fn labels_from_host(
    labels: &[i64],
    classes: usize,
    ignore_label: Option<i64>,
    device: &Device,
) -> Result<Tensor<1, Int>, LabelError> {
    check_labels(labels, classes, ignore_label)?;
    Ok(Tensor::from_data(TensorData::from(labels), device))
}

/// Checks labels on the host.
///
/// # Errors
///
/// [`LabelError`] for the first label that is neither in `0..classes` nor the ignored one, or that does not fit the
/// 32-bit integers of GPU backends.
pub fn check_labels(labels: &[i64], classes: usize, ignore_label: Option<i64>) -> Result<(), LabelError> {
    let is_good = |label: i64| {
        let is_class = usize::try_from(label).is_ok_and(|label| label < classes);
        (is_class || Some(label) == ignore_label) && i32::try_from(label).is_ok()
    };
    match labels.iter().position(|&label| !is_good(label)) {
        None => Ok(()),
        Some(index) => Err(LabelError { index, value: labels[index], classes }),
    }
}

/// A label that names no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelError {
    /// Where the label stands in its batch.
    pub index: usize,
    /// The label.
    pub value: i64,
    /// How many classes there are.
    pub classes: usize,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, value, classes } = self;
        if usize::try_from(*value).is_ok_and(|value| value < *classes) {
            return write!(f, "label {index} is {value}, which does not fit the 32 bits of a label");
        }
        match classes.checked_sub(1) {
            Some(last) => {
                write!(f, "label {index} is {value}, which is not a class: there are {classes} classes, 0 to {last}")
            }
            None => write!(f, "label {index} is {value}, but there are no classes"),
        }
    }
}

impl core::error::Error for LabelError {}

/// Rows without a class become 0, whatever was in them: a NaN there would otherwise reach what they are compared with.
pub(crate) fn silence(rows: Tensor<2>, valid: Tensor<1, Bool>) -> Tensor<2> {
    let dims = rows.dims();
    rows.mask_fill(valid.bool_not().unsqueeze_dim::<2>(1).expand(dims), 0.0)
}

fn out_of_range(labels: Tensor<1, Int>, classes: usize) -> Tensor<1, Bool> {
    let negative = labels.clone().lower_scalar(0);
    negative.bool_or(labels.greater_equal_scalar(classes as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn safe(policy: LabelPolicy, labels: &[i64], classes: usize) -> (alloc::vec::Vec<i64>, alloc::vec::Vec<bool>) {
        let labels = Tensor::from_data(TensorData::from(labels), &Device::flex());
        let SafeLabels { index, valid } = policy.sanitise(labels, classes);
        let index = index.try_into_vec_as::<i64>().unwrap();
        (index, valid.try_into_vec_as::<bool>().unwrap())
    }

    #[test]
    fn labels_out_of_range_become_class_zero_and_invalid() {
        let labels = [2, -1, 3, i64::from(i32::MAX), i64::from(i32::MIN), 0];
        let (index, valid) = safe(LabelPolicy::new(), &labels, 3);

        assert_eq!(index, [2, 0, 0, 0, 0, 0]);
        assert_eq!(valid, [true, false, false, false, false, true]);
    }

    #[test]
    fn an_ignored_label_wins_over_the_class_of_its_number() {
        let (_, valid) = safe(LabelPolicy::new().with_ignore_label(Some(1)), &[0, 1, 2], 3);

        assert_eq!(valid, [true, false, true]);
    }

    #[test]
    #[should_panic(expected = "label 1 is 5, which is not a class: there are 3 classes, 0 to 2")]
    fn a_strict_policy_panics_with_place_value_and_range() {
        safe(LabelPolicy::new().with_strict(true), &[0, 5], 3);
    }

    #[test]
    fn the_host_check_names_the_first_bad_label() {
        let too_large = i64::from(i32::MAX) + 1;
        let error = check_labels(&[0, too_large], usize::MAX, None).unwrap_err();

        assert_eq!((error.index, error.value), (1, too_large));
        assert_eq!(error.to_string(), "label 1 is 2147483648, which does not fit the 32 bits of a label");
        assert_eq!(check_labels(&[-1], 2, Some(-1)), Ok(()));
        assert_eq!(check_labels(&[0], 0, None).unwrap_err().to_string(), "label 0 is 0, but there are no classes");
    }
}
