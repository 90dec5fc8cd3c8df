//! Cosines of two sides and of several lengths in one walk: against plain loops and against one comparison after the other.

use burn::tensor::{DType, Tensor};
use burn_losses_kernels::scores::{CosineSums, Scale, Sides, cosine_sums, cosine_sums_reference};
use parity::backends;
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use super::{On, rows, weigh};

/// What no sum is.
const NOTHING: f64 = -1e30;

struct Case {
    sides: [Vec<Vec<f64>>; 2],
    labels: [Vec<i64>; 2],
    lengths: Vec<usize>,
    both: bool,
    scale: f64,
    learned: bool,
}

impl Case {
    /// Two sides of a batch, of which some rows are of one label and some of none.
    fn new([first, second, dim]: [usize; 3], lengths: &[usize], scale: f64) -> Self {
        let label = |row: usize| if row % 13 == 5 { -1 } else { (row % 29) as i64 * 3 };
        Self {
            sides: [rows(first, dim, 1), rows(second, dim, 2)],
            labels: [(0..first).map(label).collect(), (0..second).map(|row| label(row + row / 31)).collect()],
            lengths: lengths.to_vec(),
            both: true,
            scale,
            learned: true,
        }
    }

    /// The sums of all lengths, of the first side, of the second and of partners, and the gradients of the sides and of the scale.
    fn run(&self, on: &On<'_>, sums: Run) -> Vec<Vec<f64>> {
        let [first, second] = [0, 1].map(|side| on.matrix(&self.sides[side]));
        let labels = [0, 1].map(|side| on.integers(&self.labels[side]));
        let number = on.vector(&[self.scale]).require_grad();
        let scale = if self.learned { Scale::Tensor(number.clone()) } else { Scale::Constant(self.scale) };
        let sides = Sides { first: first.clone(), second: second.clone(), labels };
        let sums = sums(sides, &self.lengths, self.both, scale);
        assert_eq!(sums.len(), self.lengths.len());
        let sums: Vec<Tensor<1>> = sums
            .into_iter()
            .flat_map(|CosineSums { first, second, own }| [Some(first), second, Some(own)])
            .flatten()
            .collect();
        let all = Tensor::cat(sums, 0);
        // A log-sum-exp of nothing would swallow all others.
        let something = all.clone().mask_fill(all.clone().lower_scalar(0.5 * NOTHING), 0.0);
        let gradients = weigh(something).backward();
        let mut outcome = vec![host(all)];
        outcome.extend([first, second].map(|side| host(side.grad(&gradients).expect("a gradient"))));
        outcome.extend(number.grad(&gradients).map(host));
        outcome
    }

