use std::collections::BTreeMap;

use burn::module::{Module, Param, ParamId};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::EmbeddingLoss;
use burn_losses::distance::Distance;
use burn_losses::matryoshka::MatryoshkaLossConfig;
use burn_losses::pairs::{
    CircleLossConfig, ContrastiveLossConfig, DecoupledContrastiveLoss, DecoupledContrastiveLossConfig, InfoNceLoss,
    InfoNceLossConfig, LiftedStructureLossConfig, MarginLossConfig, MultiSimilarityLossConfig,
    MultipleNegativesRankingLossConfig, NPairsLossConfig, PairLoss, PairScore, Pairs, RankingBatch, SigLipLoss,
    SigLipLossConfig, SupConLossConfig, TemperatureMode, TripletLossConfig,
};
use burn_losses::reduction::EmbeddingReduction;
use burn_losses_kernels::math::unit_rows;
use parity::{Backend, backends};
use serde_json::{Value, json};
use support::close::{Tolerance, assert_close, assert_finite};
use support::golden::Case;
use support::table::{Call, host, row};

const DIM: usize = 3;
const LABELS: [i64; 6] = [5, 2, 5, 9, 2, 5];
const EXACT: Tolerance = Tolerance::new(1e-11, 1e-11);

/// Every loss that divides rows by their length, gentle and at its sharpest.
fn losses() -> Vec<(&'static str, Value)> {
    vec![
        ("InfoNceLoss", json!({"temperature": 0.5})),
        ("InfoNceLoss", json!({"temperature": 0.01})),
        ("InfoNceLoss", json!({"temperature": 1e-4})),
        ("SupConLoss", json!({"temperature": 0.5})),
        ("SupConLoss", json!({"temperature": 0.01})),
        ("SupConLoss", json!({"temperature": 1e-4})),
        ("NPairsLoss", json!({"score": "Cosine"})),
        ("MultiSimilarityLoss", json!({"alpha": 2.0, "beta": 50.0, "base": 0.5})),
        ("MultiSimilarityLoss", json!({"alpha": 1e4, "beta": 1e4, "base": 0.5})),
        ("CircleLoss", json!({"margin": 0.4, "scale": 80.0})),
        ("CircleLoss", json!({"margin": 0.25, "scale": 1e4})),
    ]
}

/// Those gentle enough for laws of rounding.
fn gentle() -> impl Iterator<Item = (&'static str, Value)> {
    losses().into_iter().filter(|(_, settings)| {
        let sharp = |field: &str| settings.get(field).and_then(Value::as_f64);
        sharp("temperature").is_none_or(|number| number > 0.1)
            && ["beta", "scale"].into_iter().filter_map(sharp).all(|number| number < 100.0)
    })
}

fn case(loss: &str, settings: Value, embeddings: &[Vec<f64>], labels: &[i64]) -> Case {
    let (rows, dim) = (embeddings.len(), embeddings[0].len());
    let count = if loss == "InfoNceLoss" { rows * rows } else { rows };
    let case = json!({
        "name": loss, "loss": loss, "settings": settings, "labels": labels,
        "inputs": {"embeddings": {"shape": [rows, dim], "data": embeddings.concat()}},
        "cotangent": (0..count).map(|place| 0.5 + 0.3 * (place % 7) as f64).collect::<Vec<_>>(),
        "expected": {"losses": {"shape": [0], "data": []}, "gradients": {}}, "source": "none",
    });
    serde_json::from_value(case).expect("a case")
}

struct Outcome {
    losses: Vec<f64>,
    gradient: Vec<f64>,
}

fn run(case: &Case, backend: &Backend) -> Outcome {
    let run = (row(&case.loss).run)(&Call::new(case, &backend.device, backend.dtype));
    let mut gradients: BTreeMap<_, _> = run.gradients(&case.cotangent);
    Outcome { losses: run.loss_values(), gradient: gradients.remove("embeddings").expect("a gradient") }
}

fn on_every_backend(embeddings: &[Vec<f64>], labels: &[i64], test: impl Fn(&str, &str, Outcome)) {
    for backend in backends() {
        for (loss, settings) in losses() {
            let case = case(loss, settings, embeddings, labels);
            let what = format!("{loss} {:?} on {} {:?}", case.settings, backend.name, backend.dtype);
            test(loss, &what, run(&case, &backend));
        }
    }
}

fn zero(embeddings: &[Vec<f64>], labels: &[i64], but_for: &[&str]) {
    on_every_backend(embeddings, labels, |loss, what, outcome| {
        assert_finite(what, &outcome.losses);
        assert_finite(&format!("{what}: gradient"), &outcome.gradient);
        if !but_for.contains(&loss) {
            assert!(outcome.losses.iter().all(|&loss| loss == 0.0), "{what}: {:?}", outcome.losses);
            assert!(outcome.gradient.iter().all(|&slope| slope == 0.0), "{what}: {:?}", outcome.gradient);
        }
    });
}

/// Reproducible numbers in (-1, 1) that nobody chose.
fn rows(count: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |place: usize| 2.0 * ((place * 7919 + seed * 31 + 1) as f64 * 0.618_033_988_7).fract() - 1.0;
    (0..count).map(|row| (0..DIM).map(|column| number(row * DIM + column)).collect()).collect()
}

fn tensor(rows: &[Vec<f64>], backend: &Backend) -> Tensor<2> {
    let columns = rows.first().map_or(DIM, Vec::len);
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), columns]), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), device)
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { EXACT } else { Tolerance::new(3e-5, 3e-5) }
}

/// Only multi-similarity pushes rows apart that have nothing to be pulled to.
#[test]
fn rows_without_a_positive_have_loss_zero_and_gradient_zero() {
    zero(&rows(6, 2), &[1, 2, 3, 4, 5, 6], &["MultiSimilarityLoss"]);
    zero(&rows(1, 2), &[1], &[]);
}

/// The denominator of SupConLoss holds the positives, and multi-similarity pulls without pushing.
#[test]
fn a_batch_without_a_negative_has_loss_zero_and_gradient_zero() {
    zero(&rows(6, 2), &[1; 6], &["SupConLoss", "MultiSimilarityLoss"]);
}

#[test]
fn a_batch_of_negative_labels_has_loss_zero_and_gradient_zero() {
    zero(&rows(6, 2), &[-1, -1, -5, -1, -5, -100], &[]);
}

