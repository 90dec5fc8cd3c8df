use alloc::string::{String, ToString};
use core::fmt;

use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::on_cubecl;
#[cfg(feature = "std")]
use burn_losses_kernels::math::signed;

use super::{LabelPolicy, OnBadLabel, SafeLabels, count_bad};

/// The labels of one loss: its policy, and what it has seen of labels that it cannot look at without waiting.
#[derive(Clone)]
pub(crate) struct ClassLabels {
    loss: String,
    policy: LabelPolicy,
    /// Shared by clones; not saved.
    #[cfg(feature = "std")]
    seen: alloc::sync::Arc<std::sync::Mutex<Seen>>,
}

impl ClassLabels {
    /// `loss` is what messages name.
    ///
    /// # Panics
    ///
    /// If the ignored label does not fit the 32-bit integers of GPU backends.
    #[track_caller]
    pub(crate) fn new(loss: &str, policy: &LabelPolicy) -> Self {
        policy.validate(loss);
        Self {
            loss: loss.to_string(),
            policy: policy.clone(),
            #[cfg(feature = "std")]
            seen: Default::default(),
        }
    }

    /// What messages name.
    pub(crate) fn loss(&self) -> &str {
        &self.loss
    }

    /// Makes labels safe to index with.
    ///
    /// # Panics
    ///
    /// By the policy, if a label is no class: one of these in host memory, one of an earlier call elsewhere.
    #[track_caller]
    pub(crate) fn check(&self, labels: Tensor<1, Int>, classes: usize) -> SafeLabels {
        if self.policy.on_bad_label == OnBadLabel::Panic && on_cubecl(&labels.device()) {
            self.watch(&labels, classes);
        }
        self.policy.sanitise(&self.loss, labels, classes)
    }

    /// How many labels are neither a class nor the ignored one, `[1]`; stays on the device.
    pub(crate) fn count_bad(&self, labels: Tensor<1, Int>, classes: usize) -> Tensor<1, Int> {
        count_bad(labels, classes, self.policy.ignore_label)
    }

    #[cfg(not(feature = "std"))]
    fn watch(&self, _labels: &Tensor<1, Int>, _classes: usize) {}

    #[cfg(feature = "std")]
    #[track_caller]
    fn watch(&self, labels: &Tensor<1, Int>, classes: usize) {
        let labels = signed(labels.clone().without_autodiff());
        // The lock is free again when a message is raised. A panic elsewhere leaves nothing half done here.
        let found =
            self.seen.lock().unwrap_or_else(|error| error.into_inner()).note(labels, classes, self.policy.ignore_label);
        if let Some(value) = found {
            let ignore_label = self.policy.ignore_label;
            let error = super::LabelError { index: 0, value: value.into(), classes, ignore_label };
            let mut classes = String::new();
            error.classes(&mut classes).expect("a string takes everything");
            panic!("{}: a label of an earlier batch is {value}, but {classes}", self.loss);
        }
    }
}

/// Printed with a module.
impl fmt::Debug for ClassLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.policy, f)
    }
}

/// Bad labels of past forwards, noted on their device and read by another thread.
///
/// Burn 0.22 has no read that can be asked whether it is done: the data of a tensor on a GPU is waited for when its bytes
/// are first touched. So a thread waits, as one of Burn's training loop does for its metrics.
#[cfg(feature = "std")]
#[derive(Debug, Default)]
struct Seen {
    forwards: u64,
    /// The largest and the smallest bad label so far, `[1]` each; 0 where there was none.
    extremes: Option<[Tensor<1, Int>; 2]>,
    reader: Option<std::thread::JoinHandle<Option<i64>>>,
}

#[cfg(feature = "std")]
impl Seen {
    /// Between two reads there are at most so many forwards.
    const LONGEST_PAUSE: u64 = 1024;

    /// Takes note of a batch; a bad label of an earlier one, if the last read found it.
    fn note(&mut self, labels: Tensor<1, Int>, classes: usize, ignore_label: Option<i64>) -> Option<i64> {
        let found = self.reader.take_if(|reader| reader.is_finished()).and_then(|reader| reader.join().ok().flatten());
        if found.is_some() {
            // The next message is about labels that come after this one.
            self.extremes = None;
            return found;
        }
        if labels.dims() == [0] {
            return None;
        }
        let good = super::bad(labels.clone(), classes, ignore_label).bool_not();
        let bad = labels.mask_fill(good, 0);
        let [mut largest, mut smallest] = [bad.clone().max(), bad.min()];
        // A replica on another device begins anew.
        if let Some([largest_yet, smallest_yet]) = self.extremes.take()
            && largest_yet.device() == largest.device()
            && largest_yet.dtype() == largest.dtype()
        {
            largest = largest.max_pair(largest_yet);
            smallest = smallest.min_pair(smallest_yet);
        }
        self.forwards += 1;
        if self.reader.is_none()
            && (self.forwards.is_power_of_two() || self.forwards.is_multiple_of(Self::LONGEST_PAUSE))
        {
            let both = Tensor::cat(alloc::vec![largest.clone(), smallest.clone()], 0);
            let read = move || {
                let [largest, smallest] = both.try_into_vec_as::<i64>().ok()?.try_into().ok()?;
                [largest, smallest].into_iter().find(|&label| label != 0)
            };
            // Without a thread to be had there is no message; the metric has the count.
            self.reader = std::thread::Builder::new().name("labels".to_string()).spawn(read).ok();
        }
        self.extremes = Some([largest, smallest]);
        None
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use alloc::format;
    use burn::tensor::Device;
    use std::time::{Duration, Instant};

    fn labels(labels: [i64; 3]) -> Tensor<1, Int> {
        Tensor::from_data(labels, &Device::flex())
    }

    /// What a later forward says of a label among good ones, as on a device that cannot be looked at; flex stands in for it.
    fn report_of(label: i64) -> String {
        let watched = ClassLabels::new("ArcFace", &LabelPolicy::new());
        watched.watch(&labels([0, 9, -1]), 10);
        watched.watch(&labels([1, label, 3]), 10);
        // By the fourth forward the next read begins; how long it takes is up to the machine.
        let began = Instant::now();
        let message = loop {
            let look = std::panic::AssertUnwindSafe(|| watched.watch(&labels([0, 1, 2]), 10));
            if let Err(message) = std::panic::catch_unwind(look) {
                break message;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "nothing was said");
            std::thread::yield_now();
        };
        message.downcast_ref::<String>().expect("a message").clone()
    }

    #[test]
    fn a_bad_label_is_reported_by_a_later_forward() {
        let bad = "ArcFace: a label of an earlier batch is";
        assert_eq!(report_of(10), format!("{bad} 10, but there are 10 classes, 0-based (0 to 9)"));
        assert_eq!(
            report_of(-7),
            format!("{bad} -7, but there are 10 classes, 0-based (0 to 9), and labels.ignore_label is -1")
        );
    }

    #[test]
    fn good_and_ignored_labels_are_never_reported() {
        let watched = ClassLabels::new("ArcFace", &LabelPolicy::new());
        let mut reads = 0;
        for _ in 0..40 {
            watched.watch(&labels([0, 9, -1]), 10);
            reads += usize::from(watched.seen.lock().unwrap().reader.is_some());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(reads > 0);
    }
}
