use std::collections::{BTreeMap, BTreeSet};

use burn_losses::sampling::{ClassBalancedConfig, HierarchicalConfig, SamplesPerClass, SamplingError};

/// Classes of 1, 2, 3, 5 and 12 samples, under labels that are not in a row, mixed.
fn labels() -> Vec<i64> {
    let mut labels: Vec<i64> =
        [(7, 1), (0, 2), (90, 3), (4, 5), (5, 12)].iter().flat_map(|&(label, count)| vec![label; count]).collect();
    let mixed: Vec<usize> = (0..labels.len()).map(|place| place * 10 % labels.len()).collect();
    labels = mixed.into_iter().map(|place| labels[place]).collect();
    assert_eq!(labels.len(), 23);
    labels
}

#[test]
fn a_batch_has_p_classes_with_k_samples_each() {
    let labels = labels();
    for (classes, samples) in [(2, 2), (5, 4), (1, 1), (3, 7)] {
        let plan = ClassBalancedConfig::new(classes, samples).with_batches_per_epoch(Some(9)).init(&labels).unwrap();
        let batches = plan.epoch(3);
        assert_eq!((batches.len(), plan.batches_per_epoch()), (9, 9));
        for batch in batches {
            assert_eq!((batch.len(), plan.batch_size()), (classes * samples, classes * samples));
            let mut counts = BTreeMap::new();
            for sample in batch {
                *counts.entry(labels[sample]).or_insert(0) += 1;
            }
            assert_eq!(counts.into_values().collect::<Vec<_>>(), vec![samples; classes]);
        }
    }
}

#[test]
fn every_sample_of_a_class_and_every_class_is_used_before_any_repeats() {
    let labels = labels();
    let plan = ClassBalancedConfig::new(2, 4).with_seed(11).with_batches_per_epoch(Some(60)).init(&labels).unwrap();
    let batches = plan.epoch(0);
    let mut classes = Vec::new();
    let mut samples: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for batch in &batches {
        classes.extend([labels[batch[0]], labels[batch[4]]]);
        for &sample in batch {
            samples.entry(labels[sample]).or_default().push(sample);
        }
    }
    for pass in classes.chunks_exact(5) {
        assert_eq!(pass.iter().collect::<BTreeSet<_>>().len(), 5, "{classes:?}");
    }
    for (class, order) in samples {
        let count = labels.iter().filter(|&&label| label == class).count();
        for pass in order.chunks_exact(count) {
            assert_eq!(pass.iter().collect::<BTreeSet<_>>().len(), count, "class {class}: {order:?}");
        }
        // A class that has enough samples repeats none within a batch, also where its deck begins anew.
        if count >= 4 {
            for group in order.chunks_exact(4) {
                assert_eq!(group.iter().collect::<BTreeSet<_>>().len(), 4, "class {class}: {group:?}");
            }
        }
    }
}

#[test]
fn an_epoch_is_as_long_as_the_samples_but_one_batch_at_least() {
    let labels = labels();
    let batches = |classes, samples| ClassBalancedConfig::new(classes, samples).init(&labels).unwrap().epoch(0).len();
    // 23 samples in batches of 4, of 23, and of 30.
    assert_eq!((batches(2, 2), batches(1, 23), batches(5, 6)), (5, 1, 1));
}

#[test]
fn plans_follow_from_the_seed_and_the_epoch_alone() {
    let labels = labels();
    let plan = |seed| ClassBalancedConfig::new(3, 2).with_seed(seed).init(&labels).unwrap();
    assert_eq!(plan(5).epoch(4), plan(5).epoch(4));
    assert_ne!(plan(5).epoch(4), plan(5).epoch(5));
    assert_ne!(plan(5).epoch(4), plan(6).epoch(4));
    // Neighbouring seeds and epochs are no shifts of each other.
    assert_ne!(plan(5).epoch(5), plan(6).epoch(4));
    // Recorded from this library: a change here breaks runs that are continued.
    assert_eq!(plan(5).epoch(4)[0], RECORDED);
}

const RECORDED: [usize; 6] = [14, 7, 10, 1, 0, 0];

#[test]
fn bad_settings_and_labels_are_errors_that_name_them() {
    let message = |config: ClassBalancedConfig, labels: &[i64]| config.init(labels).unwrap_err().to_string();
    assert_eq!(
        message(ClassBalancedConfig::new(0, 2), &[1, 2]),
        "ClassBalanced: classes_per_batch must be >= 1, got 0"
    );
    assert_eq!(
        message(ClassBalancedConfig::new(2, 0), &[1, 2]),
        "ClassBalanced: samples_per_class must be >= 1, got 0"
    );
    let no_batches = ClassBalancedConfig::new(2, 2).with_batches_per_epoch(Some(0));
    assert_eq!(message(no_batches, &[1, 2]), "ClassBalanced: batches_per_epoch must be >= 1, got 0");
    assert_eq!(message(ClassBalancedConfig::new(2, 2), &[]), "there are no samples to make batches of");
    assert_eq!(message(ClassBalancedConfig::new(3, 2), &[1, 2, 1]), "a batch needs 3 classes, and there are 2");
    assert_eq!(
        message(ClassBalancedConfig::new(1, 1), &[1, -1]),
        "label 1 is -1: a sample without a class is in no batch, leave it out"
    );
}

