use std::path::Path;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_losses::distance::Distance;
use burn_losses::mining::{
    AngularMinerConfig, BatchEasyHardMinerConfig, BatchHardMinerConfig, DistanceWeightedMiner,
    DistanceWeightedMinerConfig, Miner, MultiSimilarityMinerConfig, PairMarginMinerConfig, PairMasks,
    SemiHardMinerConfig, Strategy, TripletKind, TripletMarginMinerConfig, Triplets,
};
use burn_losses::pairs::{
    CircleLossConfig, ContrastiveLossConfig, InfoNceLossConfig, LiftedStructureLossConfig, MarginLossConfig,
    MultiSimilarityLossConfig, NPairsLossConfig, PairLoss, Pairs, SupConLossConfig, TripletLossConfig,
};
use burn_losses::reduction::EmbeddingReduction;
use parity::{Backend, backends};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// What a miner of pytorch-metric-learning chose, see `generate/mining.py`.
#[derive(Deserialize)]
struct Case {
    miner: String,
    settings: Map<String, Value>,
    embeddings: Vec<Vec<f64>>,
    labels: Vec<i64>,
    #[serde(default)]
    positive: Vec<[usize; 2]>,
    #[serde(default)]
    negative: Vec<[usize; 2]>,
    #[serde(default)]
    triplets: Vec<[usize; 3]>,
    source: String,
}

impl Case {
    fn number(&self, key: &str) -> f64 {
        self.settings[key].as_f64().expect("a number")
    }

    fn range(&self, key: &str) -> Option<[f64; 2]> {
        self.settings.get(key).map(|range| serde_json::from_value(range.clone()).expect("two numbers"))
    }

    fn strategy(&self, key: &str) -> Strategy {
        serde_json::from_value(self.settings[key].clone()).expect("a strategy")
    }
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/mining.json");
    let text = std::fs::read_to_string(path).expect("golden/mining.json is there");
    serde_json::from_str::<File>(&text).expect("golden/mining.json is of this form").cases
}

fn matrix(rows: &[Vec<f64>], backend: &Backend) -> Tensor<2> {
    let width = rows.first().map_or(3, Vec::len);
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), width]), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], backend: &Backend) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), &backend.device)
}

/// Where a mask is set, sorted.
fn places(mask: &Tensor<2, Bool>) -> Vec<[usize; 2]> {
    let [_, columns] = mask.dims();
    let mask = mask.clone().try_into_vec_as::<bool>().unwrap();
    (0..mask.len()).filter(|&place| mask[place]).map(|place| [place / columns, place % columns]).collect()
}

/// The valid triplets, sorted.
fn valid(triplets: &Triplets) -> Vec<[usize; 3]> {
    let numbers = |tensor: &Tensor<1, Int>| tensor.clone().try_into_vec_as::<i64>().unwrap();
    let all = [&triplets.anchor, &triplets.positive, &triplets.negative].map(numbers);
    let valid = triplets.valid.clone().try_into_vec_as::<bool>().unwrap();
    assert!(all.iter().flatten().all(|&row| row >= 0));
    let mut found: Vec<[usize; 3]> = (0..valid.len())
        .filter(|&entry| valid[entry])
        .map(|entry| [0, 1, 2].map(|part: usize| all[part][entry] as usize))
        .collect();
    found.sort_unstable();
    found
}

/// The valid triplets that a miner chose, sorted.
fn mined(miner: &dyn Miner, pairs: &Pairs) -> Vec<[usize; 3]> {
    miner.mine(pairs).triplets().map_or_else(Vec::new, valid)
}

fn miner(case: &Case, device: &Device) -> Box<dyn Miner> {
    match case.miner.as_str() {
        "BatchHardMiner" => Box::new(BatchHardMinerConfig::new().init(device)),
        "BatchEasyHardMiner" => {
            let config = BatchEasyHardMinerConfig::new()
                .with_positive(case.strategy("positive"))
                .with_negative(case.strategy("negative"))
                .with_positive_range(case.range("positive_range"))
                .with_negative_range(case.range("negative_range"));
            Box::new(config.init(device))
        }
        "MultiSimilarityMiner" => {
            Box::new(MultiSimilarityMinerConfig::new().with_epsilon(case.number("epsilon")).init(device))
        }
        "PairMarginMiner" => {
            let config = PairMarginMinerConfig::new()
                .with_positive_margin(case.number("positive_margin"))
                .with_negative_margin(case.number("negative_margin"));
            Box::new(config.init(device))
        }
        "TripletMarginMiner" => {
            let kind: TripletKind = serde_json::from_value(case.settings["kind"].clone()).expect("a kind");
            let config = TripletMarginMinerConfig::new().with_margin(case.number("margin")).with_kind(kind);
            Box::new(config.init(device))
        }
        "AngularMiner" => Box::new(AngularMinerConfig::new().with_angle(case.number("angle")).init(device)),
        "SemiHardMiner" => Box::new(SemiHardMinerConfig::new().with_margin(case.number("margin")).init(device)),
        other => panic!("no miner {other}"),
    }
}