#[test]
fn a_row_with_a_negative_label_is_as_if_it_were_not_there_even_if_it_is_not_a_number() {
    for backend in backends() {
        for (loss, settings) in losses() {
            let mut labels = LABELS;
            labels[2] = -3;
            let clean = case(loss, settings.clone(), &rows(6, 3), &labels);
            let mut broken = clean.clone();
            broken.inputs.get_mut("embeddings").unwrap().data[2 * DIM..3 * DIM].fill(f64::NAN);
            let (clean, broken) = (run(&clean, &backend), run(&broken, &backend));
            let what = format!("{loss} {settings} on {}", backend.name);
            assert_eq!(clean.losses, broken.losses, "{what}");
            assert_eq!(clean.gradient, broken.gradient, "{what}");
            assert!(broken.gradient[2 * DIM..3 * DIM].iter().all(|&slope| slope == 0.0), "{what}");

            let kept = [0, 1, 3, 4, 5];
            let without: Vec<Vec<f64>> = kept.iter().map(|&row| rows(6, 3)[row].clone()).collect();
            let without = run(&case(loss, settings, &without, &kept.map(|row| LABELS[row])), &backend);
            let places: Vec<usize> = if loss == "InfoNceLoss" {
                kept.iter().flat_map(|row| kept.map(|column| row * 6 + column)).collect()
            } else {
                kept.to_vec()
            };
            let losses: Vec<f64> = places.iter().map(|&place| clean.losses[place]).collect();
            let largest = losses.iter().fold(1.0_f64, |largest, loss| largest.max(loss.abs()));
            let rounding = if backend.is_double() { 1e-12 } else { 5e-5 };
            assert_close(&what, &losses, &without.losses, Tolerance::new(rounding, rounding * largest));
        }
    }
}

#[test]
fn a_learned_temperature_finds_the_gradient_zero_of_an_empty_batch() {
    for backend in backends() {
        let loss = InfoNceLossConfig::new().with_temperature_mode(TemperatureMode::Learned).init(&backend.device);
        let log_scale = loss.temperature.log_scale.as_ref().expect("a learned temperature").val();
        let empty = || Tensor::<2>::zeros([0, DIM], (&backend.device, backend.dtype));
        let nobody = || Tensor::<1, Int>::zeros([0], &backend.device);
        let (rows, labels) = (tensor(&rows(6, 1), &backend), integers(&LABELS, &backend.device));
        for pairs in [
            Pairs::in_batch(empty(), nobody()),
            Pairs::with_references(rows, labels, (empty(), nobody())),
            Pairs::views(empty(), empty()),
            Pairs::aligned(empty(), empty()),
            Pairs::symmetric(empty(), empty()),
            Pairs::queue(empty(), empty(), (empty(), nobody())),
        ] {
            let value = loss.forward_pairs(&pairs);
            let gradient = log_scale.grad(&value.clone().backward()).expect("a gradient of the temperature");
            assert_eq!((host(value), host(gradient)), (vec![0.0], vec![0.0]), "{}", backend.name);
        }
    }
}

