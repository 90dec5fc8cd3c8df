use std::path::Path;

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_losses::distance::Distance;
use burn_losses::mining::{
    AngularMinerConfig, BatchEasyHardMinerConfig, BatchHardMiner, DistanceWeightedMiner, DistanceWeightedMinerConfig,
    MultiSimilarityMinerConfig, PairMarginMinerConfig, Pairs, SemiHardMinerConfig, Strategy, TripletKind,
    TripletMarginMinerConfig, Triplets,
};
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

#[allow(clippy::large_enum_variant, reason = "made a few times per test")]
enum Chosen {
    Pairs(Pairs),
    Triplets(Triplets),
}

fn mine(case: &Case, embeddings: Tensor<2>, pairs: &Pairs) -> Chosen {
    let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
    match case.miner.as_str() {
        "BatchHardMiner" => Chosen::Triplets(BatchHardMiner::new().mine(distances, pairs)),
        "BatchEasyHardMiner" => {
            let config = BatchEasyHardMinerConfig::new()
                .with_positive(case.strategy("positive"))
                .with_negative(case.strategy("negative"))
                .with_positive_range(case.range("positive_range"))
                .with_negative_range(case.range("negative_range"));
            Chosen::Pairs(config.init().mine(distances, pairs))
        }
        "MultiSimilarityMiner" => {
            let cosines = Distance::Cosine.matrix(embeddings.clone(), embeddings);
            let config = MultiSimilarityMinerConfig::new().with_epsilon(case.number("epsilon"));
            Chosen::Pairs(config.init().mine(cosines, pairs))
        }
        "PairMarginMiner" => {
            let config = PairMarginMinerConfig::new()
                .with_positive_margin(case.number("positive_margin"))
                .with_negative_margin(case.number("negative_margin"));
            Chosen::Pairs(config.init().mine(distances, pairs))
        }
        "TripletMarginMiner" => {
            let kind: TripletKind = serde_json::from_value(case.settings["kind"].clone()).expect("a kind");
            let config = TripletMarginMinerConfig::new().with_margin(case.number("margin")).with_kind(kind);
            Chosen::Triplets(config.init().mine(distances, pairs))
        }
        "AngularMiner" => {
            let miner = AngularMinerConfig::new().with_angle(case.number("angle")).init();
            Chosen::Triplets(miner.mine(embeddings.clone(), embeddings, pairs))
        }
        "SemiHardMiner" => {
            let miner = SemiHardMinerConfig::new().with_margin(case.number("margin")).init();
            Chosen::Triplets(miner.mine(distances, pairs))
        }
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
            let pairs = Pairs::in_batch(integers(&case.labels, &backend));
            match mine(case, matrix(&case.embeddings, &backend), &pairs) {
                Chosen::Pairs(pairs) => {
                    assert_eq!(places(&pairs.positive), case.positive, "positives of {what}");
                    assert_eq!(places(&pairs.negative), case.negative, "negatives of {what}");
                }
                Chosen::Triplets(triplets) => assert_eq!(valid(&triplets), case.triplets, "{what}"),
            }
        }
    }
}

#[test]
fn a_batch_against_other_rows_chooses_as_a_whole_batch_does_of_the_same_rows() {
    let case = &cases()[0];
    for backend in backends() {
        let (all, labels) = (matrix(&case.embeddings, &backend), integers(&case.labels, &backend));
        let distances = Distance::Euclidean.matrix(all.clone(), all);
        let pairs = Pairs::in_batch(labels);
        let whole = valid(&TripletMarginMinerConfig::new().init().mine(distances.clone(), &pairs));
        let rows = |mask: &Tensor<2, Bool>| mask.clone().narrow(0, 2, 3);
        let some = Pairs { positive: rows(&pairs.positive), negative: rows(&pairs.negative) };
        let part = valid(&TripletMarginMinerConfig::new().init().mine(distances.narrow(0, 2, 3), &some));

        let expected: Vec<[usize; 3]> =
            whole.into_iter().filter(|[a, ..]| (2..5).contains(a)).map(|[a, p, n]| [a - 2, p, n]).collect();
        assert!(!expected.is_empty());
        assert_eq!(part, expected, "{}", backend.name);
    }
}

