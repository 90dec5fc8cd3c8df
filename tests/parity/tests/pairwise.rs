//! Losses of pairs and triplets: laws, identities between them, and the inputs that break such losses elsewhere.

use burn::config::Config;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_losses::distance::Distance;
use burn_losses::mining::{Pairs, Triplets};
use burn_losses::pairs::{
    ContrastiveForm, ContrastiveLossConfig, LiftedStructureLossConfig, MarginLossConfig, NegativeDistance, PairBalance,
    PairwiseLoss, TripletLoss, TripletLossConfig, TripletMining, TripletShape,
};
use burn_losses::reduction::EmbeddingReduction;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

const REDUCTIONS: [EmbeddingReduction; 3] =
    [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero];

/// A batch loss behind one signature.
type BatchLoss = Box<dyn Fn(Tensor<2>, Tensor<1, Int>, EmbeddingReduction) -> Tensor<1>>;

/// Every loss of the family that takes a batch, in each of its settings, by name. `needs_both` marks those that are 0
/// without a positive and without a negative.
fn losses(device: &Device) -> Vec<(String, bool, BatchLoss)> {
    let mut all: Vec<(String, bool, BatchLoss)> = Vec::new();
    for form in [ContrastiveForm::Squared, ContrastiveForm::SquaredDistance, ContrastiveForm::Hinge] {
        let loss = ContrastiveLossConfig::new().with_form(form).init();
        all.push((format!("contrastive {form:?}"), false, Box::new(move |x, y, r| loss.forward(x, y, r))));
    }
    for (name, loss) in triplet_losses() {
        all.push((name, true, Box::new(move |x, y, r| loss.forward(x, y, r))));
    }
    let lifted = LiftedStructureLossConfig::new().init();
    all.push(("lifted structure".to_owned(), true, Box::new(move |x, y, r| lifted.forward(x, y, r))));
    for classes in [None, Some(4)] {
        let loss = MarginLossConfig::new().with_classes(classes).with_nu(0.1).init(device);
        all.push((format!("margin {classes:?}"), false, Box::new(move |x, y, r| loss.forward(x, y, r))));
    }
    all
}