#[test]
fn miners_choose_what_pytorch_metric_learning_chooses() {
    let cases = cases();
    assert!(cases.len() > 40);
    for backend in backends() {
        for case in &cases {
            let what = format!("{} {:?} on {}", case.source, case.settings, backend.name);
            let pairs = Pairs::in_batch(matrix(&case.embeddings, &backend), integers(&case.labels, &backend));
            let chosen = miner(case, &backend.device).mine(&pairs);
            if let Some(triplets) = chosen.triplets() {
                assert_eq!(valid(triplets), case.triplets, "{what}");
            } else {
                let PairMasks { positive, negative } = chosen.masks();
                assert_eq!(places(&positive), case.positive, "positives of {what}");
                assert_eq!(places(&negative), case.negative, "negatives of {what}");
            }
        }
    }
}

/// An anchor with a positive at distance 1 and negatives at 1, 3/2 and 2: one is as far as the positive, one is farther
/// by the margin 1/2, exactly.
#[test]
fn what_lies_at_a_bound_is_on_the_side_the_docs_say() {
    for backend in backends() {
        let device = &backend.device;
        let distances = matrix(&[vec![1.0, 1.0, 1.5, 2.0]], &backend);
        let (labels, references) = (integers(&[0], &backend), integers(&[0, 1, 2, 3], &backend));
        let pairs = Pairs::precomputed_with_references(Distance::Euclidean, distances, labels, references);
        assert_eq!(mined(&SemiHardMinerConfig::new().with_margin(0.5).init(device), &pairs), [[0, 0, 2]]);
        for (kind, negatives) in [
            (TripletKind::All, &[1, 2][..]),
            (TripletKind::Hard, &[1]),
            (TripletKind::SemiHard, &[2]),
            (TripletKind::Easy, &[3]),
        ] {
            let miner = TripletMarginMinerConfig::new().with_margin(0.5).with_kind(kind).init(device);
            let expected: Vec<[usize; 3]> = negatives.iter().map(|&negative| [0, 0, negative]).collect();
            assert_eq!(mined(&miner, &pairs), expected, "{kind:?} on {}", backend.name);
        }
        let chosen = |miner: &dyn Miner| {
            let PairMasks { positive, negative } = miner.mine(&pairs).masks();
            (places(&positive), places(&negative))
        };
        let none: Vec<[usize; 2]> = Vec::new();
        let semi_hard = |positive, negative| {
            BatchEasyHardMinerConfig::new().with_positive(positive).with_negative(negative).init(device)
        };
        // The closest negative is no farther than the positive.
        assert_eq!(chosen(&semi_hard(Strategy::SemiHard, Strategy::Hard)), (none.clone(), none.clone()));
        assert_eq!(chosen(&semi_hard(Strategy::Hard, Strategy::SemiHard)), (vec![[0, 0]], vec![[0, 2]]));
        let fixed = PairMarginMinerConfig::new().with_positive_margin(1.0).with_negative_margin(1.5).init(device);
        assert_eq!(chosen(&fixed), (none, vec![[0, 1]]));
        let similar =
            MultiSimilarityMinerConfig::new().with_distance(Distance::Euclidean).with_epsilon(0.5).init(device);
        assert_eq!(chosen(&similar), (vec![[0, 0]], vec![[0, 1]]));
    }
}