    /// The same in plain loops.
    fn plain(&self) -> Vec<Vec<f64>> {
        let [count, others] = [0, 1].map(|side| self.sides[side].len());
        let is_compared = |i: usize, j: usize| {
            let (one, other) = (self.labels[0][i], self.labels[1][j]);
            one >= 0 && other >= 0 && one != other
        };
        let own = count.min(others);
        let per_length = own + count + if self.both { others } else { 0 };
        let mut sums = Vec::new();
        let mut gradients = self.sides.clone().map(|rows| vec![vec![0.0; rows[0].len()]; rows.len()]);
        let mut of_scale = 0.0;
        for (place, &length) in self.lengths.iter().enumerate() {
            let [(first, lengths), (second, other_lengths)] = [0, 1].map(|side| units(&self.sides[side], length));
            let cosine = |i: usize, j: usize| dot(&first[i], &second[j]);
            let log_sum = |scores: Vec<f64>| {
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if scores.is_empty() {
                    return NOTHING;
                }
                largest + scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln()
            };
            let of_first: Vec<f64> = (0..count)
                .map(|i| {
                    log_sum((0..others).filter(|&j| is_compared(i, j)).map(|j| self.scale * cosine(i, j)).collect())
                })
                .collect();
            let of_second: Vec<f64> = (0..others)
                .map(|j| {
                    log_sum((0..count).filter(|&i| is_compared(i, j)).map(|i| self.scale * cosine(i, j)).collect())
                })
                .collect();
            let weight = |number: usize| 0.5 + ((place * per_length + number) as f64 * 0.37).sin();
            for (i, j) in (0..count).flat_map(|i| (0..others).map(move |j| (i, j))).filter(|&(i, j)| is_compared(i, j))
            {
                let (cosine, score) = (cosine(i, j), self.scale * cosine(i, j));
                let mut slope = weight(i) * (score - of_first[i]).exp();
                if self.both {
                    slope += weight(count + j) * (score - of_second[j]).exp();
                }
                of_scale += slope * cosine;
                let [of_rows, of_others] = &mut gradients;
                for number in 0..length {
                    let (one, other) = (first[i][number], second[j][number]);
                    of_rows[i][number] += self.scale * slope * (other - one * cosine) / lengths[i];
                    of_others[j][number] += self.scale * slope * (one - other * cosine) / other_lengths[j];
                }
            }
            for i in 0..own {
                let (cosine, slope) = (cosine(i, i), weight(per_length - own + i));
                let [of_rows, of_others] = &mut gradients;
                for number in 0..length {
                    let (one, other) = (first[i][number], second[i][number]);
                    of_rows[i][number] += slope * (other - one * cosine) / lengths[i];
                    of_others[i][number] += slope * (one - other * cosine) / other_lengths[i];
                }
            }
            sums.extend(of_first);
            sums.extend(of_second.into_iter().filter(|_| self.both));
            sums.extend((0..own).map(|i| cosine(i, i)));
        }
        let mut outcome = vec![sums];
        outcome.extend(gradients.map(|rows| rows.concat()));
        outcome.extend(self.learned.then_some(vec![of_scale]));
        outcome
    }
}

type Run = fn(Sides, &[usize], bool, Scale) -> Vec<CosineSums>;

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// The first numbers of every row divided by their length, and these lengths. A row without a direction is as the engine has it.
fn units(rows: &[Vec<f64>], length: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let unit = |row: &Vec<f64>| {
        let row = &row[..length];
        let largest = row.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
        let length = if largest < 1e-12 { 0.5_f64.sqrt() } else { dot(row, row).sqrt() };
        (row.iter().map(|number| number / length).collect(), length)
    };
    rows.iter().map(unit).unzip()
}

fn tolerance(on: &On<'_>, case: &Case) -> Tolerance {
    let base = on.tolerance();
    // Errors of a score grow with the scale, and with it those of its exponential; gradients of rows of length 0.1 are of size 10.
    let factor = 4.0 * case.scale.max(8.0) / 8.0 * case.lengths.len() as f64;
    Tolerance::new(base.relative * factor, base.absolute * factor)
}

fn check(case: &Case, what: &str) {
    let expected = case.plain();
    // Elsewhere than in host memory it is `scores`, of which large comparisons have tests of their own.
    let is_small = case.labels.iter().all(|labels| labels.len() <= 64);
    for backend in backends().into_iter().filter(|backend| is_small || !backend.is_gpu()) {
        let on = On(&backend);
        for (way, run) in [("walk", cosine_sums as Run), ("reference", cosine_sums_reference as Run)] {
            let outcome = case.run(&on, run);
            assert_eq!(outcome.len(), expected.len());
            for (place, (actual, expected)) in outcome.iter().zip(&expected).enumerate() {
                // Whatever nothing is in the backend's precision.
                let actual: Vec<f64> =
                    actual.iter().map(|&number| if number < 0.5 * NOTHING { NOTHING } else { number }).collect();
                let name = format!("{what}, outcome {place} by {way} on {}", backend.name);
                // Gradients are sums over many rows of numbers of this size.
                let largest = expected.iter().filter(|number| **number > NOTHING).fold(1.0_f64, |a, b| a.max(b.abs()));
                let Tolerance { relative, absolute } = tolerance(&on, case);
                assert_close(&name, &actual, expected, Tolerance::new(relative, absolute * largest));
            }
        }
    }
}

