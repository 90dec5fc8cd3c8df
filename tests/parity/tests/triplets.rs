//! All triplets of a batch: the walk of a backend against the walk in ordinary operations and against plain loops.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_losses_kernels::triplets::{
    NegativeDistance, TripletRule, TripletShape, TripletSums, all_triplets, all_triplets_reference,
    semi_hard_negatives, semi_hard_negatives_reference,
};
use parity::{Backend, Exactness, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

fn rules() -> Vec<TripletRule> {
    let shapes = [TripletShape::Hinge, TripletShape::Softplus];
    let negatives = [NegativeDistance::FromAnchor, NegativeDistance::Nearest];
    let all = shapes.into_iter().flat_map(|shape| negatives.map(|negative_distance| (shape, negative_distance)));
    all.map(|(shape, negative_distance)| TripletRule { margin: 0.25, shape, negative_distance }).collect()
}

/// Distances that are the same in both directions, and identities of which one row has none.
fn batch(count: usize) -> (Vec<f64>, Vec<i64>) {
    let number = |a: usize, b: usize| {
        let (a, b) = (a.min(b), a.max(b));
        if a == b { 0.0 } else { 0.1 + ((a * 7919 + b * 131 + 1) as f64 * 0.618_033_988).fract() }
    };
    let distances = (0..count * count).map(|place| number(place / count, place % count)).collect();
    (distances, (0..count as i64).map(|row| if row == 2 { -1 } else { row * 5 % 4 }).collect())
}

/// The same with distances of 0 to 3 quarters: many negatives are as near to the positive as to the anchor, and many
/// triplets have excess 0, exactly.
fn tied(count: usize) -> (Vec<f64>, Vec<i64>) {
    let (distances, labels) = batch(count);
    (distances.into_iter().map(|distance| (distance * 3.0).floor() / 4.0).collect(), labels)
}

/// Some pairs of rows are positive pairs for one of them only, as those of a miner can be.
fn is_positive(labels: &[i64], anchor: usize, other: usize) -> bool {
    let both = labels[anchor] >= 0 && labels[anchor] == labels[other] && anchor != other;
    both && (anchor < other || !(anchor + other).is_multiple_of(3))
}

struct Masks {
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
}

fn masks(labels: &[i64], backend: &Backend) -> Masks {
    let count = labels.len();
    let mask = |of: &dyn Fn(usize, usize) -> bool| {
        let numbers: Vec<bool> = (0..count * count).map(|place| of(place / count, place % count)).collect();
        Tensor::<2, Bool>::from_data(TensorData::new(numbers, [count, count]), &backend.device)
    };
    let known = |i: usize, j: usize| labels[i] >= 0 && labels[j] >= 0;
    Masks {
        positives: mask(&|i, j| is_positive(labels, i, j)),
        negatives: mask(&|i, j| known(i, j) && labels[i] != labels[j]),
    }
}

/// What the losses of an anchor are multiplied with.
fn weight(anchor: usize) -> f64 {
    0.5 + (anchor as f64 * 0.37).sin()
}

/// Losses, triplets, active triplets, and the gradient of the distances.
fn outcome(run: impl FnOnce(Tensor<2>) -> TripletSums, numbers: &[f64], backend: &Backend) -> [Vec<f64>; 4] {
    let count = numbers.len().isqrt();
    let data = TensorData::new(numbers.to_vec(), [count, count]);
    let leaf = Tensor::<2>::from_data(data, (&backend.device, backend.dtype)).require_grad();
    let TripletSums { losses, triplets, active } = run(leaf.clone());
    let weights: Vec<f64> = (0..count).map(weight).collect();
    let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), (&backend.device, backend.dtype));
    let gradient = leaf.grad(&(losses.clone() * weights).sum().backward()).expect("a gradient");
    [host(losses), host(triplets), host(active), host(gradient)]
}

/// The same in plain loops.
fn plain(distances: &[f64], labels: &[i64], rule: TripletRule) -> [Vec<f64>; 4] {
    let count = labels.len();
    let at = |i: usize, j: usize| distances[i * count + j];
    let mut sums = [vec![0.0; count], vec![0.0; count], vec![0.0; count], vec![0.0; count * count]];
    for (a, p, n) in (0..count.pow(3)).map(|place| (place / count / count, place / count % count, place % count)) {
        if !is_positive(labels, a, p) || labels[n] < 0 || labels[n] == labels[a] {
            continue;
        }
        let swapped = rule.negative_distance == NegativeDistance::Nearest && at(p, n) < at(a, n);
        let (row, near) = if swapped { (p, a) } else { (a, p) };
        let excess = at(a, p) - at(row, n) + rule.margin;
        let (loss, slope) = match rule.shape {
            TripletShape::Hinge => (excess.max(0.0), f64::from(u8::from(excess > 0.0))),
            TripletShape::Softplus => (excess.exp().ln_1p(), 1.0 / (1.0 + (-excess).exp())),
        };
        let weight = weight(row);
        sums[0][row] += loss;
        sums[1][row] += 1.0;
        sums[2][row] += f64::from(u8::from(loss != 0.0));
        sums[3][row * count + near] += weight * slope;
        sums[3][row * count + n] -= weight * slope;
    }
    sums
}