/// Three super-classes with 2, 3 and 4 classes of three samples each; the classes have the same numbers in each.
fn tree() -> (Vec<i64>, Vec<i64>) {
    let mut both = Vec::new();
    for (super_class, classes) in [(10, 2), (20, 3), (30, 4)] {
        for class in 0..classes {
            both.extend([(class, super_class); 3]);
        }
    }
    both.into_iter().unzip()
}

#[test]
fn hierarchical_batches_have_equal_parts_of_every_combination_of_super_classes() {
    let (classes, super_classes) = tree();
    let config = HierarchicalConfig::new(8, SamplesPerClass::Count(2)).with_seed(2).with_batches_per_combination(3);
    let plan = config.init(&classes, &super_classes).unwrap();
    let batches = plan.epoch(0);
    let mut combinations = BTreeMap::new();
    for batch in &batches {
        let mut parts: BTreeMap<i64, BTreeMap<i64, Vec<usize>>> = BTreeMap::new();
        for &sample in batch {
            parts.entry(super_classes[sample]).or_default().entry(classes[sample]).or_default().push(sample);
        }
        assert_eq!(parts.len(), 2);
        for part in parts.values() {
            assert_eq!(part.values().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
            // Without repeats, since there are three.
            assert!(part.values().all(|samples| samples[0] != samples[1]));
        }
        *combinations.entry(parts.into_keys().collect::<Vec<_>>()).or_insert(0) += 1;
    }
    assert_eq!(combinations, BTreeMap::from([(vec![10, 20], 3), (vec![10, 30], 3), (vec![20, 30], 3)]));
    assert_eq!(plan.epoch(0), batches);
    assert_ne!(plan.epoch(1), batches);
}

#[test]
fn hierarchical_batches_of_whole_classes_take_what_fits() {
    let (classes, super_classes) = tree();
    let config = HierarchicalConfig::new(14, SamplesPerClass::All);
    for batch in config.init(&classes, &super_classes).unwrap().epoch(0) {
        // Two classes of three fit into a part of seven.
        assert_eq!(batch.len(), 12);
        assert_eq!(batch.iter().collect::<BTreeSet<_>>().len(), 12);
    }
}

#[test]
fn a_small_class_of_a_hierarchy_repeats_its_samples() {
    let plan = HierarchicalConfig::new(8, SamplesPerClass::Count(4)).init(&[0, 0, 0], &[1, 2, 2]).unwrap();
    let mut batch = plan.epoch(0).remove(0);
    batch.sort_unstable();
    assert_eq!(batch, [0, 0, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn bad_hierarchies_are_errors_that_name_them() {
    let (classes, super_classes) = tree();
    let count = SamplesPerClass::Count;
    let error = |config: HierarchicalConfig| config.init(&classes, &super_classes).unwrap_err().to_string();
    assert_eq!(
        error(HierarchicalConfig::new(7, count(1))),
        "Hierarchical: batch_size must be a multiple of super_classes_per_batch, got 7"
    );
    assert_eq!(
        error(HierarchicalConfig::new(8, count(3))),
        "Hierarchical: samples_per_class must be a divisor of batch_size / super_classes_per_batch, got 3"
    );
    assert_eq!(
        error(HierarchicalConfig::new(12, count(2))),
        "super-class 10 has 2 classes, and its part of a batch needs 3"
    );
    assert_eq!(
        error(HierarchicalConfig::new(4, SamplesPerClass::All)),
        "no class of super-class 10 fits into its part of a batch, 2 samples"
    );
    assert_eq!(
        error(HierarchicalConfig::new(8, count(2)).with_super_classes_per_batch(4)),
        "a batch needs 4 super-classes, and there are 3"
    );
    let config = HierarchicalConfig::new(2, count(1));
    assert_eq!(config.init(&[0, 1], &[0]).unwrap_err(), SamplingError::Lengths { classes: 2, super_classes: 1 });
    assert_eq!(config.init(&[0, -1], &[0, 0]).unwrap_err(), SamplingError::NegativeLabel { index: 1, value: -1 });
    assert_eq!(config.init(&[], &[]).unwrap_err(), SamplingError::NoSamples);
}