fn triplet_losses() -> Vec<(String, TripletLoss)> {
    let mut all = Vec::new();
    for mining in [TripletMining::All, TripletMining::Hard, TripletMining::SemiHard] {
        for shape in [TripletShape::Hinge, TripletShape::Softplus] {
            for swap in [NegativeDistance::FromAnchor, NegativeDistance::Nearest] {
                let config = TripletLossConfig::new().with_mining(mining).with_shape(shape);
                let loss = config.with_negative_distance(swap).with_margin(0.4).init();
                all.push((format!("triplet {mining:?} {shape:?} {swap:?}"), loss));
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
    loss: &BatchLoss,
    rows: &[Vec<f64>],
    labels: &[i64],
    reduction: EmbeddingReduction,
) -> (f64, Vec<f64>) {
    let embeddings = floats(backend, rows).require_grad();
    let value = loss(embeddings.clone(), integers(backend, labels), reduction);
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
        for (name, _, loss) in losses(&backend.device) {
            for reduction in REDUCTIONS {
                let (value, gradient) = value_and_gradient(&backend, &loss, rows, labels, reduction);
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
        for (name, needs_both, loss) in losses(&backend.device) {
            for reduction in REDUCTIONS.into_iter().filter(|_| for_all || needs_both) {
                let (value, gradient) = value_and_gradient(&backend, &loss, rows, labels, reduction);
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
fn a_batch_of_equal_rows_has_a_finite_gradient() {
    all_finite("equal rows", &vec![vec![0.3, -2.0, 7.0]; 6], &[0, 0, 1, 1, 1, 2]);
    all_finite("zero rows", &vec![vec![0.0; 3]; 6], &[0, 0, 1, 1, 1, 2]);
}

#[test]
fn duplicates_within_and_across_identities_have_a_finite_gradient() {
    let (mut rows, labels) = batch();
    rows[2] = rows[0].clone();
    rows[1] = rows[0].clone();
    all_finite("duplicates", &rows, &labels);
}

#[test]
fn zero_tiny_and_large_rows_have_finite_losses_and_gradients() {
    for length in [0.0, 1e-30, 1e-20, 1e-12, 1e8] {
        let (mut rows, labels) = batch();
        rows[0] = vec![length, 0.0, 0.0];
        rows[3] = vec![0.0, -length, length];
        all_finite("length", &rows, &labels);
    }
}

/// The squared forms of the contrastive loss overflow there, as their docs say.
#[test]
fn huge_rows_have_finite_losses_and_gradients_where_no_distance_is_squared() {
    for length in [1e20, 1e30, 1e36] {
        let (mut rows, labels) = batch();
        rows[0] = vec![length, 0.0, 0.0];
        rows[3] = vec![0.0, -length, length];
        for backend in backends() {
            for (name, _, loss) in losses(&backend.device) {
                if name.contains("Squared") {
                    continue;
                }
                let (value, gradient) = value_and_gradient(&backend, &loss, &rows, &labels, EmbeddingReduction::Mean);
                let what = format!("{length:e}: {name} on {} {:?}", backend.name, backend.dtype);
                assert_finite(&what, &[value]);
                assert_finite(&format!("{what}: gradient"), &gradient);
            }
        }
    }
}

/// What stands in a row that is nobody's does not matter, not even NaN.
#[test]
fn a_nan_in_a_row_with_a_negative_label_reaches_nothing() {
    let (clean, mut labels) = batch();
    labels[1] = -1;
    let mut poisoned = clean.clone();
    poisoned[1] = vec![f64::NAN, f64::INFINITY, 1.0];
    for backend in backends() {
        for (name, _, loss) in losses(&backend.device) {
            let run = |rows: &[Vec<f64>]| value_and_gradient(&backend, &loss, rows, &labels, EmbeddingReduction::Mean);
            let (expected, actual) = (run(&clean), run(&poisoned));
            assert_eq!(actual, expected, "{name} on {}", backend.name);
            assert!(actual.1[3..6].iter().all(|&slope| slope == 0.0), "{name}: {:?}", actual.1);
        }
    }
}

#[test]
fn a_nan_in_a_pair_is_never_a_finite_loss() {
    let (mut rows, labels) = batch();
    rows[2][1] = f64::NAN;
    for backend in backends() {
        for (name, _, loss) in losses(&backend.device) {
            // The farthest and the nearest of numbers that are none is up to the backend.
            if name.contains("Hard") {
                continue;
            }
            let value = loss(floats(&backend, &rows), integers(&backend, &labels), EmbeddingReduction::Mean);
            assert!(host(value)[0].is_nan(), "{name} on {}", backend.name);
        }
    }
}

#[test]
fn an_anchor_that_equals_its_positive_has_a_finite_gradient() {
    for backend in backends() {
        for shape in [TripletShape::Hinge, TripletShape::Softplus] {
            for swap in [NegativeDistance::FromAnchor, NegativeDistance::Nearest] {
                let loss = TripletLossConfig::new().with_shape(shape).with_negative_distance(swap).init();
                let same = vec![vec![0.3, -2.0, 7.0], vec![1.0, 0.0, 0.0], vec![0.0; 3]];
                let other = vec![vec![0.3, -2.0, 7.0], vec![0.0, 1.0, 0.0], vec![0.0; 3]];
                let anchor = floats(&backend, &same).require_grad();
                let positive = floats(&backend, &same).require_grad();
                let negative = floats(&backend, &other).require_grad();
                let triplets = [&anchor, &positive, &negative].map(Clone::clone);
                let [a, p, n] = triplets;
                let gradients = loss.forward_triplets(a, p, n, EmbeddingReduction::Mean).backward();
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
    let ours = TripletLossConfig::new().with_margin(1.0).init();
    let ours = ours.forward_triplets(anchor.clone(), positive, negative, EmbeddingReduction::Mean);

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
        for (name, loss) in triplet_losses().into_iter().filter(|(name, _)| name.contains("All")) {
            for reduction in REDUCTIONS {
                let in_batch: BatchLoss = {
                    let loss = loss.clone();
                    Box::new(move |x, y, r| loss.forward(x, y, r))
                };
                let triplets = listed(&backend, &labels);
                let twin: BatchLoss = {
                    let loss = loss.clone();
                    Box::new(move |x: Tensor<2>, _, r| {
                        loss.forward_mined(Distance::Euclidean.matrix(x.clone(), x), &triplets, r)
                    })
                };
                let (value, gradient) = value_and_gradient(&backend, &in_batch, &rows, &labels, reduction);
                let (expected, expected_gradient) = value_and_gradient(&backend, &twin, &rows, &labels, reduction);
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
        let pairs = Pairs { positive: mask(true), negative: mask(false) };
        let all = listed(&backend, &labels);
        let valid: Vec<bool> = (0..count * count * count)
            .map(|at| {
                let (a, p, n) = (at / count / count, at / count % count, at % count);
                chosen(a, p, true) && chosen(a, n, false)
            })
            .collect();
        let valid = Tensor::<1, Bool>::from_data(TensorData::from(valid.as_slice()), &backend.device);
        let list = Triplets { valid, ..all };
        for (name, loss) in triplet_losses().into_iter().filter(|(name, _)| name.contains("All")) {
            for reduction in REDUCTIONS {
                let (one, other) = (loss.clone(), loss.clone());
                let (pairs, list) = (pairs.clone(), list.clone());
                let matrix = |x: Tensor<2>| Distance::Euclidean.matrix(x.clone(), x);
                let walked: BatchLoss = Box::new(move |x, _, r| one.forward_distances(matrix(x), &pairs, r));
                let held: BatchLoss = Box::new(move |x, _, r| other.forward_mined(matrix(x), &list, r));
                let (value, gradient) = value_and_gradient(&backend, &walked, &rows, &labels, reduction);
                let (expected, expected_gradient) = value_and_gradient(&backend, &held, &rows, &labels, reduction);
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
        let margin = MarginLossConfig::new().with_margin(0.25).with_beta(1.25).init(&backend.device);
        let config = ContrastiveLossConfig::new().with_form(ContrastiveForm::Hinge).with_balance(PairBalance::Joint);
        let contrastive = config.with_positive_margin(1.0).with_negative_margin(1.5).init();
        let margin: BatchLoss = Box::new(move |x, y, r| margin.forward(x, y, r));
        let contrastive: BatchLoss = Box::new(move |x, y, r| contrastive.forward(x, y, r));
        for reduction in REDUCTIONS {
            let (value, gradient) = value_and_gradient(&backend, &margin, &rows, &labels, reduction);
            let (expected, expected_gradient) = value_and_gradient(&backend, &contrastive, &rows, &labels, reduction);
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
        let pairs = Pairs::between(of_anchors.clone(), of_references.clone());
        let distances = || Distance::Euclidean.matrix(anchors.clone(), references.clone());
        let contrastive = ContrastiveLossConfig::new().with_negative_margin(3.0).init();
        let triplet = TripletLossConfig::new().with_margin(5.0).init();
        let lifted = LiftedStructureLossConfig::new().with_negative_margin(3.0).init();
        let margin = MarginLossConfig::new().with_nu(0.1).init(&backend.device);
        for reduction in REDUCTIONS {
            let cases: [(&dyn PairwiseLoss, Tensor<1>); 4] = [
                (&contrastive, contrastive.forward_distances(distances(), &pairs, reduction)),
                (&triplet, triplet.forward_distances(distances(), &pairs, reduction)),
                (&lifted, lifted.forward_distances(distances(), &pairs, reduction)),
                (&margin, margin.forward_distances(distances(), of_anchors.clone(), &pairs, reduction)),
            ];
            for (place, (loss, expected)) in cases.into_iter().enumerate() {
                let (anchors, references) = (anchors.clone(), references.clone());
                let (labels, reference_labels) = (of_anchors.clone(), of_references.clone());
                let value = loss.forward_with_references(anchors, labels, references, reference_labels, reduction);
                let value = host(value);
                assert_eq!(value, host(expected), "loss {place} on {} {:?}", backend.name, backend.dtype);
                assert!(value[0] > 0.0, "loss {place} on {} {:?}", backend.name, backend.dtype);
            }
        }
    }
}

#[test]
#[should_panic(expected = "TripletLoss: NegativeDistance::Nearest takes no references, only a batch")]
fn a_swap_needs_a_batch() {
    let device = Device::flex();
    let loss = TripletLossConfig::new().with_negative_distance(NegativeDistance::Nearest).init();
    // Also where there is nothing to compare, so that a first empty memory does not hide it.
    let rows = |count: usize| Tensor::<2>::ones([count, 1], &device);
    let labels = |count: i64| Tensor::<1, Int>::arange(0..count, &device);
    loss.forward_with_references(rows(2), labels(2), rows(0), labels(0), EmbeddingReduction::Mean);
}

/// Rows of a memory are references and no anchors.
#[test]
fn a_memory_gives_every_mining_its_triplets() {
    let (rows, labels) = batch();
    for backend in backends() {
        let x = floats(&backend, &rows).require_grad();
        let y = integers(&backend, &labels);
        let pairs = Pairs::between(y.clone().narrow(0, 0, 3), y.narrow(0, 3, 4));
        let distances = || Distance::Euclidean.matrix(x.clone().narrow(0, 0, 3), x.clone().narrow(0, 3, 4));
        let d = host(distances());
        let at = |a: usize, r: usize| d[4 * a + r];
        // Anchors of 2, 0, 2; references of 1, 0, 2, 1: one positive each, three negatives.
        let positive = [2, 1, 2];
        for mining in [TripletMining::All, TripletMining::Hard, TripletMining::SemiHard] {
            let loss = TripletLossConfig::new().with_mining(mining).with_margin(1.0).init();
            let losses = loss.forward_distances_no_reduction(distances(), &pairs);
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
        for (name, loss) in triplet_losses() {
            let embeddings = floats(&backend, &rows);
            let labels = integers(&backend, &labels);
            let anchors: f64 = host(loss.forward_no_reduction(embeddings.clone(), labels.clone())).iter().sum();
            let sum = host(loss.forward(embeddings, labels, EmbeddingReduction::Sum));
            assert_close(&format!("{name} on {}", backend.name), &sum, &[anchors], tolerance(&backend));
        }
    }
}

#[test]
fn the_order_of_the_rows_and_the_names_of_the_identities_do_not_matter() {
    let (rows, labels) = batch();
    let order = [4, 2, 6, 0, 3, 1, 5];
    let moved: Vec<Vec<f64>> = order.iter().map(|&row| rows[row].clone()).collect();
    // 2, 0, 1 become 0, 3, 2.
    let renamed: Vec<i64> = order.iter().map(|&row| [3, 2, 0][labels[row] as usize]).collect();
    for backend in backends() {
        for (name, _, loss) in losses(&backend.device) {
            for reduction in REDUCTIONS {
                let (expected, expected_gradient) = value_and_gradient(&backend, &loss, &rows, &labels, reduction);
                let (value, gradient) = value_and_gradient(&backend, &loss, &moved, &renamed, reduction);
                let back: Vec<f64> =
                    order.iter().flat_map(|&row| expected_gradient[3 * row..3 * row + 3].to_vec()).collect();
                let what = format!("{name} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                assert_close(&what, &[value], &[expected], tolerance(&backend));
                assert_close(&what, &gradient, &back, tolerance(&backend));
            }
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
        for (name, _, loss) in losses(&backend.device) {
            let (expected, gradient) = value_and_gradient(&backend, &loss, &rows, &labels, EmbeddingReduction::Mean);
            let (value, _) = value_and_gradient(&backend, &loss, &turned, &labels, EmbeddingReduction::Mean);
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
        let loss = TripletLossConfig::new().with_margin(1.0).init();
        let anchors = floats(&backend, &[vec![0.0], vec![0.0], vec![0.0]]);
        let positives = floats(&backend, &[vec![1.0], vec![1.0], vec![1.0]]);
        let negatives = floats(&backend, &[vec![1.75], vec![2.0], vec![2.5]]);
        // By hand: 1 - 1.75 + 1, 1 - 2 + 1, 1 - 2.5 + 1 < 0.
        let losses = host(loss.forward_triplets_no_reduction(anchors, positives, negatives));
        assert_close(&backend.name, &losses, &[0.25, 0.0, 0.0], tolerance(&backend));
    }
}

#[test]
fn a_pair_has_the_same_loss_from_both_sides() {
    let (rows, labels) = batch();
    for backend in backends() {
        let loss = ContrastiveLossConfig::new().with_negative_margin(1.5).init();
        let matrix = loss.forward_no_reduction(floats(&backend, &rows), integers(&backend, &labels));
        let mirrored = host(matrix.clone().transpose());
        assert_close(&backend.name, &host(matrix), &mirrored, tolerance(&backend));
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
                let loss = config.with_balance(balance).init();
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
                let pairs = Pairs::between(y.clone(), y.clone());
                let distances = Distance::Euclidean.matrix(x.clone(), x.clone());
                for reduction in REDUCTIONS {
                    let what = format!("{form:?} {balance:?} {reduction:?} on {} {:?}", backend.name, backend.dtype);
                    let given = loss.forward_pairs(
                        floats(&backend, &first),
                        floats(&backend, &second),
                        is_same.clone(),
                        reduction,
                    );
                    let batch = host(loss.forward(x.clone(), y.clone(), reduction));
                    let chosen = Pairs::in_batch(y.clone());
                    let matrix = loss.forward_distances(distances.clone(), &chosen, reduction);
                    assert_close(&what, &host(given), &batch, tolerance(&backend));
                    assert_close(&what, &host(matrix), &batch, tolerance(&backend));
                }
                // Without the mask of rows with themselves there are more positives: the masks are what counts.
                let more = loss.forward_distances(distances, &pairs, EmbeddingReduction::Mean);
                assert!(host(more)[0] < host(loss.forward(x, y, EmbeddingReduction::Mean))[0], "{form:?} {balance:?}");
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
        let distances = Distance::Euclidean.matrix(anchors, references);
        let mask = |rows: [[bool; 4]; 3]| Tensor::<2, Bool>::from_data(rows, &backend.device);
        let pairs = Pairs {
            positive: mask([[true, false, false, false], [false, false, true, false], [false, true, false, false]]),
            negative: mask([[false, true, false, false], [true, false, false, false], [false, false, false, true]]),
        };
        let lifted = LiftedStructureLossConfig::new().with_negative_margin(0.4).init();
        let expected = host(lifted.forward_distances_no_reduction(distances.clone(), &pairs));
        for mining in [TripletMining::All, TripletMining::Hard] {
            let loss = TripletLossConfig::new().with_mining(mining).with_margin(0.4).init();
            let losses = host(loss.forward_distances_no_reduction(distances.clone(), &pairs));
            assert_close(&format!("{mining:?} on {}", backend.name), &losses, &expected, tolerance(&backend));
        }
        assert!(expected.iter().any(|&loss| loss > 0.0), "{expected:?}");
    }
}

#[test]
fn entries_of_a_list_that_are_not_valid_count_for_nothing() {
    let (rows, _) = batch();
    for backend in backends() {
        let loss = TripletLossConfig::new().with_margin(1.0).init();
        let embeddings = floats(&backend, &rows).require_grad();
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
        let list = |valid: [bool; 3]| Triplets {
            anchor: integers(&backend, &[0, 1, 5]),
            positive: integers(&backend, &[2, 4, 99]),
            negative: integers(&backend, &[3, 6, -7]),
            valid: Tensor::from_data(valid, &backend.device),
        };
        let each = host(loss.forward_mined_no_reduction(distances.clone(), &list([true, true, false])));
        assert_eq!(each[2], 0.0);
        let mean = host(loss.forward_mined(distances.clone(), &list([true, true, false]), EmbeddingReduction::Mean));
        assert_close(&backend.name, &mean, &[(each[0] + each[1]) / 2.0], tolerance(&backend));

        let none = loss.forward_mined(distances, &list([false; 3]), EmbeddingReduction::Mean);
        let gradient = host(embeddings.grad(&none.backward()).expect("a gradient"));
        assert_eq!(host(none), [0.0]);
        assert!(gradient.iter().all(|&slope| slope == 0.0), "{gradient:?}");
    }
}

#[test]
fn an_empty_list_of_triplets_has_loss_and_gradient_zero() {
    for backend in backends() {
        let embeddings = floats(&backend, &batch().0).require_grad();
        let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings.clone());
        let nothing = Tensor::<1, Int>::zeros([0], &backend.device);
        let valid = Tensor::<1, Bool>::empty([0], &backend.device);
        let triplets = Triplets { anchor: nothing.clone(), positive: nothing.clone(), negative: nothing, valid };
        let loss = TripletLossConfig::new().init().forward_mined(distances, &triplets, EmbeddingReduction::Mean);
        let gradient = host(embeddings.grad(&loss.backward()).expect("a gradient"));
        assert_eq!(host(loss), [0.0]);
        assert!(gradient.iter().all(|&slope| slope == 0.0), "{gradient:?}");
    }
}

/// The boundary of a margin loss has a gradient also where nothing pulls at it, and a class beyond the boundaries is
/// in no pair.
#[test]
fn a_boundary_without_a_pair_has_gradient_zero() {
    for backend in backends() {
        for (labels, classes) in [(vec![0, 9, 7], Some(2)), (vec![-1, -1, -1], None), (vec![], Some(2))] {
            let loss = MarginLossConfig::new().with_classes(classes).with_nu(0.5).init(&backend.device);
            let rows = &batch().0[..labels.len()];
            let embeddings = floats(&backend, rows).require_grad();
            let value = loss.forward(embeddings, integers(&backend, &labels), EmbeddingReduction::Mean);
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
        let loss = MarginLossConfig::new().with_classes(Some(2)).with_nu(0.5).init(&backend.device);
        let x = floats(&backend, &batch().0[..4]);
        let distances = Distance::Euclidean.matrix(x.clone(), x);
        let pairs = |labels: &[i64]| Pairs::in_batch(integers(&backend, labels));
        let of = |labels: &[i64], pairs: &Pairs| {
            let labels = integers(&backend, labels);
            let each = loss.forward_distances_no_reduction(distances.clone(), labels.clone(), pairs);
            (host(each), host(loss.forward_distances(distances.clone(), labels, pairs, EmbeddingReduction::Mean)))
        };
        let (each, _) = of(&[1, 9, 9, 1], &pairs(&[1, 9, 9, 1]));
        assert!(each[4..12].iter().all(|&loss| loss == 0.0), "{each:?}");
        assert!(each[..4].iter().any(|&loss| loss > 0.0), "{each:?}");

        let nobody = of(&[9, 9, 7, 7], &pairs(&[9, 9, 7, 7]));
        assert_eq!(nobody, (vec![0.0; 16], vec![0.0]), "{}", backend.name);
    }
}

#[test]
#[should_panic(expected = "labels")]
fn labels_of_an_empty_batch_that_are_too_many_are_rejected() {
    let device = Device::flex();
    let labels = Tensor::<1, Int>::from_data([1, 2], &device);
    TripletLossConfig::new().init().forward(Tensor::zeros([0, 3], &device), labels, EmbeddingReduction::Mean);
}

#[test]
fn half_precision_is_computed_in_single_and_given_back_as_half() {
    let device = Device::flex().autodiff();
    let (rows, labels) = batch();
    for (dtype, allowed) in [(DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        for (name, _, loss) in losses(&device) {
            let run = |dtype: DType| {
                let data = TensorData::new(rows.concat(), [7, 3]);
                // The same rounded numbers in both precisions.
                let half =
                    Tensor::<2>::from_data(data, (&device, if allowed > 1e-2 { DType::BF16 } else { DType::F16 }));
                let embeddings = half.cast(dtype).detach().require_grad();
                let labels = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &device);
                let value = loss(embeddings.clone(), labels, EmbeddingReduction::Mean);
                assert_eq!(value.dtype(), dtype, "{name}");
                (host(value.clone()), host(embeddings.grad(&value.backward()).expect("a gradient")))
            };
            let (half, single) = (run(dtype), run(DType::F32));
            assert_close(&name, &half.0, &single.0, Tolerance::new(allowed, allowed));
            assert_close(&name, &half.1, &single.1, Tolerance::new(allowed, allowed));
        }
    }
}

#[test]
fn transposed_and_flipped_views_are_the_same_batch() {
    let (rows, labels) = batch();
    for backend in backends() {
        for (name, _, loss) in losses(&backend.device) {
            let x = floats(&backend, &rows);
            let expected = host(loss(x.clone(), integers(&backend, &labels), EmbeddingReduction::Mean));
            let stored: Vec<Vec<f64>> = (0..3).map(|k| rows.iter().map(|row| row[k]).collect()).collect();
            let view = floats(&backend, &stored).transpose();
            let value = host(loss(view, integers(&backend, &labels), EmbeddingReduction::Mean));
            assert_close(&format!("{name} on {}", backend.name), &value, &expected, tolerance(&backend));
        }
    }
}

#[test]
#[should_panic(expected = "needs the distances of a batch with itself, got [2, 3]")]
fn a_swap_with_a_memory_is_rejected() {
    let device = Device::flex();
    let loss = TripletLossConfig::new().with_negative_distance(NegativeDistance::Nearest).init();
    let labels = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), &device);
    let pairs = Pairs::between(labels(&[0, 1]), labels(&[0, 1, 1]));
    loss.forward_distances(Tensor::ones([2, 3], &device), &pairs, EmbeddingReduction::Mean);
}

#[test]
fn every_config_of_the_family_survives_json() {
    fn round_trip<C: Config>(config: &C) {
        let json = serde_json::to_string(config).expect("JSON");
        let back: C = serde_json::from_str(&json).expect("the config");
        assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
    }
    round_trip(
        &ContrastiveLossConfig::new()
            .with_form(ContrastiveForm::SquaredDistance)
            .with_balance(PairBalance::Joint)
            .with_distance(Distance::Minkowski(2.5)),
    );
    round_trip(
        &TripletLossConfig::new()
            .with_mining(TripletMining::SemiHard)
            .with_shape(TripletShape::Softplus)
            .with_negative_distance(NegativeDistance::Nearest),
    );
    round_trip(&LiftedStructureLossConfig::new().with_positive_margin(0.25));
    round_trip(&MarginLossConfig::new().with_classes(Some(7)).with_nu(0.125));
}