/// Every loss of pairs.
fn every_loss(reduction: EmbeddingReduction, device: &Device) -> [Box<dyn PairLoss>; 11] {
    [
        Box::new(InfoNceLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(SupConLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(SigLipLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(decoupled(None, reduction, device)),
        Box::new(NPairsLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(MultiSimilarityLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(CircleLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(ContrastiveLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(TripletLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(LiftedStructureLossConfig::new().with_reduction(reduction).init(device)),
        Box::new(MarginLossConfig::new().with_reduction(reduction).init(device)),
    ]
}

#[test]
fn an_empty_batch_and_empty_references_have_loss_zero_and_a_gradient() {
    for backend in backends() {
        let empty = || Tensor::<2>::zeros([0, DIM], (&backend.device, backend.dtype));
        let nobody = || Tensor::<1, Int>::zeros([0], &backend.device);
        let labels = || integers(&LABELS, &backend.device);
        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
            for loss in every_loss(reduction, &backend.device) {
                let what = format!("{} {reduction:?} on {}", loss.name(), backend.name);
                assert_eq!(host(loss.forward(empty().require_grad(), nobody())), [0.0], "{what}");
                loss.forward(empty().require_grad(), nobody()).backward();
                assert_eq!(loss.forward_no_reduction(empty(), nobody()).dims(), [0], "{what}");
                let rows = tensor(&rows(6, 1), &backend).require_grad();
                let pairs = Pairs::with_references(rows.clone(), labels(), (empty(), nobody()));
                let value = loss.forward_pairs(&pairs);
                let gradient = host(rows.grad(&value.backward()).expect("a gradient"));
                assert_eq!(host(value), [0.0], "{what}");
                assert!(gradient.iter().all(|&slope| slope == 0.0), "{what}");
                assert_eq!(host(loss.forward_pairs_no_reduction(&pairs)), [0.0; 6], "{what}");
                let value = loss.forward_pairs(&Pairs::with_references(empty(), nobody(), (rows, labels())));
                assert_eq!(host(value), [0.0], "{what}");
                // One view, one key: nothing to tell it from. And a queue of nothing.
                let one = || tensor(&self::rows(1, 1), &backend);
                for pairs in [
                    Pairs::views(empty(), empty()),
                    Pairs::aligned(empty(), empty()),
                    Pairs::symmetric(empty(), empty()),
                    Pairs::symmetric(empty(), empty()).with_identities(nobody()),
                    Pairs::given_triplets(empty(), empty(), empty()),
                    Pairs::queue(empty(), empty(), (empty(), nobody())),
                    Pairs::views(one(), one()),
                    Pairs::aligned(one(), one()),
                    Pairs::symmetric(one(), one()),
                    Pairs::queue(one(), one(), (empty(), nobody())),
                ] {
                    // These pull a view to the other one with nothing to push, and a boundary is beyond both.
                    let pulls = ["MultiSimilarityLoss", "SupConLoss", "SigLipLoss"].contains(&loss.name());
                    // Rows side by side are no classes.
                    let panics = loss.name() == "NPairsLoss" && pairs.dims() == [0, 2];
                    if !panics && (!pulls || pairs.is_empty()) {
                        assert_eq!(host(loss.forward_pairs(&pairs)), [0.0], "{what}: {pairs:?}");
                    }
                }
            }
            let none = Tensor::<2>::zeros([0, 6], (&backend.device, backend.dtype));
            let pairs = Pairs::precomputed_with_references(Distance::Cosine, none, nobody(), labels());
            let circle = CircleLossConfig::new().with_reduction(reduction).init(&backend.device);
            assert_eq!(host(circle.forward_pairs(&pairs)), [0.0]);
            let multi_similarity = MultiSimilarityLossConfig::new().with_reduction(reduction).init(&backend.device);
            assert_eq!(host(multi_similarity.forward_pairs(&pairs)), [0.0]);
        }
    }
}

#[test]
fn references_that_are_all_empty_slots_give_loss_zero() {
    for backend in backends() {
        let references = || tensor(&vec![vec![f64::NAN; DIM]; 4], &backend);
        let slots = || integers(&[-1; 4], &backend.device);
        let (rows, labels) = (|| tensor(&rows(6, 1), &backend), || integers(&LABELS, &backend.device));
        for loss in every_loss(EmbeddingReduction::Mean, &backend.device) {
            let leaf = rows().require_grad();
            let value = loss.forward_pairs(&Pairs::with_references(leaf.clone(), labels(), (references(), slots())));
            let gradient = host(leaf.grad(&value.backward()).expect("a gradient"));
            assert_eq!(host(value), [0.0], "{} on {}", loss.name(), backend.name);
            assert!(gradient.iter().all(|&slope| slope == 0.0), "{} on {}", loss.name(), backend.name);
        }
        let loss = InfoNceLossConfig::new().init(&backend.device);
        assert_eq!(host(loss.forward_pairs(&Pairs::queue(rows(), rows(), (references(), slots())))), [0.0]);
    }
}

/// Products that overflow are beyond `PairScore::Product`; these do not.
#[test]
fn products_of_long_and_of_short_rows_are_finite() {
    for backend in backends() {
        for length in [0.0, 1e-30, 1.0, 1e4, 1e12] {
            let embeddings: Vec<Vec<f64>> =
                rows(6, 1).into_iter().map(|row| row.into_iter().map(|number| length * number).collect()).collect();
            let outcome = run(&case("NPairsLoss", json!({"score": "Product"}), &embeddings, &LABELS), &backend);
            assert_finite("losses", &outcome.losses);
            assert_finite("gradient", &outcome.gradient);
        }
    }
}

#[test]
fn identities_may_be_any_numbers() {
    for backend in backends() {
        for (loss, settings) in gentle() {
            let one = run(&case(loss, settings.clone(), &rows(6, 4), &LABELS), &backend);
            let renamed = LABELS.map(|label| i64::from(i32::MAX) - 3 * label);
            let other = run(&case(loss, settings, &rows(6, 4), &renamed), &backend);
            assert_eq!(one.losses, other.losses, "{loss} on {}", backend.name);
            assert_eq!(one.gradient, other.gradient, "{loss} on {}", backend.name);
        }
    }
}

/// One positive per row, which stands in both denominators.
#[test]
fn with_one_positive_per_row_supervised_contrastive_is_info_nce() {
    for backend in backends() {
        let labels = [4, 7, 4, 1, 7, 1];
        let settings = json!({"temperature": 0.2});
        let pairs = run(&case("InfoNceLoss", settings.clone(), &rows(6, 6), &labels), &backend).losses;
        let per_row: Vec<f64> = pairs.chunks(6).map(|row| row.iter().sum()).collect();
        let sup_con = run(&case("SupConLoss", settings, &rows(6, 6), &labels), &backend).losses;
        assert_close(&backend.name, &sup_con, &per_row, tolerance(&backend));
    }
}

#[test]
fn views_are_pairs_by_position() {
    for backend in backends() {
        let loss = InfoNceLossConfig::new().with_temperature(0.2).init(&backend.device);
        let (first, second) = (rows(3, 1), rows(3, 2));
        let views = Pairs::views(tensor(&first, &backend), tensor(&second, &backend));
        let views = loss.forward_pairs_no_reduction(&views);
        let both = tensor(&[first, second].concat(), &backend);
        let pairs = loss.forward_no_reduction(both, integers(&[0, 1, 2, 0, 1, 2], &backend.device));
        assert_close(&backend.name, &host(views), &host(pairs), tolerance(&backend));
    }
}

#[test]
fn aligned_rows_at_temperature_one_are_n_pairs_of_cosines() {
    for backend in backends() {
        let (queries, keys) = (|| tensor(&rows(4, 1), &backend), || tensor(&rows(4, 2), &backend));
        let sum = EmbeddingReduction::Sum;
        let info_nce = InfoNceLossConfig::new().with_temperature(1.0).with_reduction(sum).init(&backend.device);
        let n_pairs = NPairsLossConfig::new().with_score(PairScore::Cosine).with_reduction(sum).init(&backend.device);
        let aligned = Pairs::aligned(queries(), keys());
        let one = host(info_nce.forward_pairs(&aligned));
        assert_close(&backend.name, &one, &host(n_pairs.forward_pairs(&aligned)), tolerance(&backend));
        // The other keys as a queue of negatives, one query at a time.
        let mut sum = 0.0;
        for own in 0..4 {
            let others: Vec<Vec<f64>> = (0..4).filter(|&key| key != own).map(|key| rows(4, 2)[key].clone()).collect();
            let (query, key) = (queries().narrow(0, own, 1), keys().narrow(0, own, 1));
            let slots = integers(&[0, 0, 0], &backend.device);
            let queue = (tensor(&others, &backend), slots);
            sum += host(info_nce.forward_pairs(&Pairs::queue(query, key, queue)))[0];
        }
        assert_close(&backend.name, &[sum], &one, tolerance(&backend));
    }
}

#[test]
fn a_learned_temperature_starts_as_the_fixed_one() {
    for backend in backends() {
        let config = InfoNceLossConfig::new().with_temperature(0.3);
        let fixed = config.init(&backend.device);
        let mut learned = config.with_temperature_mode(TemperatureMode::Learned).init(&backend.device);
        let losses = |loss: &InfoNceLoss| {
            let losses = loss.forward_no_reduction(tensor(&rows(6, 3), &backend), integers(&LABELS, &backend.device));
            host(losses)
        };
        // The parameter is made in the default precision.
        assert_close(&backend.name, &losses(&learned), &losses(&fixed), Tolerance::new(1e-5, 1e-6));

        let log_scale = Tensor::<1>::from_data([-(0.3_f64.ln())], (&backend.device, backend.dtype)).require_grad();
        learned.temperature.log_scale = Some(Param::initialized(ParamId::new(), log_scale));
        assert_close(&backend.name, &losses(&learned), &losses(&fixed), tolerance(&backend));
    }
}

#[test]
fn a_learned_temperature_is_trained_saved_and_loaded() {
    for backend in backends().iter().filter(|backend| !backend.is_double()) {
        let config = InfoNceLossConfig::new().with_temperature(0.3).with_temperature_mode(TemperatureMode::Learned);
        let loss = config.init(&backend.device);
        let log_scale = |loss: &InfoNceLoss| host(loss.temperature.log_scale.as_ref().expect("learned").val())[0];
        let value = loss.forward(tensor(&rows(6, 3), backend), integers(&LABELS, &backend.device));
        let before = log_scale(&loss);
        let gradients = GradientsParams::from_grads(value.backward(), &loss);
        let trained = SgdConfig::new().init().step(0.5, loss, gradients);
        assert!((log_scale(&trained) - before).abs() > 1e-3, "{}", backend.name);

        let path = std::env::temp_dir().join(format!("burn-losses-temperature-{}.bpk", std::process::id()));
        trained.clone().into_record().save(&path).expect("saved");
        let restored = config.init(&backend.device).load_record(ModuleRecord::load(&path).expect("loaded"));
        assert_eq!(log_scale(&restored), log_scale(&trained), "{}", backend.name);
        std::fs::remove_file(&path).expect("removed");
    }
}

/// The reduced loss is streamed, that of every pair is a matrix.
#[test]
fn the_streamed_info_nce_is_that_of_all_pairs() {
    for backend in backends() {
        let labels = [5, 2, 5, -1, 2, 5, 8];
        let outcome = |reduction: EmbeddingReduction, choose: &dyn Fn(Pairs) -> Pairs| {
            let config = InfoNceLossConfig::new().with_temperature(0.2).with_reduction(reduction);
            let loss = config.with_temperature_mode(TemperatureMode::Learned).init(&backend.device);
            let leaf = tensor(&rows(7, 4), &backend).require_grad();
            let pairs = choose(Pairs::in_batch(leaf.clone(), integers(&labels, &backend.device)));
            let value = loss.forward_pairs(&pairs);
            let gradients = value.clone().backward();
            let log_scale = loss.temperature.log_scale.as_ref().expect("a learned temperature").val();
            let of_scale = log_scale.grad(&gradients).expect("a gradient of the temperature");
            [host(value), host(leaf.grad(&gradients).expect("a gradient")), host(of_scale)].concat()
        };
        let sum = outcome(EmbeddingReduction::Sum, &|pairs| pairs)[0];
        // By hand: three and two rows of a class make 3·2 + 2·1 pairs, all of which have a loss.
        for (reduction, divisor) in
            [(EmbeddingReduction::Sum, 1.0), (EmbeddingReduction::Mean, 8.0), (EmbeddingReduction::MeanNonZero, 8.0)]
        {
            let streamed = outcome(reduction, &|pairs| pairs);
            let matrix = outcome(reduction, &|pairs| {
                let masks = pairs.masks();
                pairs.with_masks(masks)
            });
            assert_close(&format!("{reduction:?} on {}", backend.name), &streamed, &matrix, tolerance(&backend));
            assert_close(&backend.name, &[streamed[0] * divisor], &[sum], tolerance(&backend));
        }
    }
}

/// The parts of a gradient are added up before they are rounded: 256 and 1 is 256 in `bf16`.
#[test]
fn what_is_trained_in_half_precision_has_the_sum_of_its_parts_as_gradient() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && !backend.is_double()) {
        let numbers: Vec<Vec<f64>> =
            (0..40).map(|row| vec![f64::from(row % 7) - 3.0, f64::from(row % 5), 1.0]).collect();
        let labels: Vec<i64> = (0..40).map(|row| row % 8).collect();
        let gradients = |dtype: DType| {
            let rows = || tensor(&numbers, backend).cast(dtype);
            let parameter = |number: f64| {
                let number = Tensor::<1>::from_data([number], &backend.device).cast(dtype).detach().require_grad();
                Param::initialized(ParamId::new(), number)
            };
            let sum = EmbeddingReduction::Sum;
            let mut info_nce = InfoNceLossConfig::new().with_reduction(sum).init(&backend.device);
            info_nce.temperature.log_scale = Some(parameter(1.5));
            let mut margin = MarginLossConfig::new().with_margin(9.0).with_reduction(sum).init(&backend.device);
            margin.beta = parameter(2.0);
            let of = |loss: &dyn PairLoss, leaf: Tensor<1>| {
                let value = loss.forward(rows(), integers(&labels, &backend.device));
                host(leaf.grad(&value.backward()).expect("a gradient").cast(DType::F32))[0]
            };
            [
                of(&info_nce, info_nce.temperature.log_scale.as_ref().expect("learned").val()),
                of(&margin, margin.beta.val()),
            ]
        };
        let (single, half) = (gradients(DType::F32), gradients(DType::BF16));
        // By hand: with such a margin all 40·4 positives pull the boundary down, all 40·35 negatives up.
        assert_close("beta", &single[1..], &[40.0 * 35.0 - 40.0 * 4.0], Tolerance::new(1e-6, 0.0));
        let rounding = 2.0_f64.powi(-8);
        assert_close("half", &half, &single, Tolerance::new(rounding, 0.0));
    }
}

/// A positive that no negative comes near has loss 0 in floating point; `MeanNonZero` leaves it out.
#[test]
fn pairs_without_a_loss_do_not_count_where_only_losses_do() {
    for backend in backends() {
        let unit = [vec![1.0, 0.0, 0.0], vec![1.0, 0.0, 0.0], vec![0.6, 0.8, 0.0], vec![-1.0, 0.0, 0.0]];
        let labels = || integers(&[1, 1, 1, 2], &backend.device);
        // Logits thousands apart underflow in every precision.
        let of = |reduction, rows: &[Vec<f64>]| {
            let loss = InfoNceLossConfig::new().with_temperature(1e-4).with_reduction(reduction).init(&backend.device);
            (
                host(loss.forward(tensor(rows, &backend), labels()))[0],
                host(loss.forward_no_reduction(tensor(rows, &backend), labels())),
            )
        };
        let value = |reduction| of(reduction, &unit).0;
        assert_eq!(
            [value(EmbeddingReduction::Sum), value(EmbeddingReduction::Mean), value(EmbeddingReduction::MeanNonZero)],
            [0.0; 3]
        );

        let unit = [vec![1.0, 0.0, 0.0], vec![1.0, 0.0, 0.0], vec![-0.6, 0.8, 0.0], vec![-1.0, 0.0, 0.0]];
        let anchors = of(EmbeddingReduction::Sum, &unit).1;
        let value = |reduction| of(reduction, &unit).0;
        // By hand: the third row is nearer to the fourth than to its two positives; the first two see each other alone.
        assert!(anchors[2] > 0.0, "{}: {anchors:?}", backend.name);
        assert_eq!([anchors[0], anchors[1], anchors[3]], [0.0; 3], "{}", backend.name);
        let expected = [value(EmbeddingReduction::Sum) / 2.0, value(EmbeddingReduction::Sum) / 6.0];
        let actual = [value(EmbeddingReduction::MeanNonZero), value(EmbeddingReduction::Mean)];
        assert_close(&backend.name, &actual, &expected, tolerance(&backend));
    }
}

/// References labelled in another integer type, such as those of a memory.
#[test]
fn labels_of_two_integer_types_are_compared() {
    for backend in backends() {
        for dtype in [DType::I8, DType::U8, DType::I32, DType::I64] {
            if !backend.device.supports_dtype(dtype) {
                continue;
            }
            let labels = Tensor::<1, Int>::from_data(TensorData::from([5_i64, 2, 9]), (&backend.device, dtype));
            let loss = SupConLossConfig::new().init(&backend.device);
            let run = |labels: Tensor<1, Int>| {
                let references = (tensor(&rows(4, 5), &backend), integers(&[5, 9, 2, -1], &backend.device));
                host(loss.forward_pairs(&Pairs::with_references(tensor(&rows(3, 4), &backend), labels, references)))
            };
            assert_eq!(run(labels), run(integers(&[5, 2, 9], &backend.device)), "{dtype:?} on {}", backend.name);
        }
    }
}

/// Rows of a batch against themselves as references: each finds itself among its positives.
#[test]
fn references_are_rows_of_their_own() {
    for backend in backends() {
        let labels = [1, 2, 3];
        let loss = MultiSimilarityLossConfig::new().with_reduction(EmbeddingReduction::Sum).init(&backend.device);
        let run = |references: &[usize]| {
            let kept: Vec<Vec<f64>> = references.iter().map(|&row| rows(3, 8)[row].clone()).collect();
            let kept_labels: Vec<i64> = references.iter().map(|&row| labels[row]).collect();
            let (rows, labels) = (tensor(&rows(3, 8), &backend), integers(&labels, &backend.device));
            let references = (tensor(&kept, &backend), integers(&kept_labels, &backend.device));
            host(loss.forward_pairs(&Pairs::with_references(rows, labels, references)))[0]
        };
        // By hand: each row finds itself at cosine 1, which costs log(1 + exp(-2·0.5)) / 2.
        let alone = host(loss.forward(tensor(&rows(3, 8), &backend), integers(&labels, &backend.device)))[0];
        let expected = alone + 1.5 * (-1.0_f64).exp().ln_1p();
        assert_close(&backend.name, &[run(&[0, 1, 2])], &[expected], tolerance(&backend));
        assert_close(&backend.name, &[run(&[2, 0, 1])], &[expected], tolerance(&backend));
    }
}

/// Streamed, as masks, and from a matrix of cosine distances: the same pairs.
#[test]
fn three_ways_to_the_pairs_of_labels_agree() {
    for backend in backends() {
        for labels in [LABELS, [5, -1, 5, 9, 5, -1], [1, 2, 3, 4, 5, 6], [1; 6]] {
            let labels = || integers(&labels, &backend.device);
            let outcome = |run: &dyn Fn(Tensor<2>) -> Tensor<1>| {
                let leaf = tensor(&rows(6, 3), &backend).require_grad();
                let value = run(leaf.clone());
                let gradient = host(leaf.grad(&value.clone().backward()).expect("a gradient"));
                [host(value), gradient].concat()
            };
            for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
                let device = &backend.device;
                let losses: [Box<dyn PairLoss>; 8] = [
                    Box::new(sig_lip(reduction, device)),
                    Box::new(decoupled(None, reduction, device)),
                    Box::new(decoupled(Some(0.5), reduction, device)),
                    Box::new(MultiSimilarityLossConfig::new().with_beta(10.0).with_reduction(reduction).init(device)),
                    Box::new(CircleLossConfig::new().with_scale(10.0).with_reduction(reduction).init(device)),
                    Box::new(InfoNceLossConfig::new().with_temperature(0.3).with_reduction(reduction).init(device)),
                    Box::new(SupConLossConfig::new().with_temperature(0.3).with_reduction(reduction).init(device)),
                    Box::new(
                        NPairsLossConfig::new().with_score(PairScore::Cosine).with_reduction(reduction).init(device),
                    ),
                ];
                for loss in losses {
                    let what = format!("{} {reduction:?} on {}", loss.name(), backend.name);
                    let streamed = outcome(&|rows| loss.forward(rows, labels()));
                    let masks = outcome(&|rows| {
                        let pairs = Pairs::in_batch(rows, labels());
                        loss.forward_pairs(&pairs.clone().with_masks(pairs.masks()))
                    });
                    assert_close(&what, &masks, &streamed, tolerance(&backend));
                    let known = outcome(&|rows| {
                        let unit = unit_rows(rows);
                        let distances = unit.clone().matmul(unit.transpose()).neg().add_scalar(1.0);
                        loss.forward_pairs(&Pairs::precomputed(Distance::Cosine, distances, labels()))
                    });
                    assert_close(&what, &known, &streamed, tolerance(&backend));
                }
            }
        }
    }
}

/// With references, streamed and as masks; of a queue and of aligned rows too.
#[test]
fn pairs_by_position_are_those_of_their_masks() {
    for backend in backends() {
        let device = &backend.device;
        let row = |count, seed| tensor(&rows(count, seed), &backend);
        let queue = || (row(4, 6), integers(&[3, -1, 3, 0], device));
        let pairs = [
            Pairs::with_references(
                row(3, 4),
                integers(&[5, 9, -1], device),
                (row(4, 5), integers(&[9, 5, 2, 5], device)),
            ),
            Pairs::views(row(3, 4), row(3, 5)),
            Pairs::aligned(row(3, 4), row(3, 5)),
            Pairs::aligned(row(4, 4), row(4, 5)).with_identities(integers(&[7, 3, 7, -1], device)),
            Pairs::symmetric(row(3, 4), row(3, 5)),
            Pairs::symmetric(row(4, 4), row(4, 5)).with_identities(integers(&[7, 3, 7, -1], device)),
            Pairs::queue(row(3, 4), row(3, 5), queue()),
        ];
        for pairs in pairs {
            let chosen = pairs.clone().with_masks(pairs.masks());
            let losses: [Box<dyn PairLoss>; 7] = [
                Box::new(sig_lip(EmbeddingReduction::Mean, device)),
                Box::new(decoupled(None, EmbeddingReduction::Mean, device)),
                Box::new(decoupled(Some(0.5), EmbeddingReduction::Mean, device)),
                Box::new(InfoNceLossConfig::new().with_temperature(0.3).init(device)),
                Box::new(SupConLossConfig::new().with_temperature(0.3).init(device)),
                Box::new(MultiSimilarityLossConfig::new().with_beta(10.0).init(device)),
                Box::new(CircleLossConfig::new().with_scale(10.0).init(device)),
            ];
            for loss in losses {
                let what = format!("{} on {}", loss.name(), backend.name);
                let (value, expected) = (host(loss.forward_pairs(&pairs)), host(loss.forward_pairs(&chosen)));
                assert_close(&what, &value, &expected, tolerance(&backend));
                // Without the positive in the denominator a loss may have either sign.
                assert!(value[0] > 0.0 || (loss.name() == "DecoupledContrastiveLoss" && value[0] != 0.0), "{what}");
            }
        }
    }
}

/// With a fixed temperature and bias, which are numbers in every precision.
fn sig_lip(reduction: EmbeddingReduction, device: &Device) -> SigLipLoss {
    let config = SigLipLossConfig::new().with_temperature(0.3).with_bias(-1.5).with_reduction(reduction);
    config.with_temperature_mode(TemperatureMode::Fixed).init(device)
}

/// With and without weights.
fn decoupled(weight: Option<f64>, reduction: EmbeddingReduction, device: &Device) -> DecoupledContrastiveLoss {
    let config = DecoupledContrastiveLossConfig::new().with_temperature(0.3).with_weight_temperature(weight);
    config.with_reduction(reduction).init(device)
}

#[test]
fn a_ranking_of_documents_alone_is_info_nce_of_aligned_rows() {
    for backend in backends() {
        let (queries, documents) = (|| tensor(&rows(5, 4), &backend), || tensor(&rows(5, 5), &backend));
        let identities = || integers(&[3, 8, 3, -1, 5], &backend.device);
        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum] {
            let ranking = MultipleNegativesRankingLossConfig::new().with_reduction(reduction).init(&backend.device);
            let info_nce =
                InfoNceLossConfig::new().with_temperature(0.05).with_reduction(reduction).init(&backend.device);
            let batch = RankingBatch::new(queries(), documents());
            let pairs = Pairs::aligned(queries(), documents());
            let expected = host(info_nce.forward_pairs(&pairs));
            assert_close(&backend.name, &host(ranking.forward(&batch)), &expected, tolerance(&backend));
            let expected = host(info_nce.forward_pairs(&pairs.with_identities(identities())));
            let batch = batch.with_identities(identities());
            assert_close(&backend.name, &host(ranking.forward(&batch)), &expected, tolerance(&backend));
        }
        let empty = || Tensor::<2>::zeros([0, DIM], (&backend.device, backend.dtype)).require_grad();
        let ranking = MultipleNegativesRankingLossConfig::new().init(&backend.device);
        let leaf = empty();
        let value = ranking.forward(&RankingBatch::new(leaf.clone(), empty()).with_hard_negatives(empty()));
        assert!(leaf.grad(&value.backward()).is_some(), "{}", backend.name);
        assert_eq!(host(value), [0.0], "{}", backend.name);
    }
}

/// Grades with many equals, among them such as the host sorts and a network of operations would.
#[test]
fn many_graded_pairs_agree_with_the_plain_loops() {
    for backend in backends() {
        for (count, grades) in [(1, 1), (2, 2), (65, 4), (200, 1000)] {
            let grade = |row: usize| ((row * 7919 + 13) % 101 % grades) as i64;
            let inputs = json!({
                "first": {"shape": [count, DIM], "data": rows(count, 4).concat()},
                "second": {"shape": [count, DIM], "data": rows(count, 5).concat()},
            });
            let case = json!({
                "name": "graded", "loss": "CoSentLoss", "settings": {"scale": 20.0}, "inputs": inputs,
                "labels": (0..count).map(grade).collect::<Vec<_>>(), "cotangent": [1.0],
                "expected": {"losses": {"shape": [0], "data": []}, "gradients": {}}, "source": "none",
            });
            let case: Case = serde_json::from_value(case).expect("a case");
            let actual = (row("CoSentLoss").run)(&Call::new(&case, &backend.device, backend.dtype)).loss_values();
            let expected = support::naive::softmax_pairs::co_sent(&case);
            assert_close(&format!("{count} on {}", backend.name), &actual, &expected, tolerance(&backend));
        }
    }
}

#[test]
fn symmetric_pairs_are_the_mean_of_both_directions() {
    for backend in backends() {
        let (first, second) = (|| tensor(&rows(5, 4), &backend), || tensor(&rows(5, 5), &backend));
        let info_nce = InfoNceLossConfig::new().with_temperature(0.3).init(&backend.device);
        let sig_lip = sig_lip(EmbeddingReduction::Mean, &backend.device);
        let losses: [&dyn PairLoss; 2] = [&info_nce, &sig_lip];
        for loss in losses {
            let of = |pairs: Pairs| host(loss.forward_pairs(&pairs))[0];
            let ways = [of(Pairs::aligned(first(), second())), of(Pairs::aligned(second(), first()))];
            let both = of(Pairs::symmetric(first(), second()));
            let what = format!("{} on {}", loss.name(), backend.name);
            assert_close(&what, &[both], &[(ways[0] + ways[1]) / 2.0], tolerance(&backend));
            if loss.name() == "SigLipLoss" {
                assert_close(&what, &[ways[0]], &[ways[1]], tolerance(&backend));
            }
        }
    }
}

/// A sum of softplus over all pairs less the scores of the positives would be rounded to thousandths here, in `f32`.
#[test]
fn a_large_score_of_a_positive_leaves_the_negatives_their_digits() {
    for backend in backends() {
        let axes = || tensor(&[vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]], &backend);
        let config = SigLipLossConfig::new().with_temperature(1e-4).with_bias(-3.0);
        let loss = config.with_temperature_mode(TemperatureMode::Fixed).init(&backend.device);
        let losses = host(loss.forward_pairs_no_reduction(&Pairs::aligned(axes(), axes())));
        // By hand: the own pair scores 9997 and costs nothing, each of the two others -3.
        let expected = 2.0 * (-3.0_f64).exp().ln_1p();
        let digits = if backend.is_double() { 1e-14 } else { 1e-6 };
        assert_close(&backend.name, &losses, &[expected; 3], Tolerance::new(digits, 0.0));
    }
}

/// Scores, temperature and bias against the plain loop, with more rows than one block of the engine.
#[test]
fn a_large_sig_lip_agrees_with_the_plain_loops() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let settings = json!({"temperature": 0.1, "bias": -2.0, "temperature_mode": "Fixed"});
        let labels: Vec<i64> = (0..700).map(|row| (row * 7) % 301).collect();
        let case = case("SigLipLoss", settings, &rows(700, 9), &labels);
        let expected = support::naive::softmax_pairs::sig_lip(&case);
        assert_close(&backend.name, &run(&case, backend).losses, &expected, Tolerance::new(1e-12, 1e-12));
    }
}