#[test]
fn a_batch_against_other_rows_chooses_as_a_whole_batch_does_of_the_same_rows() {
    let case = &cases()[0];
    for backend in backends() {
        let (all, labels) = (matrix(&case.embeddings, &backend), integers(&case.labels, &backend));
        let pairs = Pairs::in_batch(all.clone(), labels.clone());
        let miner = TripletMarginMinerConfig::new().init(&backend.device);
        let whole = mined(&miner, &pairs);
        let rows = |mask: Tensor<2, Bool>| mask.narrow(0, 2, 3);
        let PairMasks { positive, negative } = pairs.masks();
        let some = PairMasks { positive: rows(positive), negative: rows(negative) };
        let anchors = (all.clone().narrow(0, 2, 3), labels.clone().narrow(0, 2, 3));
        let part = mined(&miner, &Pairs::with_references(anchors.0, anchors.1, (all, labels)).with_masks(some));

        let expected: Vec<[usize; 3]> =
            whole.into_iter().filter(|[a, ..]| (2..5).contains(a)).map(|[a, p, n]| [a - 2, p, n]).collect();
        assert!(!expected.is_empty());
        assert_eq!(part, expected, "{}", backend.name);
    }
}

/// Every miner on a batch: how many pairs or triplets it chooses, and how many entries it makes.
fn counts(rows: &[Vec<f64>], labels: &[i64], backend: &Backend) -> Vec<(usize, usize)> {
    let embeddings = matrix(rows, backend).require_grad();
    let pairs = Pairs::in_batch(embeddings, integers(labels, backend));
    let of_pairs = |pairs: PairMasks| {
        let entries = pairs.positive.shape().num_elements();
        (places(&pairs.positive).len() + places(&pairs.negative).len(), entries)
    };
    let of_triplets = |triplets: &Triplets| (valid(triplets).len(), triplets.valid.dims()[0]);
    let all = [of_triplets(&pairs.masks().triplets())];
    let of_miners = every_miner(&backend.device).map(|miner| {
        let chosen = miner.mine(&pairs);
        chosen.triplets().map_or_else(|| of_pairs(chosen.masks()), of_triplets)
    });
    all.into_iter().chain(of_miners).collect()
}

/// Every miner, for embeddings of three numbers.
fn every_miner(device: &Device) -> [Box<dyn Miner>; 8] {
    [
        Box::new(BatchHardMinerConfig::new().init(device)),
        Box::new(BatchEasyHardMinerConfig::new().init(device)),
        Box::new(SemiHardMinerConfig::new().init(device)),
        Box::new(MultiSimilarityMinerConfig::new().with_distance(Distance::Euclidean).init(device)),
        Box::new(PairMarginMinerConfig::new().init(device)),
        Box::new(TripletMarginMinerConfig::new().init(device)),
        Box::new(AngularMinerConfig::new().init(device)),
        Box::new(DistanceWeightedMinerConfig::new(3).with_nonzero_loss_cutoff(2.0).init(device)),
    ]
}

/// What a miner chose goes into every loss; a loss without a use for it says so.
#[test]
fn every_loss_takes_every_miner() {
    let case = &cases()[0];
    for backend in backends() {
        let device = &backend.device;
        let losses: [Box<dyn PairLoss>; 9] = [
            Box::new(InfoNceLossConfig::new().init(device)),
            Box::new(SupConLossConfig::new().init(device)),
            Box::new(NPairsLossConfig::new().init(device)),
            Box::new(MultiSimilarityLossConfig::new().init(device)),
            Box::new(CircleLossConfig::new().init(device)),
            Box::new(ContrastiveLossConfig::new().with_negative_margin(9.0).init(device)),
            Box::new(TripletLossConfig::new().with_margin(9.0).init(device)),
            Box::new(LiftedStructureLossConfig::new().with_negative_margin(9.0).init(device)),
            Box::new(MarginLossConfig::new().init(device)),
        ];
        for (number, miner) in every_miner(device).into_iter().enumerate() {
            for loss in &losses {
                let embeddings = matrix(&case.embeddings, &backend).require_grad();
                let pairs = miner.mine(&Pairs::in_batch(embeddings.clone(), integers(&case.labels, &backend)));
                let what = format!("{} of miner {number} on {}", loss.name(), backend.name);
                let value = loss.forward_pairs(&pairs);
                let gradient = embeddings.grad(&value.backward()).expect("a gradient");
                let [value, gradient] = [value, gradient.abs().sum()].map(|x| x.try_into_vec_as::<f64>().unwrap()[0]);
                assert!(value.is_finite() && gradient.is_finite(), "{what}: {value} {gradient}");
                assert!(pairs.masks().positive.any().into_scalar::<bool>() && value > 0.0, "{what}: {value}");
                let anchors = loss.forward_pairs_no_reduction(&pairs);
                assert_eq!(anchors.dims(), [case.labels.len()], "{what}");
            }
        }
    }
}

