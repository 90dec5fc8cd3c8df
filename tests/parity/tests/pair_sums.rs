//! What pairs add up to, against plain loops, against its reference, and with other blocks.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses_kernels::logsumexp::{KeyLabels, Streaming};
use burn_losses_kernels::rivals::{PairSum, pair_sums, pair_sums_reference};
use parity::{Backend, Exactness, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::gradient::check;
use support::naive::rivals as naive;
use support::table::host;

const SCALE: f64 = 4.0;

const SUMS: [naive::PairSum; 3] = [
    naive::PairSum::Softplus { bias: 0.5 },
    // The negatives and the positives of the circle loss.
    naive::PairSum::SelfPaced { reach: 0.25, goal: 0.25 },
    naive::PairSum::SelfPaced { reach: 1.25, goal: -0.75 },
];

/// Which keys a query is compared with.
#[derive(Clone, Copy, Debug)]
enum Partners {
    Others,
    Negatives,
    Positives { in_batch: bool },
}

const PARTNERS: [Partners; 4] = [
    Partners::Others,
    Partners::Negatives,
    Partners::Positives { in_batch: false },
    Partners::Positives { in_batch: true },
];

impl Partners {
    fn leaves_out(self, labels: &[i64], key_labels: &[i64], i: usize, j: usize) -> bool {
        match self {
            Self::Others => labels[i] == j as i64,
            Self::Negatives => key_labels[j] < 0 || key_labels[j] == labels[i],
            Self::Positives { in_batch } => key_labels[j] < 0 || key_labels[j] != labels[i] || in_batch && i == j,
        }
    }

    fn labels(self, labels: Tensor<1, Int>) -> KeyLabels {
        match self {
            Self::Others => KeyLabels::Position,
            Self::Negatives => KeyLabels::Tensor(labels),
            Self::Positives { in_batch } => KeyLabels::Same { labels, in_batch },
        }
    }
}

fn rows(count: usize, dim: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |place: usize| 2.0 * ((place * 7919 + seed * 31 + 1) as f64 * 0.618_033_988).fract() - 1.0;
    (0..count).map(|row| (0..dim).map(|column| number(row * dim + column)).collect()).collect()
}

fn labels(count: usize) -> Vec<i64> {
    (0..count as i64).map(|row| row * 5 % 4 - 1).collect()
}

/// Numbers of a batch, as leaves.
struct Leaves {
    queries: Tensor<2>,
    keys: Tensor<2>,
    bias: Tensor<1>,
}

impl Leaves {
    fn new(queries: &[Vec<f64>], keys: &[Vec<f64>], sum: naive::PairSum, backend: &Backend) -> Self {
        let matrix = |rows: &[Vec<f64>]| {
            let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
            Tensor::<2>::from_data(data, (&backend.device, backend.dtype)).require_grad()
        };
        let first = if let naive::PairSum::Softplus { bias } = sum { bias } else { 0.0 };
        let bias: Vec<f64> = (0..queries.len()).map(|row| first + 0.1 * row as f64).collect();
        let bias = Tensor::<1>::from_data(TensorData::from(bias.as_slice()), (&backend.device, backend.dtype));
        Self { queries: matrix(queries), keys: matrix(keys), bias: bias.require_grad() }
    }

    fn sum(&self, sum: naive::PairSum) -> PairSum {
        match sum {
            naive::PairSum::Softplus { .. } => PairSum::Softplus { bias: self.bias.clone() },
            naive::PairSum::SelfPaced { reach, goal } => PairSum::SelfPaced { reach, goal },
        }
    }

    /// The output, and the gradients of queries, keys and bias.
    fn outcome(&self, output: Tensor<2>) -> [Vec<f64>; 4] {
        let gradients = weigh(output.clone()).backward();
        let of = |leaf: &Tensor<2>| host(leaf.grad(&gradients).expect("a leaf has a gradient"));
        let bias = self.bias.grad(&gradients).map_or_else(Vec::new, host);
        [host(output), of(&self.queries), of(&self.keys), bias]
    }
}

/// An upstream gradient that is different for every number, and leaves out what is hugely negative.
fn weigh(output: Tensor<2>) -> Tensor<1> {
    let count = output.shape().num_elements();
    let weights: Vec<f64> = (0..count).map(|place| 0.5 + (place as f64 * 0.37).sin()).collect();
    let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), (&output.device(), output.dtype()));
    (output.reshape([count]).clamp_min(-1e6) * weights).sum()
}