/// A mean is over what has a loss at all: pairs, anchors, rows with a positive, rows in a pair, rows with both.
#[test]
fn a_mean_counts_what_has_a_loss() {
    for backend in backends() {
        let labels = || integers(&[5, 2, 5, 9, 2, -1], &backend.device);
        let rows = || tensor(&rows(6, 3), &backend);
        macro_rules! counted {
            ($config:expr) => {{
                let value = |reduction| {
                    host($config.with_reduction(reduction).init(&backend.device).forward(rows(), labels()))[0]
                };
                value(EmbeddingReduction::Sum) / value(EmbeddingReduction::Mean)
            }};
        }
        let counts = [
            counted!(InfoNceLossConfig::new()),
            counted!(SupConLossConfig::new()),
            counted!(NPairsLossConfig::new()),
            counted!(MultiSimilarityLossConfig::new()),
            counted!(CircleLossConfig::new().with_scale(5.0)),
            counted!(SigLipLossConfig::new()),
            counted!(DecoupledContrastiveLossConfig::new()),
        ];
        // By hand: two classes of two; row 3 has negatives only, row 5 nothing.
        assert_close(&backend.name, &counts, &[4.0, 4.0, 2.0, 5.0, 4.0, 5.0, 4.0], Tolerance::new(1e-5, 0.0));
    }
}