/// The rule of pytorch-metric-learning: a triplet is a positive and a negative pair, here as often as it is listed.
#[test]
fn triplets_are_pairs_to_a_loss_of_pairs() {
    for backend in backends() {
        let device = &backend.device;
        // On a line: 0 and 2 of one identity, 3 and 5 of others.
        let rows = matrix(&[vec![0.0], vec![2.0], vec![3.0], vec![5.0]], &backend);
        let pairs = Pairs::in_batch(rows, integers(&[7, 7, 8, 9], &backend));
        let column = |numbers: &[i64]| integers(numbers, &backend);
        let triplets = Triplets {
            anchor: column(&[0, 0, 1, 1]),
            positive: column(&[1, 1, 0, 0]),
            negative: column(&[2, 3, 2, 2]),
            valid: Tensor::from_data([true, true, true, false], device),
        };
        let pairs = pairs.with_triplets(triplets);
        let close = |value: Tensor<1>, expected: &[f64]| {
            let value = value.try_into_vec_as::<f64>().unwrap();
            let near = value.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(near && value.len() == expected.len(), "{value:?} {expected:?} on {}", backend.name);
        };
        // By hand, with the boundary 2 and the margin 1.5: positives 2 - 2 + 1.5, three times; negatives 2 - 3 + 1.5,
        // 2 - 5 + 1.5 < 0 and 2 - 1 + 1.5. Five of six have a loss.
        let config = MarginLossConfig::new().with_beta(2.0).with_margin(1.5);
        let loss = config.with_reduction(EmbeddingReduction::MeanNonZero).init(device);
        close(loss.forward_pairs(&pairs), &[(4.5 + 0.5 + 2.5) / 5.0]);
        close(loss.forward_pairs_no_reduction(&pairs), &[1.5 + 0.5 + 1.5, 1.5 + 2.5, 0.0, 0.0]);
        // Positives 2²/2, three times; negatives with the margin 4: (4 - 3)²/2, 0, (4 - 1)²/2, in means of their own.
        let loss = ContrastiveLossConfig::new().with_negative_margin(4.0).init(device);
        close(loss.forward_pairs(&pairs), &[2.0 + (0.5 + 4.5) / 3.0]);
        // A loss with a sum per anchor has each pair once: 2 + 4 - 3 with the other negative, 4 - 5, in the logarithm.
        let loss = LiftedStructureLossConfig::new().with_negative_margin(4.0).init(device);
        let first = 2.0 + (1.0_f64.exp() + (-1.0_f64).exp()).ln();
        close(loss.forward_pairs_no_reduction(&pairs), &[first, 2.0 + 3.0, 0.0, 0.0]);
    }
}

#[test]
fn nothing_to_mine_is_nothing_mined() {
    let row = |x: f64| vec![x, 1.0, 0.5];
    type Batch = (&'static str, Vec<Vec<f64>>, Vec<i64>);
    let batches: [Batch; 5] = [
        ("an empty batch", vec![], vec![]),
        ("a batch of one", vec![row(1.0)], vec![3]),
        ("one class, in no negative pair", vec![row(1.0), row(2.0)], vec![3, 3]),
        ("all alone, in no positive pair", vec![row(1.0), row(2.0)], vec![3, 4]),
        ("no identities", vec![row(1.0), row(2.0), row(3.0)], vec![-1; 3]),
    ];
    for backend in backends() {
        for (what, rows, labels) in &batches {
            let found = counts(rows, labels, &backend);
            for (miner, (count, _)) in found.into_iter().enumerate() {
                // A pair-margin miner looks at no other pair, so one class is enough for it.
                if miner != 5 {
                    assert_eq!(count, 0, "{what}, miner {miner} on {}", backend.name);
                }
            }
        }
    }
}

#[test]
fn shapes_do_not_depend_on_what_is_chosen() {
    let far = |k: f64| vec![10.0 * k, 1.0, 0.5 - k];
    let rows: Vec<Vec<f64>> = (0..4).map(|k| far(f64::from(k))).collect();
    for backend in backends() {
        let sizes = |labels: &[i64]| counts(&rows, labels, &backend).into_iter().map(|(_, size)| size).collect();
        let some: Vec<usize> = sizes(&[0, 0, 1, 1]);
        let none: Vec<usize> = sizes(&[-1; 4]);
        assert_eq!(some, none);
        assert_eq!(some, [64, 4, 16, 16, 16, 16, 64, 64, 16]);
    }
}

#[test]
fn rows_with_nan_are_in_no_triplet_and_overflowed_distances_are_far() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    // Row 3 is NaN; rows 0 and 2 are infinitely far apart.
    let rows = [
        vec![0.0, 1.0, infinity, nan, 2.0],
        vec![1.0, 0.0, 3.0, nan, 1.5],
        vec![infinity, 3.0, 0.0, nan, 2.5],
        vec![nan; 5],
        vec![2.0, 1.5, 2.5, nan, 0.0],
    ];
    for backend in backends() {
        let labels = integers(&[0, 0, 0, 0, 1], &backend);
        let pairs = Pairs::precomputed(Distance::Euclidean, matrix(&rows, &backend), labels);
        let triplets = mined(&BatchHardMinerConfig::new().init(&backend.device), &pairs);
        assert_eq!(triplets, [[0, 2, 4], [1, 2, 4], [2, 0, 4]], "{}", backend.name);
    }
}

