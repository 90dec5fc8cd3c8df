//! Losses of pairs and triplets: laws, identities between them, and the inputs that break such losses elsewhere.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_losses::EmbeddingLoss;
use burn_losses::distance::Distance;
use burn_losses::labels::OnBadLabel;
use burn_losses::mining::{PairMasks, Triplets};
use burn_losses::pairs::{
    ContrastiveForm, ContrastiveLossConfig, LiftedStructureLossConfig, MarginLossConfig, NegativeDistance, PairBalance,
    PairLoss, Pairs, TripletLossConfig, TripletMining, TripletShape,
};
use burn_losses::reduction::EmbeddingReduction;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

const REDUCTIONS: [EmbeddingReduction; 3] =
    [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero];

/// Every loss of the family, in each of its settings, by name. `needs_both` marks those that are 0
/// without a positive and without a negative.
fn losses(device: &Device, reduction: EmbeddingReduction) -> Vec<(String, bool, Box<dyn PairLoss>)> {
    let mut all: Vec<(String, bool, Box<dyn PairLoss>)> = Vec::new();
    for form in [ContrastiveForm::Squared, ContrastiveForm::SquaredDistance, ContrastiveForm::Hinge] {
        let loss = ContrastiveLossConfig::new().with_form(form).with_reduction(reduction).init(device);
        all.push((format!("contrastive {form:?}"), false, Box::new(loss)));
    }
    for (name, config) in triplet_losses() {
        all.push((name, true, Box::new(config.with_reduction(reduction).init(device))));
    }
    let lifted = LiftedStructureLossConfig::new().with_reduction(reduction).init(device);
    all.push(("lifted structure".to_owned(), true, Box::new(lifted)));
    for classes in [None, Some(7)] {
        let config = MarginLossConfig::new().with_classes(classes).with_nu(0.1).with_reduction(reduction);
        all.push((format!("margin {classes:?}"), false, Box::new(config.init(device))));
    }
    all
}

fn triplet_losses() -> Vec<(String, TripletLossConfig)> {
    let mut all = Vec::new();
    for mining in [TripletMining::All, TripletMining::Hard, TripletMining::SemiHard] {
        for shape in [TripletShape::Hinge, TripletShape::Softplus] {
            for swap in [NegativeDistance::FromAnchor, NegativeDistance::Nearest] {
                let config = TripletLossConfig::new().with_mining(mining).with_shape(shape);
                let config = config.with_negative_distance(swap).with_margin(0.4);
                all.push((format!("triplet {mining:?} {shape:?} {swap:?}"), config));
            }
        }
    }
    all
}

fn floats(backend: &Backend, rows: &[Vec<f64>]) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows.first().map_or(3, Vec::len)]);
    Tensor::from_data(data, (&backend.device, backend.dtype))
}

fn integers(backend: &Backend, labels: &[i64]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), &backend.device)
}

fn value_and_gradient(
    backend: &Backend,
    loss: &(impl EmbeddingLoss + ?Sized),
    rows: &[Vec<f64>],
    labels: &[i64],
) -> (f64, Vec<f64>) {
    of_pairs(backend, rows, |embeddings| loss.forward(embeddings, integers(backend, labels)))
}

fn of_pairs(backend: &Backend, rows: &[Vec<f64>], loss: impl FnOnce(Tensor<2>) -> Tensor<1>) -> (f64, Vec<f64>) {
    let embeddings = floats(backend, rows).require_grad();
    let value = loss(embeddings.clone());
    let gradient = embeddings.grad(&value.backward()).expect("a gradient");
    (host(value)[0], host(gradient))
}

/// Seven rows without a symmetry.
fn batch() -> (Vec<Vec<f64>>, Vec<i64>) {
    let row = |i: usize| (0..3).map(|k| ((3 * i + k) as f64 * 1.7 + 0.3).sin()).collect();
    ((0..7).map(row).collect(), vec![2, 0, 2, 1, 0, 2, 1])
}

/// Exactness of sums over the batches here.
fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-11, 1e-11) } else { Tolerance::new(1e-4, 2e-5) }
}