/// More rows than one block of label comparisons, and than one block of the engine.
#[test]
fn a_large_batch_agrees_with_the_plain_loops() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let labels: Vec<i64> = (0..1300).map(|row| (row * 7) % 501).collect();
        let case = case("SupConLoss", json!({"temperature": 0.5}), &rows(1300, 9), &labels);
        let losses = run(&case, backend).losses;
        assert_close(&backend.name, &losses, &support::naive::softmax_pairs::sup_con(&case), EXACT);
    }
}

/// A row in no pair, or a batch without one, is silent even beside a row that is no number.
#[test]
fn what_is_in_no_pair_has_no_loss_beside_a_nan() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let rows = |labels: [i64; 4]| {
            let numbers = TensorData::from([[f64::NAN, 1.0], [1.0, 0.0], [0.3, 0.4], [0.5, 0.2]]);
            let labels = Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device);
            (Tensor::<2>::from_data(numbers, options), labels)
        };
        let circle = CircleLossConfig::new().init(&backend.device);
        // The third row has no positive, the last one no label.
        let (embeddings, labels) = rows([1, 1, 2, -1]);
        let losses = host(circle.forward_no_reduction(embeddings, labels));
        assert!(losses[0].is_nan() && losses[1].is_nan(), "{}: {losses:?}", backend.name);
        assert_eq!(losses[2..], [0.0, 0.0], "{}", backend.name);

        let silent: [(&str, Box<dyn EmbeddingLoss>); 4] = [
            ("CircleLoss", Box::new(circle)),
            ("InfoNceLoss", Box::new(InfoNceLossConfig::new().init(&backend.device))),
            ("SupConLoss", Box::new(SupConLossConfig::new().init(&backend.device))),
            ("NPairsLoss", Box::new(NPairsLossConfig::new().init(&backend.device))),
        ];
        for (name, loss) in silent {
            let (embeddings, labels) = rows([1, 2, 3, -1]);
            assert_eq!(host(loss.forward(embeddings, labels)), [0.0], "{name} on {}", backend.name);
        }
    }
}

