use alloc::vec::Vec;

use burn::config::Config;

use super::shuffle::{Deck, Random, samples_of_classes};
use super::{BatchPlan, SamplingError};

/// How many samples of a class [`Hierarchical`] takes.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum SamplesPerClass {
    /// So many; `>= 1`, and they divide the part of a super-class.
    Count(usize),
    /// All of them, if they fit into what is left of the part; parts may stay smaller then.
    All,
}

/// Settings of [`Hierarchical`].
#[derive(Config, Debug)]
pub struct HierarchicalConfig {
    /// How many samples are in a batch; a multiple of `super_classes_per_batch`.
    pub batch_size: usize,
    /// How many samples of a class.
    pub samples_per_class: SamplesPerClass,
    /// How many batches every combination of super-classes has in an epoch; `>= 1`.
    /// Default: `4`.
    #[config(default = 4)]
    pub batches_per_combination: usize,
    /// How many super-classes share a batch, in equal parts; `>= 1`.
    /// Default: `2`.
    #[config(default = 2)]
    pub super_classes_per_batch: usize,
    /// What the order follows from, together with the number of the epoch.
    /// Default: `0`.
    #[config(default = 0)]
    pub seed: u64,
}

impl HierarchicalConfig {
    /// The plan for samples with these classes and super-classes. A class is one of its super-class: the same number in
    /// another super-class is another class.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, a label is negative, or there are too few super-classes or classes.
    #[track_caller]
    pub fn init(&self, classes: &[i64], super_classes: &[i64]) -> Result<Hierarchical, SamplingError> {
        let Self { batch_size, samples_per_class, batches_per_combination, super_classes_per_batch, seed } = *self;
        let setting = |field, range, value| SamplingError::Setting { sampler: "Hierarchical", field, range, value };
        if super_classes_per_batch == 0 {
            return Err(setting("super_classes_per_batch", ">= 1", 0));
        }
        if batches_per_combination == 0 {
            return Err(setting("batches_per_combination", ">= 1", 0));
        }
        if batch_size == 0 || batch_size % super_classes_per_batch != 0 {
            return Err(setting("batch_size", "a multiple of super_classes_per_batch", batch_size));
        }
        let part = batch_size / super_classes_per_batch;
        if let SamplesPerClass::Count(count) = samples_per_class
            && (count == 0 || part % count != 0)
        {
            return Err(setting("samples_per_class", "a divisor of batch_size / super_classes_per_batch", count));
        }
        if classes.len() != super_classes.len() {
            return Err(SamplingError::Lengths { classes: classes.len(), super_classes: super_classes.len() });
        }
        if let Some(index) = classes.iter().position(|&class| class < 0) {
            return Err(SamplingError::NegativeLabel { index, value: classes[index] });
        }

        let mut groups = Vec::new();
        for (super_class, samples) in samples_of_classes(super_classes)? {
            let own: Vec<i64> = samples.iter().map(|&sample| classes[sample]).collect();
            let own = samples_of_classes(&own)?.into_iter();
            let own: Vec<Vec<usize>> =
                own.map(|(_, places)| places.into_iter().map(|place| samples[place]).collect()).collect();
            match samples_per_class {
                SamplesPerClass::Count(count) if own.len() < part / count => {
                    let (found, needed) = (own.len(), part / count);
                    return Err(SamplingError::SmallSuperClass { super_class, found, needed });
                }
                SamplesPerClass::All if own.iter().all(|samples| samples.len() > part) => {
                    return Err(SamplingError::LargeClasses { super_class, part });
                }
                _ => groups.push(own),
            }
        }
        if groups.len() < super_classes_per_batch {
            return Err(SamplingError::TooFewSuperClasses { found: groups.len(), needed: super_classes_per_batch });
        }
        Ok(Hierarchical {
            groups,
            part,
            samples_per_class,
            batches_per_combination,
            super_classes_per_batch,
            seed,
            samples: classes.len(),
        })
    }
}

/// Batches of a few super-classes in equal parts, and of several classes of each: negatives that are hard to tell apart.
///
/// An epoch has `batches_per_combination` batches for every combination of `super_classes_per_batch` super-classes, in
/// random order: with `n` super-classes and pairs of them, `2·n·(n - 1)` batches by default. A batch takes the classes of
/// a super-class in random order until its part is full; a class with fewer samples than `samples_per_class` repeats
/// them.
///
/// pytorch-metric-learning makes a smaller batch where a super-class has too few classes; here that is an error when the
/// plan is made.
///
/// # When to take it
///
/// For classes in groups (models of cars in makes), where negatives of the same group are the hard ones. Without groups
/// take [`ClassBalanced`](super::ClassBalanced).
///
/// # Source
///
/// pytorch-metric-learning, `HierarchicalSampler`; the batches of Cakir et al.:
/// [Deep Metric Learning to Rank](https://cs-people.bu.edu/fcakir/papers/fastap_cvpr2019.pdf), 2019, section 4.3.
///
/// # Example
///
/// ```
/// use burn_losses::sampling::{HierarchicalConfig, SamplesPerClass};
///
/// // Four classes of two samples, in two super-classes.
/// let (classes, super_classes) = ([0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 1, 1, 1, 1]);
/// let plan = HierarchicalConfig::new(8, SamplesPerClass::Count(2)).init(&classes, &super_classes)?;
/// assert!(plan.epoch(0).iter().all(|batch| batch.len() == 8));
/// # Ok::<(), burn_losses::sampling::SamplingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hierarchical {
    /// Super-class, class, sample.
    groups: Vec<Vec<Vec<usize>>>,
    part: usize,
    samples_per_class: SamplesPerClass,
    batches_per_combination: usize,
    super_classes_per_batch: usize,
    seed: u64,
    samples: usize,
}

impl BatchPlan for Hierarchical {
    fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut random = Random::new(self.seed, epoch);
        let mut batches = Vec::new();
        for combination in combinations(self.groups.len(), self.super_classes_per_batch) {
            for _ in 0..self.batches_per_combination {
                let mut batch = Vec::with_capacity(self.part * combination.len());
                for &group in &combination {
                    self.fill_part(&self.groups[group], &mut random, &mut batch);
                }
                random.shuffle(&mut batch);
                batches.push(batch);
            }
        }
        random.shuffle(&mut batches);
        batches
    }

    fn samples(&self) -> usize {
        self.samples
    }
}

impl Hierarchical {
    fn fill_part(&self, classes: &[Vec<usize>], random: &mut Random, batch: &mut Vec<usize>) {
        let end = batch.len() + self.part;
        let mut order: Vec<&Vec<usize>> = classes.iter().collect();
        random.shuffle(&mut order);
        for samples in order {
            let count = match self.samples_per_class {
                SamplesPerClass::Count(count) => count,
                SamplesPerClass::All => samples.len(),
            };
            if batch.len() + count <= end {
                Deck::new(samples).deal(count, random, batch);
            }
        }
    }
}

/// All sets of `size` numbers below `count`.
fn combinations(count: usize, size: usize) -> Vec<Vec<usize>> {
    let mut current: Vec<usize> = (0..size).collect();
    let mut all = Vec::new();
    loop {
        all.push(current.clone());
        let Some(place) = (0..size).rev().find(|&place| current[place] < count - size + place) else { return all };
        current[place] += 1;
        for later in place + 1..size {
            current[later] = current[later - 1] + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_combinations_come_once() {
        assert_eq!(combinations(4, 2), [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        assert_eq!(combinations(3, 3), [[0, 1, 2]]);
        assert_eq!(combinations(2, 1), [[0], [1]]);
    }
}