#[test]
fn both_sides_of_one_length_equal_plain_loops() {
    for shape in [[1, 1, 1], [1, 2, 3], [5, 3, 7], [40, 33, 16], [300, 270, 12], [130, 1100, 5]] {
        // Beside 30.6, from which on exponentials of `f32` are relative to the largest, too, and far beyond what `f64` bears.
        for scale in [0.5, 14.0, 30.5, 30.7, 100.0, 400.0] {
            check(&Case::new(shape, &[shape[2]], scale), &format!("{shape:?} at {scale}"));
        }
    }
}

#[test]
fn several_lengths_equal_plain_loops() {
    for (shape, lengths) in [
        ([5, 3, 7], &[7, 2][..]),
        ([40, 33, 16], &[1, 2, 4, 8, 12, 16]),
        ([300, 270, 24], &[24, 3, 6, 12]),
        // Several blocks for each of two threads.
        ([600, 1100, 8], &[2, 4, 6, 8]),
        // None of the whole length, and one twice.
        ([20, 30, 24], &[4, 20, 4]),
    ] {
        for scale in [14.0, 100.0] {
            check(&Case::new(shape, lengths, scale), &format!("{shape:?} at {scale} of {lengths:?}"));
        }
    }
}

#[test]
fn one_side_and_a_constant_scale_equal_plain_loops() {
    for scale in [14.0, 100.0, 400.0] {
        let case = Case { both: false, learned: false, ..Case::new([30, 290, 12], &[12, 5], scale) };
        check(&case, &format!("one side at {scale}"));
    }
}

#[test]
fn rows_that_are_nearly_nothing_at_a_short_length_equal_plain_loops() {
    for (name, start) in [("zero", 0.0), ("tiny", 1e-14), ("short", 1e-10), ("just long enough", 2e-9), ("long", 1e-5)]
    {
        let mut case = Case::new([9, 11, 8], &[3, 8], 8.0);
        for side in &mut case.sides {
            side[2][..3].iter_mut().for_each(|number| *number *= start);
        }
        // Of one label, so that they are not compared.
        case.labels[1][2] = case.labels[0][2];
        // One without any direction, which does not matter to the others.
        case.sides[1][4].fill(0.0);
        check(&case, name);
    }
}

/// What is not tracked has no gradient, and what is has the same as before.
#[test]
fn any_part_may_be_a_constant_and_both_sides_the_same_rows() {
    let case = Case::new([40, 40, 6], &[2, 6], 14.0);
    for backend in backends() {
        let on = On(&backend);
        let labels = || [0, 0].map(|side: usize| on.integers(&case.labels[side]));
        let gradients = |tracked: [bool; 3]| {
            let leaf = |tensor: Tensor<2>, tracked: bool| tensor.set_require_grad(tracked);
            let [first, second] = [0, 1].map(|side| leaf(on.matrix(&case.sides[side]), tracked[side]));
            let scale = on.vector(&[case.scale]).set_require_grad(tracked[2]);
            let sides = Sides { first: first.clone(), second: second.clone(), labels: labels() };
            let sums = cosine_sums(sides, &case.lengths, true, Scale::Tensor(scale.clone()));
            let sums = sums.into_iter().flat_map(|sums| [Some(sums.first), sums.second, Some(sums.own)]).flatten();
            let sum = Tensor::cat(sums.collect(), 0);
            let gradients = weigh(sum.clone().mask_fill(sum.lower_scalar(0.5 * NOTHING), 0.0)).backward();
            [first.grad(&gradients).map(host), second.grad(&gradients).map(host), scale.grad(&gradients).map(host)]
        };
        let all = gradients([true; 3]);
        for tracked in [[true, false, false], [false, true, false], [false, false, true], [true, false, true]] {
            for ((gradient, expected), tracked) in gradients(tracked).into_iter().zip(&all).zip(tracked) {
                assert_eq!(gradient, expected.clone().filter(|_| tracked), "{tracked} on {}", backend.name);
            }
        }

        // The gradient of rows that are both sides is that of the one and of the other.
        let rows = on.matrix(&case.sides[0]);
        let run = |first: &Tensor<2>, second: &Tensor<2>| {
            let sides = Sides { first: first.clone(), second: second.clone(), labels: labels() };
            let sums = cosine_sums(sides, &[6], true, case.scale);
            let all = Tensor::cat(vec![sums[0].first.clone(), sums[0].second.clone().expect("both")], 0);
            weigh(all.clone().mask_fill(all.lower_scalar(0.5 * NOTHING), 0.0)).backward()
        };
        let same = host(rows.grad(&run(&rows, &rows)).expect("a gradient"));
        let [first, second] = [0, 0].map(|side: usize| on.matrix(&case.sides[side]));
        let apart = run(&first, &second);
        let apart = first.grad(&apart).expect("a gradient") + second.grad(&apart).expect("a gradient");
        let Tolerance { relative, absolute } = tolerance(&on, &case);
        assert_close(&backend.name, &same, &host(apart), Tolerance::new(relative, 10.0 * absolute));
    }
}