/// What is reduced comes with its gradient in one pass where tensors lie in host memory; the losses of anchors do not.
#[test]
fn a_reduced_sigmoid_loss_is_that_of_its_anchors() {
    // More rows than a tile, and fewer.
    for (count, seeds) in [(600, [3, 4]), (5, [5, 6]), (1, [7, 8])] {
        let (first, second) = (rows(count, seeds[0]), rows(count, seeds[1]));
        let identities: Vec<i64> = (0..count as i64).map(|row| if row % 7 == 4 { -1 } else { row % 23 }).collect();
        let known = identities.iter().filter(|&&identity| identity >= 0).count();
        // On a GPU there is no other way for many rows.
        for backend in backends().into_iter().filter(|backend| count < 100 || !backend.is_gpu()) {
            for (form, anchors) in
                [("aligned", count), ("symmetric", 2 * count), ("identified", known), ("both", 2 * known)]
            {
                let run = |reduction: EmbeddingReduction, is_reduced: bool| {
                    let config = SigLipLossConfig::new().with_temperature(0.2).with_bias(-3.0);
                    let config = config.with_temperature_mode(TemperatureMode::Learned).with_reduction(reduction);
                    let loss: SigLipLoss = config.init(&backend.device);
                    let [first, second] = [&first, &second].map(|rows| tensor(rows, &backend).require_grad());
                    let identities = || integers(&identities, &backend.device);
                    let pairs = match form {
                        "aligned" => Pairs::aligned(first.clone(), second.clone()),
                        "symmetric" => Pairs::symmetric(first.clone(), second.clone()),
                        "identified" => Pairs::aligned(first.clone(), second.clone()).with_identities(identities()),
                        _ => Pairs::symmetric(first.clone(), second.clone()).with_identities(identities()),
                    };
                    let value = if is_reduced {
                        loss.forward_pairs(&pairs)
                    } else {
                        let sum = loss.forward_pairs_no_reduction(&pairs).sum();
                        if reduction == EmbeddingReduction::Sum { sum } else { sum.mul_scalar(1.0 / anchors as f64) }
                    };
                    // An upstream gradient that is not 1.
                    let gradients = value.clone().mul_scalar(0.5).backward();
                    let [scale, bias] = [loss.temperature.log_scale, loss.learned_bias]
                        .map(|parameter| parameter.expect("learned").val());
                    let mut outcome = vec![host(value)];
                    outcome.extend([&first, &second].map(|rows| host(rows.grad(&gradients).expect("a gradient"))));
                    outcome.extend([&scale, &bias].map(|number| host(number.grad(&gradients).expect("a gradient"))));
                    outcome
                };
                for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum] {
                    let (reduced, expected) = (run(reduction, true), run(reduction, false));
                    for (place, (actual, expected)) in reduced.iter().zip(&expected).enumerate() {
                        // A temperature is an `f32`, and so is its gradient.
                        let share = if backend.is_double() && place < 3 { 1e-12 } else { 2e-5 };
                        let largest = expected.iter().fold(1e-3_f64, |largest, number| largest.max(number.abs()));
                        let what = format!("{form} {reduction:?} {place} of {count} on {}", backend.name);
                        assert_close(&what, actual, expected, Tolerance::new(share, share * largest));
                    }
                }
            }
        }
    }
}