#[test]
fn a_choice_carries_no_gradient_and_fits_beside_what_does() {
    for backend in backends() {
        let case = &cases()[0];
        let embeddings = matrix(&case.embeddings, &backend).require_grad();
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
        let pairs = Pairs::in_batch(embeddings.clone(), integers(&case.labels, &backend));
        let hard = BatchHardMinerConfig::new().init(&backend.device).mine(&pairs);
        let triplets = hard.triplets().expect("triplets").clone();
        let easy = BatchEasyHardMinerConfig::new().init(&backend.device).mine(&pairs).masks();
        let pairs = pairs.masks();

        let positives = embeddings.clone().select(0, triplets.positive);
        let anchors = embeddings.clone().select(0, triplets.anchor);
        let lengths = (anchors - positives).square().sum_dim(1).squeeze_dim::<1>(1);
        let masked = distances.mask_fill(easy.positive.bool_and(pairs.positive).bool_not(), 0.0);
        let loss = lengths.mask_fill(triplets.valid.bool_not(), 0.0).sum() + masked.sum();
        let gradient = embeddings.grad(&loss.backward()).expect("embeddings have a gradient");
        let total = gradient.abs().sum().into_scalar::<f64>();
        assert!(total.is_finite() && total > 0.0, "{}", backend.name);
    }
}

/// A miner of four dimensions, and distances from 40 equal anchors to themselves and to six negatives.
fn drawing(backend: &Backend, seed: u64) -> (DistanceWeightedMiner, Pairs) {
    let to_negatives = [0.3, 0.7, 0.9, 1.2, 1.39, 1.5];
    let rows: Vec<Vec<f64>> = (0..46).map(|_| [vec![0.0; 40], to_negatives.to_vec()].concat()).collect();
    let labels: Vec<i64> = (0..46).map(|row| if row < 40 { 1 } else { row }).collect();
    let miner = DistanceWeightedMinerConfig::new(4).with_seed(seed).init(&backend.device);
    (miner, Pairs::precomputed(Distance::Euclidean, matrix(&rows, backend), integers(&labels, backend)))
}

#[test]
fn negatives_are_drawn_by_the_density_of_their_distance() {
    // The formula of Wu et al. 2017, section 4, in four dimensions: d²·sqrt(1 - d²/4), with cutoffs 0.5 and 1.4.
    let weight =
        |d: f64| if d < 1.4 { 1.0 / (d.max(0.5).powi(2) * (1.0 - d.max(0.5).powi(2) / 4.0).sqrt()) } else { 0.0 };
    let weights = [0.3, 0.7, 0.9, 1.2, 1.39, 1.5].map(weight);
    let total: f64 = weights.iter().sum();
    for backend in backends() {
        let (miner, pairs) = drawing(&backend, 5);
        let mut counts = [0_usize; 6];
        for _ in 0..6 {
            for [_, _, negative] in mined(&miner, &pairs) {
                counts[negative - 40] += 1;
            }
        }
        let drawn: usize = counts.iter().sum();
        assert_eq!(drawn, 6 * 40 * 39, "every positive pair has a negative");
        assert_eq!(counts[5], 0, "beyond nonzero_loss_cutoff");
        for (count, weight) in counts.iter().zip(weights) {
            // Four standard deviations of a share of 9360 draws are 0.02 at most.
            let (share, expected) = (*count as f64 / drawn as f64, weight / total);
            assert!((share - expected).abs() < 0.02, "{share} is not {expected} on {}", backend.name);
        }
    }
}