fn all_finite(what: &str, rows: &[Vec<f64>], labels: &[i64]) {
    for backend in backends() {
        for reduction in REDUCTIONS {
            for (name, _, loss) in losses(&backend.device, reduction) {
                let (value, gradient) = value_and_gradient(&backend, loss.as_ref(), rows, labels);
                let what = format!("{what}: {name} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                assert_finite(&what, &[value]);
                assert_finite(&format!("{what}: gradient"), &gradient);
            }
        }
    }
}

/// Loss and gradient are 0 to the last bit, for the losses that need a positive and a negative, or for all.
fn exactly_zero(what: &str, rows: &[Vec<f64>], labels: &[i64], for_all: bool) {
    for backend in backends() {
        for reduction in REDUCTIONS {
            for (name, _, loss) in
                losses(&backend.device, reduction).into_iter().filter(|(_, both, _)| for_all || *both)
            {
                let (value, gradient) = value_and_gradient(&backend, loss.as_ref(), rows, labels);
                let what = format!("{what}: {name} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                assert_eq!(value, 0.0, "{what}");
                assert!(gradient.iter().all(|&slope| slope == 0.0), "{what}: {gradient:?}");
            }
        }
    }
}

#[test]
fn a_batch_of_one_has_loss_and_gradient_zero() {
    exactly_zero("one row", &[vec![0.3, -1.0, 2.0]], &[1], true);
}

#[test]
fn an_empty_batch_has_loss_zero() {
    exactly_zero("no row", &[], &[], true);
}

#[test]
fn a_batch_of_nobody_has_loss_and_gradient_zero() {
    exactly_zero("negative labels", &batch().0, &[-1, -1, -5, -1, -1, -1, -1], true);
}

#[test]
fn a_batch_of_one_identity_has_no_triplets() {
    exactly_zero("one identity", &batch().0, &[3; 7], false);
    all_finite("one identity", &batch().0, &[3; 7]);
}

#[test]
fn a_batch_of_strangers_has_no_triplets() {
    exactly_zero("strangers", &batch().0, &[0, 1, 2, 3, 4, 5, 6], false);
    all_finite("strangers", &batch().0, &[0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn an_anchor_that_equals_its_positive_has_a_finite_gradient() {
    for backend in backends() {
        for shape in [TripletShape::Hinge, TripletShape::Softplus] {
            for swap in [NegativeDistance::FromAnchor, NegativeDistance::Nearest] {
                let loss =
                    TripletLossConfig::new().with_shape(shape).with_negative_distance(swap).init(&backend.device);
                let same = vec![vec![0.3, -2.0, 7.0], vec![1.0, 0.0, 0.0], vec![0.0; 3]];
                let other = vec![vec![0.3, -2.0, 7.0], vec![0.0, 1.0, 0.0], vec![0.0; 3]];
                let anchor = floats(&backend, &same).require_grad();
                let positive = floats(&backend, &same).require_grad();
                let negative = floats(&backend, &other).require_grad();
                let triplets = [&anchor, &positive, &negative].map(Clone::clone);
                let [a, p, n] = triplets;
                let gradients = loss.forward_pairs(&Pairs::given_triplets(a, p, n)).backward();
                for leaf in [anchor, positive, negative] {
                    let gradient = host(leaf.grad(&gradients).expect("a gradient"));
                    assert_finite(&format!("{shape:?} {swap:?} on {}", backend.name), &gradient);
                }
            }
        }
    }
}

/// Why the docs warn of it. When this fails, Burn has mended it and the docs of `TripletLoss` are out of date.
#[test]
fn the_triplet_loss_of_burn_has_a_nan_gradient_there() {
    let device = Device::flex().autodiff();
    let rows = |rows: [[f32; 2]; 2]| Tensor::<2>::from_data(rows, &device).require_grad();
    // Only the first anchor equals its positive.
    let (anchor, positive) = (rows([[1.0, 2.0], [0.0, 1.0]]), rows([[1.0, 2.0], [3.0, 1.0]]));
    let negative = rows([[9.0, 9.0], [1.0, 1.0]]);
    let gradient = |loss: Tensor<1>| host(anchor.grad(&loss.backward()).expect("a gradient"));

    let of_burn = burn::nn::loss::TripletMarginLossConfig::new().init();
    let theirs = of_burn.forward(anchor.clone(), positive.clone(), negative.clone(), burn::nn::loss::Reduction::Mean);
    let ours = TripletLossConfig::new().with_margin(1.0).init(&device);
    let ours = ours.forward_pairs(&Pairs::given_triplets(anchor.clone(), positive, negative));

    assert!(gradient(theirs)[0].is_nan());
    assert_finite("ours", &gradient(ours));
}

/// All triplets of a batch as a list, `batch³` entries: what batch-all never makes.
fn listed(backend: &Backend, labels: &[i64]) -> Triplets {
    let count = labels.len();
    let (mut columns, mut valid) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    for entry in 0..count * count * count {
        let (a, p, n) = (entry / count / count, entry / count % count, entry % count);
        for (column, row) in columns.iter_mut().zip([a, p, n]) {
            column.push(row as i64);
        }
        valid.push(a != p && labels[a] == labels[p] && labels[a] != labels[n]);
    }
    let [anchor, positive, negative] = columns.map(|column| integers(backend, &column));
    let valid = Tensor::<1, Bool>::from_data(TensorData::from(valid.as_slice()), &backend.device);
    Triplets { anchor, positive, negative, valid }
}

/// The sum of slopes has the same value and the same gradient as `batch³` triplets held at once.
#[test]
fn batch_all_equals_the_list_of_all_triplets() {
    let (rows, labels) = batch();
    for backend in backends() {
        for (name, config) in triplet_losses().into_iter().filter(|(name, _)| name.contains("All")) {
            for reduction in REDUCTIONS {
                let loss = config.clone().with_reduction(reduction).init(&backend.device);
                let triplets = listed(&backend, &labels);
                let (value, gradient) = value_and_gradient(&backend, &loss, &rows, &labels);
                let (expected, expected_gradient) = of_pairs(&backend, &rows, |x| {
                    let pairs = Pairs::in_batch(x, integers(&backend, &labels)).with_triplets(triplets);
                    loss.forward_pairs(&pairs)
                });
                let what = format!("{name} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                assert_close(&what, &[value], &[expected], tolerance(&backend));
                assert_close(&what, &gradient, &expected_gradient, tolerance(&backend));
            }
        }
    }
}

/// What a miner leaves is not the same in both directions; the swap must still find every triplet once.
#[test]
fn batch_all_of_chosen_pairs_equals_the_list_of_their_triplets() {
    let (rows, labels) = batch();
    let count = labels.len();
    // Every third pair of each kind is left out.
    let chosen = |a: usize, b: usize, same: bool| {
        a != b && (labels[a] == labels[b]) == same && !(5 * a + 3 * b + usize::from(same)).is_multiple_of(3)
    };
    for backend in backends() {
        let mask = |same: bool| {
            let bits: Vec<bool> = (0..count * count).map(|at| chosen(at / count, at % count, same)).collect();
            Tensor::<2, Bool>::from_data(TensorData::new(bits, [count, count]), &backend.device)
        };
        let pairs = PairMasks { positive: mask(true), negative: mask(false) };
        let all = listed(&backend, &labels);
        let valid: Vec<bool> = (0..count * count * count)
            .map(|at| {
                let (a, p, n) = (at / count / count, at / count % count, at % count);
                chosen(a, p, true) && chosen(a, n, false)
            })
            .collect();
        let valid = Tensor::<1, Bool>::from_data(TensorData::from(valid.as_slice()), &backend.device);
        let list = Triplets { valid, ..all };
        for (name, config) in triplet_losses().into_iter().filter(|(name, _)| name.contains("All")) {
            for reduction in REDUCTIONS {
                let loss = config.clone().with_reduction(reduction).init(&backend.device);
                let all = |x| Pairs::in_batch(x, integers(&backend, &labels));
                let (value, gradient) =
                    of_pairs(&backend, &rows, |x| loss.forward_pairs(&all(x).with_masks(pairs.clone())));
                let (expected, expected_gradient) =
                    of_pairs(&backend, &rows, |x| loss.forward_pairs(&all(x).with_triplets(list.clone())));
                let what = format!("{name} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                assert!(expected > 0.0, "{what}");
                assert_close(&what, &[value], &[expected], tolerance(&backend));
                assert_close(&what, &gradient, &expected_gradient, tolerance(&backend));
            }
        }
    }
}

/// A margin loss with one boundary is the contrastive loss that is not squared, its margins on both sides of it.
#[test]
fn a_margin_loss_is_a_contrastive_loss_around_its_boundary() {
    let (rows, labels) = batch();
    for backend in backends() {
        let margin = MarginLossConfig::new().with_margin(0.25).with_beta(1.25);
        let config = ContrastiveLossConfig::new().with_form(ContrastiveForm::Hinge).with_balance(PairBalance::Joint);
        let contrastive = config.with_positive_margin(1.0).with_negative_margin(1.5);
        for reduction in REDUCTIONS {
            let margin = margin.clone().with_reduction(reduction).init(&backend.device);
            let contrastive = contrastive.clone().with_reduction(reduction).init(&backend.device);
            let (value, gradient) = value_and_gradient(&backend, &margin, &rows, &labels);
            let (expected, expected_gradient) = value_and_gradient(&backend, &contrastive, &rows, &labels);
            let what = format!("{reduction:?} on {} {:?}", backend.name, backend.dtype);
            assert_close(&what, &[value], &[expected], tolerance(&backend));
            assert_close(&what, &gradient, &expected_gradient, tolerance(&backend));
        }
    }
}

/// What a loss makes of references is what it makes of the distances and the pairs between them and the batch.
#[test]
fn references_are_compared_by_distance() {
    let (rows, labels) = batch();
    for backend in backends() {
        let (x, y) = (floats(&backend, &rows), integers(&backend, &labels));
        let (anchors, references) = (x.clone().narrow(0, 0, 3), x.narrow(0, 3, 4));
        let (of_anchors, of_references) = (y.clone().narrow(0, 0, 3), y.narrow(0, 3, 4));
        let distances = Distance::Euclidean.matrix(anchors.clone(), references.clone());
        let (labels, reference_labels) = (of_anchors.clone(), of_references.clone());
        let known = Pairs::precomputed_with_references(
            Distance::Euclidean,
            distances,
            labels.clone(),
            reference_labels.clone(),
        );
        let compared = Pairs::with_references(anchors, labels, (references, reference_labels));
        for reduction in REDUCTIONS {
            let losses: [Box<dyn PairLoss>; 4] = [
                Box::new(
                    ContrastiveLossConfig::new()
                        .with_negative_margin(3.0)
                        .with_reduction(reduction)
                        .init(&backend.device),
                ),
                Box::new(TripletLossConfig::new().with_margin(5.0).with_reduction(reduction).init(&backend.device)),
                Box::new(
                    LiftedStructureLossConfig::new()
                        .with_negative_margin(3.0)
                        .with_reduction(reduction)
                        .init(&backend.device),
                ),
                Box::new(MarginLossConfig::new().with_nu(0.1).with_reduction(reduction).init(&backend.device)),
            ];
            for loss in losses {
                let what = format!("{} on {} {:?}", loss.name(), backend.name, backend.dtype);
                let value = host(loss.forward_pairs(&compared));
                assert_eq!(value, host(loss.forward_pairs(&known)), "{what}");
                assert!(value[0] > 0.0, "{what}");
            }
        }
    }
}

/// An issue of pytorch-metric-learning, number 748: its swap measures the positive and the negative between other rows
/// than those of the triplet when there are references.
#[test]
fn a_swap_among_references_is_measured_between_them() {
    for backend in backends() {
        let config = TripletLossConfig::new().with_margin(0.5).with_negative_distance(NegativeDistance::Nearest);
        let row = |numbers: [[f64; 2]; 1]| Tensor::<2>::from_data(numbers, (&backend.device, backend.dtype));
        let references = [[0.0, 1.0], [3.0, 1.0], [0.0, 3.0]];
        let references = Tensor::<2>::from_data(references, (&backend.device, backend.dtype)).require_grad();
        let labels = |labels: &[i64]| integers(&backend, labels);
        let anchor = row([[0.0, 0.0]]).require_grad();
        let pairs = || Pairs::with_references(anchor.clone(), labels(&[7]), (references.clone(), labels(&[7, 8, 9])));
        // By hand: the positive is 1 away. The negatives are sqrt(10) and 3 from the anchor, but 3 and 2 from the
        // positive: 1 - 3 + 1/2 < 0, and 1 - 2 + 1/2 < 0. With the margin 5/2, 1/2 and 3/2.
        let values = |margin: f64, mining| {
            let config = config.clone().with_margin(margin).with_mining(mining);
            let loss = config.with_reduction(EmbeddingReduction::Sum).init(&backend.device);
            host(loss.forward_pairs(&pairs()))[0]
        };
        assert_eq!(values(0.5, TripletMining::All), 0.0);
        assert_close(&backend.name, &[values(2.5, TripletMining::All)], &[2.0], tolerance(&backend));
        // The hard and the semi-hard negative are those of the anchor, 3 away, and are then held to the positive.
        assert_close(&backend.name, &[values(2.5, TripletMining::Hard)], &[1.5], tolerance(&backend));
        assert_close(&backend.name, &[values(2.5, TripletMining::SemiHard)], &[1.5], tolerance(&backend));

        let listed = Triplets {
            anchor: labels(&[0, 0]),
            positive: labels(&[0, 0]),
            negative: labels(&[1, 2]),
            valid: Tensor::from_data([true, true], &backend.device),
        };
        let loss = config.with_margin(2.5).init(&backend.device);
        let mean = loss.forward_pairs(&pairs().with_triplets(listed));
        assert_close(&backend.name, &host(mean.clone()), &[1.0], tolerance(&backend));
        // By hand: both triplets pull the positive to the anchor and push it from its negatives, along the axes.
        let gradients = mean.backward();
        let of_references = host(references.grad(&gradients).expect("a gradient"));
        let expected = [0.5, 1.0 + 0.5, -0.5, 0.0, 0.0, -0.5];
        assert_close(&backend.name, &of_references, &expected, tolerance(&backend));
        let walked = references.grad(&loss.forward_pairs(&pairs()).backward()).expect("a gradient");
        assert_close(&backend.name, &host(walked), &expected, tolerance(&backend));
    }
}

#[test]
#[should_panic(expected = "TripletLoss: the distances of references to each other are needed")]
fn a_swap_needs_the_distances_of_references() {
    let device = Device::flex();
    let loss = TripletLossConfig::new().with_negative_distance(NegativeDistance::Nearest).init(&device);
    let labels = |count: i64| Tensor::<1, Int>::arange(0..count, &device);
    let distances = Tensor::<2>::ones([2, 3], &device);
    let pairs = Pairs::precomputed_with_references(Distance::Euclidean, distances, labels(2), labels(3));
    loss.forward_pairs(&pairs);
}

/// Rows of a memory are references and no anchors.
#[test]
fn a_memory_gives_every_mining_its_triplets() {
    let (rows, labels) = batch();
    for backend in backends() {
        let x = floats(&backend, &rows).require_grad();
        let y = integers(&backend, &labels);
        // A backward uses up what it went through.
        let pairs = || {
            let (anchors, references) = (x.clone().narrow(0, 0, 3), x.clone().narrow(0, 3, 4));
            let (labels, of_references) = (y.clone().narrow(0, 0, 3), y.clone().narrow(0, 3, 4));
            Pairs::with_references(anchors, labels, (references, of_references))
        };
        let d = host(pairs().distances(Distance::Euclidean));
        let at = |a: usize, r: usize| d[4 * a + r];
        // Anchors of 2, 0, 2; references of 1, 0, 2, 1: one positive each, three negatives.
        let positive = [2, 1, 2];
        for mining in [TripletMining::All, TripletMining::Hard, TripletMining::SemiHard] {
            let loss = TripletLossConfig::new().with_mining(mining).with_margin(1.0).init(&backend.device);
            let losses = loss.forward_pairs_no_reduction(&pairs());
            let expected: Vec<f64> = (0..3)
                .map(|a| {
                    let near = at(a, positive[a]);
                    let far = (0..4).filter(|&r| r != positive[a]).map(|r| at(a, r));
                    let loss = |far: f64| (near - far + 1.0).max(0.0);
                    match mining {
                        TripletMining::All => far.map(loss).sum(),
                        TripletMining::Hard => loss(far.fold(f64::INFINITY, f64::min)),
                        TripletMining::SemiHard => loss(far.filter(|&far| far > near).fold(f64::INFINITY, f64::min)),
                    }
                })
                .collect();
            let what = format!("{mining:?} on {} {:?}", backend.name, backend.dtype);
            assert_close(&what, &host(losses.clone()), &expected, tolerance(&backend));
            assert_finite(&what, &host(x.grad(&losses.sum().backward()).expect("a gradient")));
        }
    }
}

#[test]
fn the_sum_is_the_sum_of_the_losses_of_the_anchors() {
    let (rows, labels) = batch();
    for backend in backends() {
        for (name, config) in triplet_losses() {
            let loss = config.with_reduction(EmbeddingReduction::Sum).init(&backend.device);
            let embeddings = floats(&backend, &rows);
            let labels = integers(&backend, &labels);
            let anchors: f64 = host(loss.forward_no_reduction(embeddings.clone(), labels.clone())).iter().sum();
            let sum = host(loss.forward(embeddings, labels));
            assert_close(&format!("{name} on {}", backend.name), &sum, &[anchors], tolerance(&backend));
        }
    }
}

/// Distances know neither the origin nor the axes, so the gradients of all rows sum to 0 and nothing turns with them.
#[test]
fn moving_and_turning_all_rows_changes_nothing() {
    let (rows, labels) = batch();
    let (c, s) = (0.7_f64.cos(), 0.7_f64.sin());
    let turned: Vec<Vec<f64>> =
        rows.iter().map(|x| vec![c * x[0] - s * x[1] + 0.5, s * x[0] + c * x[1] - 1.0, x[2] + 0.25]).collect();
    for backend in backends() {
        for (name, _, loss) in losses(&backend.device, EmbeddingReduction::Mean) {
            let (expected, gradient) = value_and_gradient(&backend, loss.as_ref(), &rows, &labels);
            let (value, _) = value_and_gradient(&backend, loss.as_ref(), &turned, &labels);
            let what = format!("{name} on {} {:?}", backend.name, backend.dtype);
            assert_close(&what, &[value], &[expected], tolerance(&backend));
            let sums: Vec<f64> = (0..3).map(|k| gradient.iter().skip(k).step_by(3).sum()).collect();
            assert_close(&what, &sums, &[0.0; 3], Tolerance::new(0.0, if backend.is_double() { 1e-12 } else { 1e-5 }));
        }
    }
}

#[test]
fn a_triplet_keeps_its_margin_exactly_when_its_loss_is_zero() {
    for backend in backends() {
        let loss = TripletLossConfig::new().with_margin(1.0).init(&backend.device);
        let anchors = floats(&backend, &[vec![0.0], vec![0.0], vec![0.0]]);
        let positives = floats(&backend, &[vec![1.0], vec![1.0], vec![1.0]]);
        let negatives = floats(&backend, &[vec![1.75], vec![2.0], vec![2.5]]);
        // By hand: 1 - 1.75 + 1, 1 - 2 + 1, 1 - 2.5 + 1 < 0.
        let losses = host(loss.forward_pairs_no_reduction(&Pairs::given_triplets(anchors, positives, negatives)));
        assert_close(&backend.name, &losses, &[0.25, 0.0, 0.0], tolerance(&backend));
    }
}

#[test]
fn a_pair_has_the_same_loss_from_both_sides() {
    let (rows, labels) = batch();
    for backend in backends() {
        let loss = ContrastiveLossConfig::new().with_negative_margin(1.5).init(&backend.device);
        let (x, y) = (floats(&backend, &rows), integers(&backend, &labels));
        let (first, second) =
            ((x.clone().narrow(0, 0, 3), y.clone().narrow(0, 0, 3)), (x.narrow(0, 3, 3), y.narrow(0, 3, 3)));
        let is_same = first.1.equal(second.1);
        let one = loss.forward_pairs_no_reduction(&Pairs::given(first.0.clone(), second.0.clone(), is_same.clone()));
        let other = loss.forward_pairs_no_reduction(&Pairs::given(second.0, first.0, is_same));
        assert_close(&backend.name, &host(one), &host(other), tolerance(&backend));
    }
}

/// Given pairs, the pairs of a batch, and a matrix with masks are three ways to the same number.
#[test]
fn three_ways_to_the_same_pairs_agree() {
    let (rows, labels) = batch();
    for backend in backends() {
        for form in [ContrastiveForm::Squared, ContrastiveForm::SquaredDistance, ContrastiveForm::Hinge] {
            for balance in [PairBalance::Separate, PairBalance::Joint] {
                let config = ContrastiveLossConfig::new().with_form(form).with_negative_margin(1.5);
                let config = config.with_balance(balance);
                let (mut first, mut second, mut same) = (Vec::new(), Vec::new(), Vec::new());
                for i in 0..rows.len() {
                    for j in (0..rows.len()).filter(|j| *j != i) {
                        first.push(rows[i].clone());
                        second.push(rows[j].clone());
                        same.push(labels[i] == labels[j]);
                    }
                }
                let is_same = Tensor::<1, Bool>::from_data(TensorData::from(same.as_slice()), &backend.device);
                let x = floats(&backend, &rows);
                let y = integers(&backend, &labels);
                let distances = Distance::Euclidean.matrix(x.clone(), x.clone());
                let given = Pairs::given(floats(&backend, &first), floats(&backend, &second), is_same);
                let in_batch = Pairs::in_batch(x, y.clone());
                let known = Pairs::precomputed(Distance::Euclidean, distances, y.clone());
                let masks = PairMasks::between(y.clone(), y);
                for reduction in REDUCTIONS {
                    let loss = config.clone().with_reduction(reduction).init(&backend.device);
                    let what = format!("{form:?} {balance:?} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                    let batch = host(loss.forward_pairs(&in_batch));
                    assert_close(&what, &host(loss.forward_pairs(&given)), &batch, tolerance(&backend));
                    assert_close(&what, &host(loss.forward_pairs(&known)), &batch, tolerance(&backend));
                }
                // With the pairs of rows with themselves there are more positives: the masks are what counts.
                let loss = config.init(&backend.device);
                let more = loss.forward_pairs(&in_batch.clone().with_masks(masks));
                assert!(host(more)[0] < host(loss.forward_pairs(&in_batch))[0], "{form:?} {balance:?}");
            }
        }
    }
}

/// With one positive and one negative per anchor, a sum of exponentials has one term: lifted structure with both margins
/// at 0 and `m` is a triplet loss with margin `m`, whatever the mining.
#[test]
fn lifted_structure_with_single_pairs_is_a_triplet_loss() {
    let (rows, _) = batch();
    for backend in backends() {
        let x = floats(&backend, &rows);
        let (anchors, references) = (x.clone().narrow(0, 0, 3), x.narrow(0, 3, 4));
        let mask = |rows: [[bool; 4]; 3]| Tensor::<2, Bool>::from_data(rows, &backend.device);
        let masks = PairMasks {
            positive: mask([[true, false, false, false], [false, false, true, false], [false, true, false, false]]),
            negative: mask([[false, true, false, false], [true, false, false, false], [false, false, false, true]]),
        };
        let labels = |count| integers(&backend, &vec![0; count]);
        let pairs = Pairs::with_references(anchors, labels(3), (references, labels(4))).with_masks(masks);
        let lifted = LiftedStructureLossConfig::new().with_negative_margin(0.4).init(&backend.device);
        let expected = host(lifted.forward_pairs_no_reduction(&pairs));
        for mining in [TripletMining::All, TripletMining::Hard] {
            let loss = TripletLossConfig::new().with_mining(mining).with_margin(0.4).init(&backend.device);
            let losses = host(loss.forward_pairs_no_reduction(&pairs));
            assert_close(&format!("{mining:?} on {}", backend.name), &losses, &expected, tolerance(&backend));
        }
        assert!(expected.iter().any(|&loss| loss > 0.0), "{expected:?}");
    }
}

#[test]
fn entries_of_a_list_that_are_not_valid_count_for_nothing() {
    let (rows, _) = batch();
    for backend in backends() {
        let loss = TripletLossConfig::new().with_margin(1.0).init(&backend.device);
        let embeddings = floats(&backend, &rows).require_grad();
        let pairs = Pairs::in_batch(embeddings.clone(), integers(&backend, &batch().1));
        let list = |valid: [bool; 5]| Triplets {
            anchor: integers(&backend, &[0, 1, 5, 5, 7]),
            positive: integers(&backend, &[2, 4, 99, 4, 2]),
            negative: integers(&backend, &[3, 6, 3, -7, 3]),
            valid: Tensor::from_data(valid, &backend.device),
        };
        let some = pairs.clone().with_triplets(list([true, true, false, false, false]));
        let each = host(loss.forward_pairs_no_reduction(&some));
        assert!(each[0] > 0.0 && each[1] > 0.0, "{each:?}");
        assert_eq!(each[2..], [0.0; 5]);
        let mean = host(loss.forward_pairs(&some));
        assert_close(&backend.name, &mean, &[(each[0] + each[1]) / 2.0], tolerance(&backend));
        // An entry of rows that are not there counts for nothing either, whatever is said of it.
        let nowhere = host(loss.forward_pairs(&pairs.clone().with_triplets(list([true; 5]))));
        assert_eq!(nowhere, mean, "{}", backend.name);

        let none = loss.forward_pairs(&pairs.with_triplets(list([false; 5])));
        let gradient = host(embeddings.grad(&none.backward()).expect("a gradient"));
        assert_eq!(host(none), [0.0]);
        assert!(gradient.iter().all(|&slope| slope == 0.0), "{gradient:?}");
    }
}

#[test]
fn an_empty_list_of_triplets_has_loss_and_gradient_zero() {
    for backend in backends() {
        let embeddings = floats(&backend, &batch().0).require_grad();
        let nothing = Tensor::<1, Int>::zeros([0], &backend.device);
        let valid = Tensor::<1, Bool>::empty([0], &backend.device);
        let triplets = Triplets { anchor: nothing.clone(), positive: nothing.clone(), negative: nothing, valid };
        let pairs = Pairs::in_batch(embeddings.clone(), integers(&backend, &batch().1)).with_triplets(triplets);
        let loss = TripletLossConfig::new().init(&backend.device).forward_pairs(&pairs);
        let gradient = host(embeddings.grad(&loss.backward()).expect("a gradient"));
        assert_eq!(host(loss), [0.0]);
        assert!(gradient.iter().all(|&slope| slope == 0.0), "{gradient:?}");
    }
}

/// A positive at distance 1/2 and a negative at 1 keep these margins exactly: nothing pulls at them any more.
#[test]
fn a_pair_at_its_margin_has_loss_and_gradient_zero() {
    for backend in backends() {
        let device = &backend.device;
        let distances = floats(&backend, &[vec![0.5, 1.0]]).require_grad();
        let (labels, references) = (integers(&backend, &[0]), integers(&backend, &[0, 1]));
        let pairs = Pairs::precomputed_with_references(Distance::Euclidean, distances.clone(), labels, references);
        let contrastive = ContrastiveLossConfig::new().with_form(ContrastiveForm::Hinge).with_positive_margin(0.5);
        let triplet = TripletLossConfig::new().with_mining(TripletMining::Hard).with_margin(0.5);
        let losses: [Box<dyn PairLoss>; 3] = [
            Box::new(contrastive.init(device)),
            Box::new(MarginLossConfig::new().with_beta(0.75).with_margin(0.25).init(device)),
            Box::new(triplet.init(device)),
        ];
        for loss in losses {
            let value = loss.forward_pairs(&pairs);
            let gradient = host(distances.grad(&value.backward()).expect("a gradient"));
            assert_eq!((host(value), gradient), (vec![0.0], vec![0.0; 2]), "{} on {}", loss.name(), backend.name);
        }
    }
}

/// The boundary of a margin loss has a gradient also where nothing pulls at it, and a class beyond the boundaries is
/// in no pair.
#[test]
fn a_boundary_without_a_pair_has_gradient_zero() {
    for backend in backends() {
        for (labels, classes) in [(vec![0, 9, 7], Some(2)), (vec![-1, -1, -1], None), (vec![], Some(2))] {
            let config = MarginLossConfig::new().with_on_bad_label(OnBadLabel::Ignore).with_nu(0.5);
            let loss = config.with_classes(classes).init(&backend.device);
            let rows = &batch().0[..labels.len()];
            let embeddings = floats(&backend, rows).require_grad();
            let value = loss.forward(embeddings, integers(&backend, &labels));
            let gradient = host(loss.beta.val().grad(&value.backward()).expect("a gradient"));
            assert_eq!(host(value), [0.0], "{labels:?} on {}", backend.name);
            assert!(gradient.iter().all(|&slope| slope == 0.0), "{labels:?} on {}: {gradient:?}", backend.name);
        }
    }
}

/// Also where the caller made the pairs: class 9 has no boundary, and must not borrow that of class 0.
#[test]
fn an_anchor_without_a_boundary_is_in_no_chosen_pair() {
    for backend in backends() {
        let config = MarginLossConfig::new().with_on_bad_label(OnBadLabel::Ignore).with_nu(0.5);
        let loss = config.with_classes(Some(2)).init(&backend.device);
        let x = floats(&backend, &batch().0[..4]);
        let of = |labels: &[i64]| {
            let labels = integers(&backend, labels);
            let masks = PairMasks::in_batch(labels.clone());
            let pairs = Pairs::in_batch(x.clone(), labels).with_masks(masks);
            (host(loss.forward_pairs_no_reduction(&pairs)), host(loss.forward_pairs(&pairs)))
        };
        let (each, _) = of(&[1, 9, 9, 1]);
        assert_eq!(each[1..3], [0.0; 2]);
        // Its pairs with class 9 are none either: each has the other alone, too far apart.
        assert!(each[0] > 0.0 && each[0] == each[3], "{each:?}");

        assert_eq!(of(&[9, 9, 7, 7]), (vec![0.0; 4], vec![0.0]), "{}", backend.name);

        // A reference of class 9 is as one of nobody.
        let beside = |references: &[i64]| {
            let references = (x.clone().neg(), integers(&backend, references));
            let pairs = Pairs::with_references(x.clone(), integers(&backend, &[0, 1, 1, 0]), references);
            host(loss.forward_pairs(&pairs))
        };
        assert_eq!(beside(&[0, 9, 1, 9]), beside(&[0, -1, 1, -1]), "{}", backend.name);
    }
}

#[test]
#[should_panic(expected = "TripletLoss: labels must have the shape [0], got [2]")]
fn labels_of_an_empty_batch_that_are_too_many_are_rejected() {
    let device = Device::flex();
    let labels = Tensor::<1, Int>::from_data([1, 2], &device);
    TripletLossConfig::new().init(&device).forward(Tensor::zeros([0, 3], &device), labels);
}

/// The distance of the loss is never silently another than that of the matrix.
#[test]
#[should_panic(expected = "TripletLoss: the distances are to be Cosine, the precomputed ones are Euclidean")]
fn precomputed_distances_of_another_kind_are_rejected() {
    let device = Device::flex();
    let loss = TripletLossConfig::new().with_distance(Distance::Cosine).init(&device);
    let labels = Tensor::<1, Int>::from_data([0, 0, 1], &device);
    loss.forward_pairs(&Pairs::precomputed(Distance::Euclidean, Tensor::ones([3, 3], &device), labels));
}

#[test]
#[should_panic(expected = "TripletLoss: an anchor needs a positive and a negative, which Pairs::given does not have")]
fn a_triplet_loss_takes_no_single_pairs() {
    let device = Device::flex();
    let row = || Tensor::<2>::ones([1, 2], &device);
    let pairs = Pairs::given(row(), row(), Tensor::from_data([true], &device));
    TripletLossConfig::new().init(&device).forward_pairs(&pairs);
}

#[test]
#[should_panic(expected = "TripletLoss: mining must be All for triplets that are chosen, got Hard")]
fn triplets_that_are_chosen_are_not_mined_again() {
    let device = Device::flex();
    let row = || Tensor::<2>::ones([1, 2], &device);
    let loss = TripletLossConfig::new().with_mining(TripletMining::Hard).init(&device);
    loss.forward_pairs(&Pairs::given_triplets(row(), row(), row()));
}

#[test]
#[should_panic(expected = "MarginLoss: pairs by position have no labels of classes")]
fn boundaries_of_classes_need_labels() {
    let device = Device::flex();
    let row = || Tensor::<2>::ones([1, 2], &device);
    MarginLossConfig::new().with_classes(Some(2)).init(&device).forward_pairs(&Pairs::aligned(row(), row()));
}
