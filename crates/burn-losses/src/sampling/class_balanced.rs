use alloc::vec::Vec;

use burn::config::Config;

use super::shuffle::{Deck, Random, samples_of_classes};
use super::{BatchPlan, SamplingError};

/// Settings of [`ClassBalanced`].
#[derive(Config, Debug)]
pub struct ClassBalancedConfig {
    /// How many classes are in a batch (P); `>= 1`, and 2 or more for negatives.
    pub classes_per_batch: usize,
    /// How many samples of each (K); `>= 1`, and 2 or more for positives.
    pub samples_per_class: usize,
    /// How many batches an epoch has; `>= 1`. By default as many as fit into the number of samples, but one at least.
    /// Default: `None`.
    #[config(default = "None")]
    pub batches_per_epoch: Option<usize>,
    /// What the order follows from, together with the number of the epoch.
    /// Default: `0`.
    #[config(default = 0)]
    pub seed: u64,
}

impl ClassBalancedConfig {
    /// The plan for samples with these labels; a label is any number from 0.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, a label is negative, or there are fewer classes than a batch needs.
    #[track_caller]
    pub fn init(&self, labels: &[i64]) -> Result<ClassBalanced, SamplingError> {
        let Self { classes_per_batch, samples_per_class, batches_per_epoch, seed } = *self;
        let fields = [
            ("classes_per_batch", classes_per_batch),
            ("samples_per_class", samples_per_class),
            ("batches_per_epoch", batches_per_epoch.unwrap_or(1)),
        ];
        for (field, value) in fields {
            if value == 0 {
                return Err(SamplingError::Setting { sampler: "ClassBalanced", field, range: ">= 1", value });
            }
        }
        let classes: Vec<Vec<usize>> = samples_of_classes(labels)?.into_iter().map(|(_, samples)| samples).collect();
        if classes.len() < classes_per_batch {
            return Err(SamplingError::TooFewClasses { found: classes.len(), needed: classes_per_batch });
        }
        let batches = (labels.len() / (classes_per_batch * samples_per_class)).max(1);
        let batches = batches_per_epoch.unwrap_or(batches);

        Ok(ClassBalanced { classes, classes_per_batch, samples_per_class, batches, seed, samples: labels.len() })
    }
}

/// Batches of `classes_per_batch` classes with `samples_per_class` samples each, those of a class side by side.
///
/// Within an epoch every class is used before any comes a second time, and every sample of a class before any of them
/// comes a second time; so a class with fewer than `samples_per_class` samples repeats them within its batch, and no
/// other class does. No class is in a batch twice. An epoch has `batches_per_epoch` batches, by default
/// `samples / (classes_per_batch·samples_per_class)` rounded down: with classes of equal size an epoch then uses nearly
/// every sample once, with unequal ones the small classes are used more often than the large, which is the purpose.
///
/// # When to take it
///
/// For every loss of pairs and triplets: in a batch drawn at random most anchors have no positive. A head or a loss of
/// proxies does not need it: shuffle there. For groups of classes take [`Hierarchical`](super::Hierarchical).
///
/// # Source
///
/// Hermans, Beyer, Leibe: [In Defense of the Triplet Loss](https://arxiv.org/abs/1703.07737), 2017, section 2, the
/// PK batches.
///
/// # Example
///
/// ```
/// use burn_losses::sampling::ClassBalancedConfig;
///
/// let labels = [4, 4, 4, 9, 9, 0, 0, 0, 0];
/// let plan = ClassBalancedConfig::new(2, 2).with_seed(7).init(&labels).unwrap();
/// let batches = plan.epoch(0);
/// assert_eq!(batches.len(), 2);
/// for batch in batches {
///     let classes: Vec<i64> = batch.iter().map(|&sample| labels[sample]).collect();
///     assert!(classes[0] == classes[1] && classes[2] == classes[3] && classes[0] != classes[2]);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ClassBalanced {
    classes: Vec<Vec<usize>>,
    classes_per_batch: usize,
    samples_per_class: usize,
    batches: usize,
    seed: u64,
    samples: usize,
}

impl ClassBalanced {
    /// How many samples a batch has.
    pub fn batch_size(&self) -> usize {
        self.classes_per_batch * self.samples_per_class
    }

    /// How many batches an epoch has.
    pub fn batches_per_epoch(&self) -> usize {
        self.batches
    }
}

impl BatchPlan for ClassBalanced {
    fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut random = Random::new(self.seed, epoch);
        let mut decks: Vec<Deck<'_>> = self.classes.iter().map(|samples| Deck::new(samples)).collect();
        let all: Vec<usize> = (0..self.classes.len()).collect();
        let mut order = Deck::new(&all);

        let batch = |_| {
            let mut chosen = Vec::with_capacity(self.classes_per_batch);
            order.deal(self.classes_per_batch, &mut random, &mut chosen);
            let mut batch = Vec::with_capacity(self.batch_size());
            for class in chosen {
                decks[class].deal(self.samples_per_class, &mut random, &mut batch);
            }
            batch
        };
        (0..self.batches).map(batch).collect()
    }

    fn samples(&self) -> usize {
        self.samples
    }
}
