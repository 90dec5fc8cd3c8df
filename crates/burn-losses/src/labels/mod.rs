//! Class labels: checked where they are made, checked again where they are used, and never wrong in silence.
//!
//! A class label is a number from 0 to `classes - 1`. On GPU backends a gather with an index that is out of range reads,
//! and its backward writes, foreign memory without a word. So every loss of this crate turns a label that is no class into
//! class 0 before it indexes with it and gives its row a loss and a gradient of exactly 0. That is right for a row that has
//! no class, which the label [`LabelPolicy::ignore_label`] says, -1 unless you choose another. Any other number is a mistake
//! in the data, most often labels that start at 1, and [`OnBadLabel`] says what happens:
//!
//! - **[`Panic`](OnBadLabel::Panic)**, the default. Where labels lie in the memory of the host (Burn's flex and ndarray) the
//!   forward looks at them, which costs nothing, and panics:
//!   `ArcFace: labels[9] is 10, but there are 10 classes, 0-based (0 to 9)`.
//!   On other devices a look would wait for the device. There every forward notes the largest and the smallest bad label on
//!   the device, and a thread of its own reads the note from time to time (after the forwards 1, 2, 4, 8 and so on up to
//!   every 1024th), as Burn's own metrics are read; the first forward after a bad label was read panics with the same words.
//!   That is done on the devices of CubeCL (CUDA, ROCm, Metal, Vulkan, wgpu), not on wasm and not without `std`.
//! - **[`Ignore`](OnBadLabel::Ignore)**: the row counts as one without a class.
//!
//! In both cases [`count_bad`] counts the bad labels of a batch in a tensor that stays on the device, and the metric
//! `Bad labels` of [`diagnostics`](crate::diagnostics) reads it where Burn's training loop reads the loss. Burn 0.22 has no
//! read that can be asked whether it is done: on a native GPU backend a tensor's data is copied, and waited for, when its
//! bytes are first touched. So on LibTorch, on a remote device, on wasm and without `std` these two are how to know.
//!
//! [`labels_from_host`] checks labels before they go to a device, for free, and returns an error instead.
//!
//! Losses of pairs take **identities** instead of classes: any number, of which only equality matters, and a negative one is
//! in no pair. On flex and ndarray they may have up to 63 bits in any integer type. Other devices compare integers of 32
//! bits: there an unsigned identity of `2^31` or more counts as negative.

mod error;
mod watch;

use burn::config::Config;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_losses_kernels::math::{in_host_memory, signed};

pub use error::LabelError;
pub(crate) use watch::ClassLabels;

/// What a loss does about a label that is neither a class nor the ignored one.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum OnBadLabel {
    /// Panics and names the label: at once where labels lie in host memory, in a later forward on other devices.
    Panic,
    /// Takes the row for one without a class: loss 0, gradient 0, not counted in a mean.
    Ignore,
}