#[test]
fn all_triplets_equal_plain_loops_and_the_reference() {
    for backend in backends() {
        let share = match backend.exactness {
            Exactness::Double => 1e-13,
            Exactness::Single | Exactness::SoftwareGpu => 1e-5,
            Exactness::Gpu => 1e-4,
        };
        for (distances, labels) in [batch(1), batch(2), batch(9), batch(40), tied(9), tied(40)] {
            let count = labels.len();
            for rule in rules() {
                let what = format!("{count} {rule:?} on {} {:?}", backend.name, backend.dtype);
                let Masks { positives, negatives } = masks(&labels, &backend);
                let (p, n) = (positives.clone(), negatives.clone());
                let walked = outcome(|distances| all_triplets(distances, p, n, rule), &distances, &backend);
                let run = |distances| all_triplets_reference(distances, positives, negatives, rule);
                let reference = outcome(run, &distances, &backend);
                for (place, expected) in plain(&distances, &labels, rule).iter().enumerate() {
                    assert_close(&what, &walked[place], expected, Tolerance::new(share, share));
                    assert_close(&what, &reference[place], expected, Tolerance::new(share, share));
                }
            }
        }
    }
}

/// What stands outside of the masks reaches nothing; a NaN in a triplet is not hidden.
#[test]
fn what_is_in_no_triplet_reaches_nothing() {
    for backend in backends() {
        let (clean, labels) = batch(9);
        for rule in rules() {
            let run = |numbers: &[f64]| {
                let Masks { positives, negatives } = masks(&labels, &backend);
                outcome(|distances| all_triplets(distances, positives, negatives, rule), numbers, &backend)
            };
            let expected = run(&clean);
            for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut numbers = clean.clone();
                // The row without an identity, and the distances of rows from themselves.
                for place in (0..9).flat_map(|row| [2 * 9 + row, row * 9 + 2, row * 10]) {
                    numbers[place] = strange;
                }
                let actual = run(&numbers);
                let what = format!("{strange} {rule:?} on {} {:?}", backend.name, backend.dtype);
                actual.iter().for_each(|numbers| assert_finite(&what, numbers));
                assert_eq!(actual[..3], expected[..3], "{what}");
            }
            let mut numbers = clean.clone();
            // A positive pair: rows 0 and 4.
            for place in [4, 4 * 9] {
                numbers[place] = f64::NAN;
            }
            assert!(run(&numbers)[0][0].is_nan(), "{rule:?} on {} {:?}", backend.name, backend.dtype);
        }
    }
}

/// A positive that is infinitely far is an infinite loss, not one that is no number.
#[test]
fn an_infinite_distance_of_a_positive_is_an_infinite_loss() {
    for backend in backends() {
        let (mut numbers, labels) = batch(9);
        for place in [4, 4 * 9] {
            numbers[place] = f64::INFINITY;
        }
        let margin = 0.3;
        for shape in [TripletShape::Hinge, TripletShape::Softplus] {
            let rule = TripletRule { margin, shape, negative_distance: NegativeDistance::FromAnchor };
            let Masks { positives, negatives } = masks(&labels, &backend);
            let run = |distances| all_triplets(distances, positives, negatives, rule);
            let [losses, .., gradient] = outcome(run, &numbers, &backend);
            let what = format!("{rule:?} on {} {:?}", backend.name, backend.dtype);
            assert!(losses[0] == f64::INFINITY && losses[1].is_finite(), "{what}: {losses:?}");
            assert_finite(&what, &gradient);
        }
    }
}

/// Distances with many that are equal, some that are infinite or no number, and rows without positives or negatives.
#[test]
fn semi_hard_negatives_equal_plain_loops_and_the_reference() {
    for backend in backends() {
        for (mut distances, labels) in [batch(1), batch(2), batch(9), batch(40), tied(9), tied(40)] {
            let count = labels.len();
            for (step, strange) in [f64::INFINITY, f64::NAN, f64::NEG_INFINITY].into_iter().enumerate() {
                distances.iter_mut().skip(step * 7 + 3).step_by(29).for_each(|distance| *distance = strange);
            }
            let tensor = || {
                let data = TensorData::new(distances.clone(), [count, count]);
                Tensor::<2>::from_data(data, (&backend.device, backend.dtype))
            };
            let run = |run: fn(Tensor<2>, Tensor<2, Bool>, Tensor<2, Bool>) -> Tensor<2, Int>| {
                let Masks { positives, negatives } = masks(&labels, &backend);
                run(tensor(), positives, negatives).try_into_vec_as::<i64>().unwrap()
            };
            let expected: Vec<i64> = (0..count * count)
                .map(|place| {
                    let (a, p) = (place / count, place % count);
                    let at = |n: usize| distances[a * count + n];
                    let farther = (0..count).filter(|&n| labels[a].min(labels[n]) >= 0 && labels[a] != labels[n]);
                    let farther = farther.filter(|&n| at(n) > at(p) && at(n).is_finite());
                    let nearest = farther.min_by(|&n, &other| at(n).total_cmp(&at(other)));
                    if is_positive(&labels, a, p) { nearest.map_or(-1, |n| n as i64) } else { -1 }
                })
                .collect();
            assert_eq!(run(semi_hard_negatives), expected, "{count} on {} {:?}", backend.name, backend.dtype);
            assert_eq!(run(semi_hard_negatives_reference), expected, "{count} on {} {:?}", backend.name, backend.dtype);
        }
    }
}