fn tolerance(backend: &Backend, expected: &[f64]) -> Tolerance {
    let largest = expected.iter().filter(|number| **number > -1e29).fold(1.0_f64, |most, x| most.max(x.abs()));
    let share = match backend.exactness {
        Exactness::Double => 1e-12,
        Exactness::Single => 1e-5,
        Exactness::SoftwareGpu => 2e-5,
        Exactness::Gpu => 1e-4,
    };
    Tolerance::new(share, share * largest)
}

#[test]
fn pair_sums_equal_plain_loops_and_the_reference_with_every_block() {
    for backend in backends() {
        // Every shape is a kernel to compile on a GPU.
        let is_gpu = matches!(backend.exactness, Exactness::SoftwareGpu | Exactness::Gpu);
        let sizes = if is_gpu { &[[9, 40, 8]][..] } else { &[[1, 1, 1], [3, 5, 4], [9, 40, 8], [70, 70, 3]][..] };
        let blocks = if is_gpu { &[Some(7)] } else { &[None, Some(1), Some(7), Some(64)][..] };
        for &[batch, count, dim] in sizes {
            let (x, w, y, of) = (rows(batch, dim, 0), rows(count, dim, 1), labels(batch), labels(count));
            let integers = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device);
            for (sum, partners) in SUMS.into_iter().flat_map(|sum| PARTNERS.map(|partners| (sum, partners))) {
                let size = [batch, count, dim];
                let what = format!("{size:?} {sum:?} {partners:?} on {} {:?}", backend.name, backend.dtype);
                let plain = naive::pair_sums(&x, &w, sum, SCALE, |i, j| partners.leaves_out(&y, &of, i, j));
                let key_labels = || partners.labels(integers(&of));
                let leaves = Leaves::new(&x, &w, sum, &backend);
                let (a, b) = (leaves.queries.clone(), leaves.keys.clone());
                let reference = pair_sums_reference(a, b, integers(&y), key_labels(), leaves.sum(sum), SCALE);
                let expected = leaves.outcome(reference);
                assert_close(&what, &expected[0], &plain, tolerance(&backend, &plain));

                for &block in blocks {
                    let leaves = Leaves::new(&x, &w, sum, &backend);
                    let (a, b) = (leaves.queries.clone(), leaves.keys.clone());
                    let streaming = Streaming::new().with_block(block);
                    let output = pair_sums(a, b, integers(&y), key_labels(), leaves.sum(sum), SCALE, streaming);
                    let actual = leaves.outcome(output);
                    for (place, name) in ["sums", "queries", "keys", "bias"].into_iter().enumerate() {
                        let tolerance = tolerance(&backend, &expected[place]);
                        let what = format!("{what} block {block:?}: {name}");
                        assert_close(&what, &actual[place], &expected[place], tolerance);
                    }
                }
            }
        }
    }
}