/// The same of InfoNCE, and of a ranking with hard negatives.
#[test]
fn a_reduced_loss_of_picks_is_that_of_its_anchors() {
    for count in [600, 5, 1] {
        let sides: Vec<_> = (3..6).map(|seed| rows(count, seed)).collect();
        for backend in backends().into_iter().filter(|backend| count < 100 || !backend.is_gpu()) {
            for (reduction, share) in [(EmbeddingReduction::Mean, 1.0 / count as f64), (EmbeddingReduction::Sum, 1.0)] {
                let info_nce = InfoNceLossConfig::new().with_temperature(0.2).with_reduction(reduction);
                let info_nce = info_nce.with_temperature_mode(TemperatureMode::Learned);
                let ranking = MultipleNegativesRankingLossConfig::new().with_reduction(reduction);
                let ranking = ranking.with_temperature_mode(TemperatureMode::Learned);
                for is_ranking in [false, true] {
                    let run = |is_reduced: bool| {
                        let leaves: Vec<_> = sides.iter().map(|rows| tensor(rows, &backend).require_grad()).collect();
                        let [first, second, hard] = [0, 1, 2].map(|side: usize| leaves[side].clone());
                        let (reduced, each, temperature) = if is_ranking {
                            let loss = ranking.init(&backend.device);
                            let batch = RankingBatch::new(first, second).with_hard_negatives(hard);
                            (loss.forward(&batch), loss.forward_no_reduction(&batch), loss.temperature)
                        } else {
                            let loss = info_nce.init(&backend.device);
                            let pairs = Pairs::aligned(first, second);
                            (loss.forward_pairs(&pairs), loss.forward_pairs_no_reduction(&pairs), loss.temperature)
                        };
                        let value = if is_reduced { reduced } else { each.sum().mul_scalar(share) };
                        let gradients = value.clone().mul_scalar(0.5).backward();
                        let log_scale = temperature.log_scale.expect("learned").val();
                        let mut outcome = vec![host(value), host(log_scale.grad(&gradients).expect("a gradient"))];
                        outcome.extend(leaves.iter().filter_map(|rows| rows.grad(&gradients).map(host)));
                        assert_eq!(outcome.len(), if is_ranking { 5 } else { 4 });
                        outcome
                    };
                    for (place, (actual, expected)) in run(true).iter().zip(&run(false)).enumerate() {
                        // A temperature is an `f32`, and so is its gradient.
                        let share = if backend.is_double() && place != 1 { 1e-12 } else { 3e-5 };
                        let largest = expected.iter().fold(1e-3_f64, |largest, number| largest.max(number.abs()));
                        let what =
                            format!("{reduction:?} {place} of {count} on {}, ranking {is_ranking}", backend.name);
                        assert_close(&what, actual, expected, Tolerance::new(share, share * largest));
                    }
                }
            }
        }
    }
}