#[test]
fn draws_follow_from_the_seed_on_every_backend_alike_and_go_on_after_loading() {
    let of = |backend: &Backend| {
        let (miner, pairs) = drawing(backend, 9);
        let first = mined(&miner, &pairs);
        let record = miner.clone().into_record();
        let second = mined(&miner, &pairs);
        let (other, ..) = drawing(backend, 1);
        let unlike = mined(&other, &pairs);
        let loaded = other.load_record(record);
        assert_eq!(mined(&loaded, &pairs), second, "{}", backend.name);
        assert!(first != second && first != unlike);
        (first, second)
    };
    let backends = backends();
    let expected = of(&backends[0]);
    for backend in &backends[1..] {
        assert!(of(backend) == expected, "{}", backend.name);
    }
}

#[test]
fn draws_without_autodiff_do_not_count() {
    for backend in backends() {
        let (miner, pairs) = drawing(&backend, 9);
        let [labels, _] = pairs.class_labels().clone();
        let plain = pairs.distances(Distance::Euclidean).without_autodiff();
        let plain = Pairs::precomputed(Distance::Euclidean, plain, labels.without_autodiff());
        let validation = mined(&miner, &plain);
        assert_eq!(mined(&miner, &plain), validation);
        assert_eq!(mined(&miner, &pairs), validation, "{}", backend.name);
    }
}

#[test]
fn settings_survive_a_round_trip_through_json() {
    let config = BatchEasyHardMinerConfig::new().with_positive(Strategy::Hard).with_negative_range(Some([0.1, 0.9]));
    let json = serde_json::to_string(&config).unwrap();
    let back: BatchEasyHardMinerConfig = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (back.positive, back.negative, back.negative_range),
        (Strategy::Hard, Strategy::SemiHard, Some([0.1, 0.9]))
    );

    let json = serde_json::to_string(&DistanceWeightedMinerConfig::new(8).with_seed(3)).unwrap();
    let back: DistanceWeightedMinerConfig = serde_json::from_str(&json).unwrap();
    assert_eq!((back.embedding_dim, back.cutoff, back.nonzero_loss_cutoff, back.seed), (8, 0.5, 1.4, 3));
}

/// Rows on a circle, at angles without a pattern.
fn circle(count: usize) -> Vec<Vec<f64>> {
    let angle = |row: usize| (row as f64 * 0.754_877_666).fract() * 6.0;
    (0..count).map(|row| vec![f64::from(angle(row).cos() as f32), f64::from(angle(row).sin() as f32)]).collect()
}

#[test]
fn semi_hard_negatives_in_several_blocks_are_those_of_plain_loops() {
    // A block is of about 4 million numbers, which 164 rows against each other twice are beyond.
    let (count, margin) = (164, 0.2);
    let rows = circle(count);
    let labels: Vec<i64> = (0..count as i64).map(|row| row % 41).collect();
    for backend in backends().into_iter().filter(|backend| !backend.is_double()) {
        let embeddings = matrix(&rows, &backend);
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
        let host: Vec<f32> = distances.clone().try_into_vec_as::<f32>().unwrap();
        let between = |a: usize, b: usize| host[a * count + b];
        let gap = |a: usize, p: usize, n: usize| between(a, n) - between(a, p);
        let mut expected = Vec::new();
        for a in 0..count {
            for p in (0..count).filter(|&p| p != a && labels[p] == labels[a]) {
                let semi_hard =
                    |&n: &usize| labels[n] != labels[a] && gap(a, p, n) > 0.0 && gap(a, p, n) <= margin as f32;
                let closest = (0..count).filter(semi_hard).min_by(|&n, &m| between(a, n).total_cmp(&between(a, m)));
                expected.extend(closest.map(|n| [a, p, n]));
            }
        }
        assert!(expected.len() > 400);
        let pairs = Pairs::in_batch(embeddings, integers(&labels, &backend));
        let found = mined(&SemiHardMinerConfig::new().with_margin(margin).init(&backend.device), &pairs);
        assert!(found == expected, "{}: {} and {}", backend.name, found.len(), expected.len());

        let drawn = DistanceWeightedMinerConfig::new(2).with_nonzero_loss_cutoff(0.8).init(&backend.device);
        let drawn = mined(&drawn, &pairs);
        assert_eq!(drawn.len(), count * 3, "{}: every positive pair", backend.name);
        for [a, p, n] in drawn {
            assert!(labels[a] == labels[p] && a != p && labels[a] != labels[n] && between(a, n) < 0.8);
        }
    }
}