#[test]
fn huge_and_small_rows_have_finite_gradients_and_a_nan_stays_with_its_pairs() {
    for backend in backends() {
        let on = On(&backend);
        let mut case = Case::new([6, 7, 4], &[2, 4], 30.0);
        case.labels = [(0..6).collect(), (0..7).collect()];
        case.sides[0][1].iter_mut().for_each(|number| *number *= 1e30);
        case.sides[1][2].iter_mut().for_each(|number| *number *= 1e-9);
        for outcome in case.run(&on, cosine_sums) {
            assert_finite(&backend.name, &outcome);
        }
        case.sides[0][3][0] = f64::NAN;
        let outcome = case.run(&on, cosine_sums);
        for (place, number) in outcome[0].iter().enumerate() {
            // Row 3 of the first side is compared with all but row 3 of the second.
            let of_nan = match place % 19 {
                row @ ..6 => row == 3,
                row @ 6..13 => row - 6 != 3,
                own => own - 13 == 3,
            };
            assert_eq!(number.is_nan(), of_nan, "{place} of {:?} on {}", outcome[0], backend.name);
        }
    }
}

#[test]
fn half_precision_is_computed_in_single_and_empty_sides_have_no_sums() {
    // NdArray has no half precision.
    for backend in backends().into_iter().filter(|backend| !backend.is_double() && backend.name != "ndarray") {
        let on = On(&backend);
        let case = Case::new([5, 4, 6], &[3, 6], 10.0);
        let sums = |dtype: DType| {
            let [first, second] = [0, 1].map(|side| on.matrix(&case.sides[side]).detach().cast(DType::F16).cast(dtype));
            let labels = [0, 1].map(|side| on.integers(&case.labels[side]));
            cosine_sums(Sides { first, second, labels }, &case.lengths, true, case.scale)
        };
        // The rows are the same, and so is what is computed of them.
        for (half, single) in sums(DType::F16).into_iter().zip(sums(DType::F32)) {
            assert_eq!(half.first.dtype(), DType::F32);
            assert_eq!(host(half.first), host(single.first), "{}", backend.name);
        }
        for (rows, others) in [(0, 0), (0, 3), (3, 0)] {
            let [first, second] = [rows, others].map(|count| Tensor::<2>::ones([count, 6], &backend.device));
            let labels = [rows, others].map(|count| on.integers(&vec![1; count]));
            for CosineSums { first, second, own } in cosine_sums(Sides { first, second, labels }, &[2, 6], true, 10.0) {
                let second = second.expect("both");
                assert_eq!((first.dims(), second.dims(), own.dims()), ([rows], [others], [0]));
                assert!(host(first).into_iter().chain(host(second)).all(|sum| sum < 0.5 * NOTHING));
            }
        }
    }
}