/// Lengths and directions that share their products, against each by itself.
#[test]
fn a_ranking_of_several_lengths_is_the_sum_of_each() {
    use burn_losses::pairs::{PartitionMode, RankingDirection};

    let sides: Vec<_> = (3..6).map(|seed| rows(9, seed)).collect();
    let identities = [4, -1, 7, 4, 8, 9, 1, 2, 3];
    for backend in backends() {
        let config = MultipleNegativesRankingLossConfig::new().with_temperature(0.3);
        let config = config.with_temperature_mode(TemperatureMode::Learned);
        let both = config.clone().with_partition_mode(PartitionMode::PerDirection);
        let both = both.with_directions(vec![RankingDirection::DocumentToQuery, RankingDirection::QueryToDocument]);
        let sum = config.clone().with_reduction(EmbeddingReduction::Sum);
        for (name, config, has_hard, has_identities) in [
            ("plain", &config, false, false),
            ("hard", &config, true, false),
            ("sum", &sum, true, false),
            ("identified", &config, true, true),
            ("hardness", &config.clone().with_hardness(2.0), true, false),
            ("both", &both, false, false),
            ("both and hard", &both, true, false),
        ] {
            let run = |together: bool| {
                let leaves: Vec<_> = sides.iter().map(|rows| tensor(rows, &backend).require_grad()).collect();
                let loss = config.init(&backend.device);
                let batch = |length: usize| {
                    let [first, second, hard] = [0, 1, 2].map(|side: usize| leaves[side].clone().narrow(1, 0, length));
                    let batch = RankingBatch::new(first, second);
                    let batch = if has_hard { batch.with_hard_negatives(hard) } else { batch };
                    let identities = integers(&identities, &backend.device);
                    if has_identities { batch.with_identities(identities) } else { batch }
                };
                let log_scale = loss.temperature.log_scale.as_ref().expect("learned").val();
                let value = if together {
                    let lengths = MatryoshkaLossConfig::new(vec![2, 3]).with_weights(Some(vec![0.5, 2.0]));
                    lengths.init(loss).forward_ranking(&batch(3))
                } else {
                    let of_anchors = |length: usize| {
                        let losses = loss.forward_no_reduction(&batch(length));
                        let known = if has_identities { 8.0 } else { 9.0 };
                        if name == "sum" { losses.sum() } else { losses.sum().mul_scalar(1.0 / known) }
                    };
                    of_anchors(2).mul_scalar(0.5) + of_anchors(3).mul_scalar(2.0)
                };
                let gradients = value.clone().backward();
                let mut outcome = vec![host(value), host(log_scale.grad(&gradients).expect("a gradient"))];
                outcome.extend(leaves.iter().filter_map(|rows| rows.grad(&gradients).map(host)));
                outcome
            };
            let (together, apart) = (run(true), run(false));
            assert_eq!(together.len(), apart.len(), "{name}");
            for (place, (actual, expected)) in together.iter().zip(&apart).enumerate() {
                // A temperature is an `f32`, and so is its gradient.
                let share = if backend.is_double() && place != 1 { 1e-12 } else { 3e-5 };
                let largest = expected.iter().fold(1e-3_f64, |largest, number| largest.max(number.abs()));
                let what = format!("{name} {place} on {}", backend.name);
                assert_close(&what, actual, expected, Tolerance::new(share, share * largest));
            }
        }
    }
}