/// More queries than a tile, more keys than a block, several threads, and no size a multiple of another.
#[test]
fn pair_sums_of_any_number_of_tiles_and_threads_equal_the_reference() {
    let (batch, count, dim) = (300, 530, 7);
    let (x, w, y, of) = (rows(batch, dim, 3), rows(count, dim, 4), labels(batch), labels(count));
    for backend in backends().iter().filter(|backend| backend.name == "flex") {
        let integers = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device);
        for (sum, partners) in SUMS.into_iter().flat_map(|sum| PARTNERS.map(|partners| (sum, partners))) {
            let leaves = Leaves::new(&x, &w, sum, backend);
            let (a, b) = (leaves.queries.clone(), leaves.keys.clone());
            let key_labels = || partners.labels(integers(&of));
            let reference = pair_sums_reference(a, b, integers(&y), key_labels(), leaves.sum(sum), SCALE);
            let expected = leaves.outcome(reference);
            for (threads, block) in [(1, None), (2, None), (7, Some(100))] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let leaves = Leaves::new(&x, &w, sum, backend);
                let (a, b) = (leaves.queries.clone(), leaves.keys.clone());
                let streaming = Streaming::new().with_block(block);
                let actual = pool.install(|| {
                    let output = pair_sums(a, b, integers(&y), key_labels(), leaves.sum(sum), SCALE, streaming);
                    leaves.outcome(output)
                });
                for place in 0..4 {
                    let what = format!("{place} of {sum:?} {partners:?} with {threads} threads on {}", backend.name);
                    assert_close(&what, &actual[place], &expected[place], tolerance(backend, &expected[place]));
                }
            }
        }
    }
}

/// The weight of a self-paced score is a constant: its gradient is that of a score with a fixed weight, and so no
/// derivative of the value. A sum of softplus has its own.
#[test]
fn gradients_of_pair_sums_equal_finite_differences() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let integers = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device);
        let (x, w, y, of) = (rows(3, 3, 5), rows(6, 3, 6), [1, 0, 1], labels(6));
        let sum = SUMS[0];
        let run = |x: &[f64], w: &[f64]| {
            let matrix = |data: &[f64]| data.chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>();
            let leaves = Leaves::new(&matrix(x), &matrix(w), sum, backend);
            let (a, b) = (leaves.queries.clone(), leaves.keys.clone());
            let positives = KeyLabels::Same { labels: integers(&of), in_batch: false };
            let scale = Tensor::<1>::from_data([SCALE], (&backend.device, DType::F64));
            let output = pair_sums(a, b, integers(&y), positives, leaves.sum(sum), scale, Streaming::new());
            (output, leaves)
        };
        let (output, leaves) = run(&x.concat(), &w.concat());
        let [_, of_x, of_w, _] = leaves.outcome(output);
        let value = |output: Tensor<2>| host(weigh(output))[0];
        let tolerance = Tolerance::new(1e-6, 1e-6);
        let x_check = check(|moved| value(run(moved, &w.concat()).0), &x.concat(), &of_x, 10.0 * SCALE, tolerance);
        assert!(x_check.is_ok(), "{}: {x_check:?}", backend.name);
        let w_check = check(|moved| value(run(&x.concat(), moved).0), &w.concat(), &of_w, 10.0 * SCALE, tolerance);
        assert!(w_check.is_ok(), "{}: {w_check:?}", backend.name);
        assert!(of_w.iter().any(|&slope| slope != 0.0));
    }
}

/// A bias that silences everything or nothing, rows of 0 and of huge scores: finite, value and gradient.
#[test]
fn pair_sums_of_extreme_rows_are_finite() {
    for backend in backends() {
        let integers = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device);
        for length in [0.0, 1e-20, 1.0, 1e3] {
            let x = [vec![length, 0.0], vec![-length, 0.0], vec![length, length]];
            for sum in [
                naive::PairSum::Softplus { bias: 1e30 },
                naive::PairSum::Softplus { bias: -1e10 },
                naive::PairSum::SelfPaced { reach: 0.4, goal: 0.4 },
            ] {
                for partners in PARTNERS {
                    let leaves = Leaves::new(&x, &x, sum, &backend);
                    let (a, b) = (leaves.queries.clone(), leaves.keys.clone());
                    let key_labels = partners.labels(integers(&[3, 3, -1]));
                    let labels = integers(&[3, 3, -1]);
                    let output = pair_sums(a, b, labels, key_labels, leaves.sum(sum), 80.0, Streaming::new());
                    for numbers in leaves.outcome(output) {
                        assert_finite(&format!("{sum:?} {partners:?} {length:e} on {}", backend.name), &numbers);
                    }
                }
            }
        }
    }
}