/// Every miner on a batch: how many pairs or triplets it chooses, and how many entries it makes.
fn counts(rows: &[Vec<f64>], labels: &[i64], backend: &Backend) -> Vec<(usize, usize)> {
    let embeddings = matrix(rows, backend).require_grad();
    let pairs = Pairs::in_batch(integers(labels, backend));
    let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
    let of_pairs = |pairs: Pairs| {
        let entries = pairs.positive.shape().num_elements();
        (places(&pairs.positive).len() + places(&pairs.negative).len(), entries)
    };
    let of_triplets = |triplets: Triplets| (valid(&triplets).len(), triplets.valid.dims()[0]);
    let easy_hard = BatchEasyHardMinerConfig::new().init();
    let drawn = DistanceWeightedMinerConfig::new(3).with_nonzero_loss_cutoff(2.0).init(&backend.device);
    vec![
        of_triplets(pairs.triplets()),
        of_triplets(BatchHardMiner::new().mine(distances.clone(), &pairs)),
        of_pairs(easy_hard.mine(distances.clone(), &pairs)),
        of_triplets(SemiHardMinerConfig::new().init().mine(distances.clone(), &pairs)),
        of_pairs(MultiSimilarityMinerConfig::new().init().mine(distances.clone(), &pairs)),
        of_pairs(PairMarginMinerConfig::new().init().mine(distances.clone(), &pairs)),
        of_triplets(TripletMarginMinerConfig::new().init().mine(distances.clone(), &pairs)),
        of_triplets(AngularMinerConfig::new().init().mine(embeddings.clone(), embeddings, &pairs)),
        of_triplets(drawn.mine(distances, &pairs)),
    ]
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
        let pairs = Pairs::in_batch(integers(&[0, 0, 0, 0, 1], &backend));
        let triplets = BatchHardMiner::new().mine(matrix(&rows, &backend), &pairs);
        assert_eq!(valid(&triplets), [[0, 2, 4], [1, 2, 4], [2, 0, 4]], "{}", backend.name);
    }
}