#[test]
fn no_references_are_no_pairs_and_no_triplets() {
    for backend in backends() {
        let rows = |count| Tensor::<2>::zeros([count, 3], (&backend.device, backend.dtype));
        let pairs = Pairs::with_references(rows(2), integers(&[1, 2], &backend), (rows(0), integers(&[], &backend)));
        assert_eq!(pairs.masks().triplets().valid.dims(), [0]);
        for miner in every_miner(&backend.device) {
            let mined = miner.mine(&pairs);
            assert_eq!(mined.masks().positive.dims(), [2, 0], "{}", backend.name);
            let loss = TripletLossConfig::new().init(&backend.device).forward_pairs(&mined);
            assert_eq!(loss.try_into_vec_as::<f64>().unwrap(), [0.0], "{}", backend.name);
        }
    }
}

#[test]
fn equal_rows_huge_rows_and_tiny_rows_give_triplets_of_their_pairs() {
    let labels = [0, 0, 1, 1];
    for backend in backends() {
        for size in [0.0, 1e-30, 1.0, 1e30] {
            let rows = vec![vec![size, -size, size]; 4];
            let embeddings = matrix(&rows, &backend);
            let pairs = Pairs::in_batch(embeddings, integers(&labels, &backend));
            for [a, p, n] in mined(&BatchHardMinerConfig::new().init(&backend.device), &pairs) {
                assert!(a != p && labels[a] == labels[p] && labels[a] != labels[n], "{} {size}", backend.name);
            }
            // Rows that are equal have no angle at the negative.
            let angular = mined(&AngularMinerConfig::new().init(&backend.device), &pairs);
            assert_eq!(angular, [[0_usize; 3]; 0], "{} {size}", backend.name);
        }
    }
}

#[test]
fn a_view_is_mined_as_its_copy() {
    let case = &cases()[0];
    for backend in backends() {
        let embeddings = matrix(&case.embeddings, &backend);
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings);
        let mut numbers = distances.clone().transpose().try_into_vec_as::<f64>().unwrap();
        numbers[1] += 0.25;
        let count = case.labels.len();
        let transposed = TensorData::new(numbers, [count, count]);
        let view = Tensor::<2>::from_data(transposed.clone(), (&backend.device, backend.dtype)).transpose();
        let copy: Vec<f64> = view.clone().try_into_vec_as::<f64>().unwrap();
        let copy = Tensor::<2>::from_data(TensorData::new(copy, [count, count]), (&backend.device, backend.dtype));
        let of = |distances: Tensor<2>| {
            let pairs = Pairs::precomputed(Distance::Euclidean, distances, integers(&case.labels, &backend));
            mined(&TripletMarginMinerConfig::new().init(&backend.device), &pairs)
        };
        assert_eq!(of(view), of(copy), "{}", backend.name);
    }
}

#[test]
fn half_precision_is_mined_in_f32() {
    let device = burn::tensor::Device::flex().autodiff();
    for dtype in [burn::tensor::DType::F16, burn::tensor::DType::BF16] {
        let distances = [[0.0, 1.0, 3.0, 2.0], [1.0, 0.0, 2.0, 1.5], [3.0, 2.0, 0.0, 1.0], [2.0, 1.5, 1.0, 0.0]];
        let distances = Tensor::<2>::from_data(distances, (&device, dtype));
        let pairs = Pairs::precomputed(Distance::Euclidean, distances, Tensor::from_data([5, 5, 5, 6], &device));
        let triplets = mined(&BatchHardMinerConfig::new().init(&device), &pairs);
        assert_eq!(triplets, [[0, 2, 3], [1, 2, 3], [2, 0, 3]]);
    }
}