/// Which label means "no class", and what the losses do about labels that mean nothing.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::{ArcFaceConfig, CentersConfig};
/// use burn_losses::labels::{LabelPolicy, OnBadLabel};
///
/// // As PyTorch: -100 means "no class".
/// let policy = LabelPolicy::new().with_ignore_label(Some(-100));
/// // Rows whose label is no class at all are left out without a word.
/// let policy = policy.with_on_bad_label(OnBadLabel::Ignore);
/// let config = ArcFaceConfig::new(10, 4).with_centers(CentersConfig::new().with_labels(policy));
///
/// let device = Device::default();
/// let labels = Tensor::<1, Int>::from_ints([-100, 10], &device);
/// assert_eq!(config.init(&device).forward(Tensor::ones([2, 4], &device), labels).into_scalar::<f32>(), 0.0);
/// ```
#[derive(Config, Debug, PartialEq, Eq)]
pub struct LabelPolicy {
    /// A label that means "no class": its row has loss 0, gradient 0, and does not count in a mean. It wins over a class of
    /// the same number. `None`: every row must have a class.
    /// Default: `Some(-1)`.
    #[config(default = "Some(-1)")]
    pub ignore_label: Option<i64>,
    /// What a loss does about a label that is neither a class nor the ignored one.
    /// Default: `OnBadLabel::Panic`.
    #[config(default = "OnBadLabel::Panic")]
    pub on_bad_label: OnBadLabel,
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

impl SafeLabels {
    /// The class of every row, -1 where it has none.
    pub(crate) fn index_or_none(&self) -> Tensor<1, Int> {
        self.index.clone().mask_fill(self.valid.clone().bool_not(), -1)
    }
}

impl LabelPolicy {
    /// Makes labels safe to index with, on their device. `loss` is what a panic names.
    ///
    /// On a device without host memory a bad label is left out, whatever the policy: ask [`count_bad`].
    ///
    /// # Shapes
    ///
    /// - labels: `[batch]`, of any integer type
    ///
    /// # Panics
    ///
    /// By the policy, if a label in host memory is neither in `0..classes` nor the ignored one.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_losses::labels::LabelPolicy;
    ///
    /// let labels = Tensor::<1, Int>::from_ints([2, -1, 0], &Device::default());
    /// let safe = LabelPolicy::new().sanitise("MyLoss", labels, 3);
    /// assert_eq!(safe.index.try_into_vec_as::<i64>().unwrap(), [2, 0, 0]);
    /// assert_eq!(safe.valid.try_into_vec_as::<bool>().unwrap(), [true, false, true]);
    /// ```
    #[track_caller]
    pub fn sanitise(&self, loss: &str, labels: Tensor<1, Int>, classes: usize) -> SafeLabels {
        if self.on_bad_label == OnBadLabel::Panic
            && in_host_memory(&labels.device())
            && let Some(error) = first_bad(&labels.to_data(), classes, self.ignore_label)
        {
            panic!("{loss}: {error}");
        }
        self.safe(signed(labels), classes)
    }

    /// Signed labels, without a look at them on the host.
    fn safe(&self, labels: Tensor<1, Int>, classes: usize) -> SafeLabels {
        let mut invalid = out_of_range(labels.clone(), classes);
        if let Some(ignore_label) = self.ignore_label {
            invalid = invalid.bool_or(labels.clone().equal_scalar(ignore_label));
        }
        SafeLabels { index: labels.mask_fill(invalid.clone(), 0), valid: invalid.bool_not() }
    }