#[test]
fn a_choice_carries_no_gradient_and_fits_beside_what_does() {
    for backend in backends() {
        let case = &cases()[0];
        let embeddings = matrix(&case.embeddings, &backend).require_grad();
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
        let pairs = Pairs::in_batch(integers(&case.labels, &backend));
        let triplets = BatchHardMiner::new().mine(distances.clone(), &pairs);
        let easy = BatchEasyHardMinerConfig::new().init().mine(distances.clone(), &pairs);

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
fn drawing(backend: &Backend, seed: u64) -> (DistanceWeightedMiner, Tensor<2>, Pairs) {
    let to_negatives = [0.3, 0.7, 0.9, 1.2, 1.39, 1.5];
    let rows: Vec<Vec<f64>> = (0..46).map(|_| [vec![0.0; 40], to_negatives.to_vec()].concat()).collect();
    let labels: Vec<i64> = (0..46).map(|row| if row < 40 { 1 } else { row }).collect();
    let miner = DistanceWeightedMinerConfig::new(4).with_seed(seed).init(&backend.device);
    (miner, matrix(&rows, backend), Pairs::in_batch(integers(&labels, backend)))
}

#[test]
fn negatives_are_drawn_by_the_density_of_their_distance() {
    // The formula of Wu et al. 2017, section 4, in four dimensions: d²·sqrt(1 - d²/4), with cutoffs 0.5 and 1.4.
    let weight =
        |d: f64| if d < 1.4 { 1.0 / (d.max(0.5).powi(2) * (1.0 - d.max(0.5).powi(2) / 4.0).sqrt()) } else { 0.0 };
    let weights = [0.3, 0.7, 0.9, 1.2, 1.39, 1.5].map(weight);
    let total: f64 = weights.iter().sum();
    for backend in backends() {
        let (miner, distances, pairs) = drawing(&backend, 5);
        let mut counts = [0_usize; 6];
        for _ in 0..6 {
            for [_, _, negative] in valid(&miner.mine(distances.clone(), &pairs)) {
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
        let (miner, distances, pairs) = drawing(backend, 9);
        let first = valid(&miner.mine(distances.clone(), &pairs));
        let record = miner.clone().into_record();
        let second = valid(&miner.mine(distances.clone(), &pairs));
        let (other, ..) = drawing(backend, 1);
        let unlike = valid(&other.mine(distances.clone(), &pairs));
        let loaded = other.load_record(record);
        assert_eq!(valid(&loaded.mine(distances, &pairs)), second, "{}", backend.name);
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
        let (miner, distances, pairs) = drawing(&backend, 9);
        let plain = distances.clone().without_autodiff();
        let validation = valid(&miner.mine(plain.clone(), &pairs));
        assert_eq!(valid(&miner.mine(plain, &pairs)), validation);
        assert_eq!(valid(&miner.mine(distances, &pairs)), validation, "{}", backend.name);
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
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings);
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
        let pairs = Pairs::in_batch(integers(&labels, &backend));
        let found = valid(&SemiHardMinerConfig::new().with_margin(margin).init().mine(distances.clone(), &pairs));
        assert!(found == expected, "{}: {} and {}", backend.name, found.len(), expected.len());

        let drawn = DistanceWeightedMinerConfig::new(2).with_nonzero_loss_cutoff(0.8).init(&backend.device);
        let drawn = valid(&drawn.mine(distances, &pairs));
        assert_eq!(drawn.len(), count * 3, "{}: every positive pair", backend.name);
        for [a, p, n] in drawn {
            assert!(labels[a] == labels[p] && a != p && labels[a] != labels[n] && between(a, n) < 0.8);
        }
    }
}

#[test]
fn no_references_are_no_pairs_and_no_triplets() {
    for backend in backends() {
        let pairs = Pairs::between(integers(&[1, 2], &backend), integers(&[], &backend));
        let distances = Tensor::<2>::zeros([2, 0], (&backend.device, backend.dtype));
        assert_eq!(BatchHardMiner::new().mine(distances.clone(), &pairs).valid.dims(), [0]);
        assert_eq!(pairs.triplets().valid.dims(), [0]);
        let mined = MultiSimilarityMinerConfig::new().init().mine(distances, &pairs);
        assert_eq!((mined.positive.dims(), mined.negative.dims()), ([2, 0], [2, 0]), "{}", backend.name);
    }
}

#[test]
fn equal_rows_huge_rows_and_tiny_rows_give_triplets_of_their_pairs() {
    let labels = [0, 0, 1, 1];
    for backend in backends() {
        for size in [0.0, 1e-30, 1.0, 1e30] {
            let rows = vec![vec![size, -size, size]; 4];
            let embeddings = matrix(&rows, &backend);
            let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
            let pairs = Pairs::in_batch(integers(&labels, &backend));
            for [a, p, n] in valid(&BatchHardMiner::new().mine(distances, &pairs)) {
                assert!(a != p && labels[a] == labels[p] && labels[a] != labels[n], "{} {size}", backend.name);
            }
            // Rows that are equal have no angle at the negative.
            let angular = AngularMinerConfig::new().init().mine(embeddings.clone(), embeddings, &pairs);
            assert_eq!(valid(&angular), [[0_usize; 3]; 0], "{} {size}", backend.name);
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
        let pairs = Pairs::in_batch(integers(&case.labels, &backend));
        let of = |distances: Tensor<2>| valid(&TripletMarginMinerConfig::new().init().mine(distances, &pairs));
        assert_eq!(of(view), of(copy), "{}", backend.name);
    }
}

#[test]
fn half_precision_is_mined_in_f32() {
    let device = burn::tensor::Device::flex().autodiff();
    for dtype in [burn::tensor::DType::F16, burn::tensor::DType::BF16] {
        let distances = [[0.0, 1.0, 3.0, 2.0], [1.0, 0.0, 2.0, 1.5], [3.0, 2.0, 0.0, 1.0], [2.0, 1.5, 1.0, 0.0]];
        let distances = Tensor::<2>::from_data(distances, (&device, dtype));
        let pairs = Pairs::in_batch(Tensor::from_data([5, 5, 5, 6], &device));
        let triplets = BatchHardMiner::new().mine(distances, &pairs);
        assert_eq!(valid(&triplets), [[0, 2, 3], [1, 2, 3], [2, 0, 3]]);
    }
}