    /// # Panics
    ///
    /// If the ignored label does not fit the 32-bit integers of GPU backends.
    #[track_caller]
    fn validate(&self, loss: &str) {
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
    bad(signed(labels), classes, ignore_label).int().sum()
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
/// assert_eq!(error.to_string(), "labels[1] is 3, but there are 3 classes, 0-based (0 to 2)");
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
    let fitting = classes.min(1 << 31);
    let labels = labels.iter().map(|&label| label.into());
    first_bad_of(labels, fitting, ignore_label).map_or(Ok(()), |error| Err(LabelError { classes, ..error }))
}

/// The first label that is neither a class nor the ignored one.
fn first_bad(labels: &TensorData, classes: usize, ignore_label: Option<i64>) -> Option<LabelError> {
    let first = |labels: &mut dyn Iterator<Item = i128>| first_bad_of(labels, classes, ignore_label);
    match labels.dtype() {
        DType::I32 => first(&mut labels.iter::<i32>().map(i128::from)),
        DType::U64 => first(&mut labels.iter::<u64>().map(i128::from)),
        _ => first(&mut labels.iter::<i64>().map(i128::from)),
    }
}

fn first_bad_of(labels: impl Iterator<Item = i128>, classes: usize, ignore_label: Option<i64>) -> Option<LabelError> {
    let (range, ignored) = (0..classes as i128, ignore_label.map(i128::from));
    let is_bad = |label: &i128| !range.contains(label) && Some(*label) != ignored;
    let found = labels.enumerate().find(|(_, label)| is_bad(label));
    found.map(|(index, value)| LabelError { index, value, classes, ignore_label })
}

/// Rows without a class become 0, whatever was in them: a NaN there would otherwise reach what they are compared with.
pub(crate) fn silence(rows: Tensor<2>, valid: Tensor<1, Bool>) -> Tensor<2> {
    let dims = rows.dims();
    // Most often there is none. In host memory a look waits for nothing, and saves two passes over all rows.
    if in_host_memory(&valid.device()) && valid.clone().all().into_scalar::<bool>() {
        return rows;
    }
    rows.mask_fill(valid.bool_not().unsqueeze_dim::<2>(1).expand(dims), 0.0)
}

fn bad(labels: Tensor<1, Int>, classes: usize, ignore_label: Option<i64>) -> Tensor<1, Bool> {
    let bad = out_of_range(labels.clone(), classes);
    match ignore_label {
        Some(ignore_label) => bad.bool_and(labels.not_equal_scalar(ignore_label)),
        None => bad,
    }
}

fn out_of_range(labels: Tensor<1, Int>, classes: usize) -> Tensor<1, Bool> {
    let negative = labels.clone().lower_scalar(0);
    negative.bool_or(labels.greater_equal_scalar(classes as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn tensor(labels: &[i64], dtype: DType) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(labels), (&Device::flex(), dtype))
    }

    fn safe(policy: LabelPolicy, labels: &[i64], classes: usize) -> (Vec<i64>, Vec<bool>) {
        let SafeLabels { index, valid } = policy.sanitise("ArcFace", tensor(labels, DType::I64), classes);
        let index = index.try_into_vec_as::<i64>().unwrap();
        (index, valid.try_into_vec_as::<bool>().unwrap())
    }

    #[test]
    fn labels_out_of_range_become_class_zero_and_invalid() {
        let labels = [2, -1, 3, i64::MAX, i64::MIN, 0];
        let (index, valid) = safe(LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore), &labels, 3);

        assert_eq!(index, [2, 0, 0, 0, 0, 0]);
        assert_eq!(valid, [true, false, false, false, false, true]);
    }

    #[test]
    fn an_ignored_label_wins_over_the_class_of_its_number() {
        let (_, valid) = safe(LabelPolicy::new().with_ignore_label(Some(1)), &[0, 1, 2], 3);

        assert_eq!(valid, [true, false, true]);
    }

    #[test]
    #[should_panic(expected = "ArcFace: labels[9] is 10, but there are 10 classes, 0-based (0 to 9)")]
    fn labels_that_start_at_one_are_named() {
        safe(LabelPolicy::new(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10);
    }

    #[test]
    #[should_panic(
        expected = "ArcFace: labels[1] is -2, but there are 3 classes, 0-based (0 to 2), and labels.ignore_label is -1"
    )]
    fn only_the_ignored_negative_label_is_no_class() {
        safe(LabelPolicy::new(), &[-1, -2], 3);
    }

    /// Of these types, `as i64` would make the label -1, which is ignored.
    #[test]
    fn an_unsigned_label_is_never_the_ignored_one() {
        for (dtype, label) in
            [(DType::U8, 255), (DType::U16, 65_535), (DType::U32, u64::from(u32::MAX)), (DType::U64, u64::MAX)]
        {
            let labels = Tensor::<1, Int>::from_data(TensorData::from([label]), (&Device::flex(), dtype));
            let error = first_bad(&labels.into_data(), 3, Some(-1)).expect("a bad label");
            assert_eq!(error.value, i128::from(label));
        }
    }

    #[test]
    fn the_host_check_names_the_first_bad_label() {
        let too_large = i64::from(i32::MAX) + 1;
        let error = check_labels(&[0, too_large], usize::MAX, None).unwrap_err();

        assert_eq!((error.index, error.value), (1, i128::from(too_large)));
        assert_eq!(error.to_string(), "labels[1] is 2147483648, which does not fit the 32 bits of a label");
        assert_eq!(check_labels(&[-1], 2, Some(-1)), Ok(()));
        assert_eq!(check_labels(&[0], 0, None).unwrap_err().to_string(), "labels[0] is 0, but there are no classes");
    }
}
