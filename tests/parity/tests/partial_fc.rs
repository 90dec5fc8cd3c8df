use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_losses::heads::{ArcFace, ArcFaceConfig, CentersConfig, CosFace, CosFaceConfig, Head, MarginRule};
use burn_losses::labels::{LabelPolicy, OnBadLabel};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::naive::scores::class_scores;
use support::table::host;

const CLASSES: usize = 60;
const DIM: usize = 8;
const SCALE: f64 = 8.0;

fn rows(count: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |place: usize| ((place * 7919 + seed * 31 + 1) as f64 * 0.618_033_988_7).fract() - 0.5;
    (0..count).map(|row| (0..DIM).map(|column| number(row * DIM + column)).collect()).collect()
}

fn matrix(rows: &[Vec<f64>], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), DIM]), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), device)
}

fn head_with(centers: CentersConfig, backend: &Backend) -> ArcFace {
    let labels = LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore);
    let config = ArcFaceConfig::new(CLASSES, DIM).with_scale(SCALE).with_margin(0.2);
    let mut head = config.with_centers(centers.with_labels(labels)).init(&backend.device);
    head.centers.weight = burn::module::Param::from_tensor(matrix(&rows(CLASSES, 1), backend));
    head
}

fn head(backend: &Backend) -> ArcFace {
    head_with(CentersConfig::new(), backend)
}

fn partial(backend: &Backend, rate: f64) -> ArcFace {
    head_with(CentersConfig::new().with_sample_rate(rate).with_seed(11), backend)
}

/// The losses of a batch and the gradients of embeddings and centers.
fn step<R: MarginRule>(head: &Head<R>, batch: &[Vec<f64>], labels: &[i64], backend: &Backend) -> [Vec<f64>; 3] {
    let leaf = matrix(batch, backend).require_grad();
    let losses = head.forward_no_reduction(leaf.clone(), integers(labels, &backend.device));
    let gradients = losses.clone().sum().backward();
    let centers = head.centers.weight.val().grad(&gradients).expect("centers have a gradient");
    [host(losses), host(leaf.grad(&gradients).expect("embeddings have a gradient")), host(centers)]
}

/// The classes that received a gradient.
fn moved(centers_gradient: &[f64]) -> Vec<usize> {
    let rows = centers_gradient.chunks(DIM).enumerate();
    rows.filter(|(_, row)| row.iter().any(|&slope| slope != 0.0)).map(|(class, _)| class).collect()
}

#[test]
fn a_rate_of_one_is_the_head_bit_for_bit() {
    for backend in backends() {
        let labels = [0, 59, -1, 7, 7, 60];
        let expected = step(&head(&backend), &rows(6, 0), &labels, &backend);
        assert_eq!(step(&partial(&backend, 1.0), &rows(6, 0), &labels, &backend), expected, "{}", backend.name);
    }
}

#[test]
fn the_loss_is_that_of_the_sampled_classes_whatever_the_batch() {
    for backend in backends() {
        let head = partial(&backend, 0.2);
        let weights = rows(CLASSES, 1);
        // The last batch of an epoch is shorter; labels may be missing, equal, or all missing.
        let batches: [&[i64]; 5] = [&[0, 59, -1, 7, 7, 33, 60], &[5, 5, 5], &[12], &[-1, -1], &[]];
        for labels in batches {
            let batch = rows(labels.len(), 0);
            if batch.is_empty() {
                let loss = head
                    .forward(Tensor::zeros([0, DIM], (&backend.device, backend.dtype)), integers(&[], &backend.device));
                assert_eq!(host(loss), [0.0]);
                continue;
            }
            let [losses, _, gradient] = step(&head, &batch, labels, &backend);
            let sample = moved(&gradient);
            let with_class: Vec<usize> =
                (0..labels.len()).filter(|&row| (0..CLASSES as i64).contains(&labels[row])).collect();
            if with_class.is_empty() {
                assert!(losses.iter().chain(&gradient).all(|&number| number == 0.0));
                continue;
            }
            assert!(sample.len() >= 12 && sample.len() <= 12 + with_class.len(), "{sample:?}");
            let members: Vec<Vec<f64>> = sample.iter().map(|&class| weights[class].clone()).collect();
            for row in 0..labels.len() {
                if !with_class.contains(&row) {
                    assert_eq!(losses[row], 0.0);
                    continue;
                }
                let own = sample.iter().position(|&class| class as i64 == labels[row]).expect("its class is in it");
                let scores = class_scores(&batch[row..=row], &members, &[own as i64], SCALE);
                let target = (scores[0].acos() + 0.2).cos();
                let expected = (scores[1] - SCALE * target).exp().ln_1p();
                let tolerance = if backend.is_double() { 1e-12 } else { 1e-5 };
                assert_close(&backend.name, &losses[row..=row], &[expected], Tolerance::new(tolerance, tolerance));
            }
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_classes_on_every_backend() {
    let mut all = Vec::new();
    for backend in backends() {
        let head = partial(&backend, 0.15);
        let drawn: Vec<Vec<usize>> = (0..6).map(|_| moved(&step(&head, &rows(2, 0), &[3, 4], &backend)[2])).collect();
        assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]), "every step draws anew");
        all.push(drawn);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    let other = head_with(CentersConfig::new().with_sample_rate(0.15).with_seed(12), &backends()[0]);
    assert_ne!(moved(&step(&other, &rows(2, 0), &[3, 4], &backends()[0])[2]), all[0][0]);
}

#[test]
fn draws_go_on_where_a_record_was_saved() {
    for backend in backends() {
        let draw = |head: &ArcFace| moved(&step(head, &rows(2, 0), &[3, 4], &backend)[2]);
        let head = partial(&backend, 0.2);
        for _ in 0..3 {
            draw(&head);
        }
        let bytes = head.clone().into_record().into_bytes().unwrap();
        let next = [draw(&head), draw(&head)];

        let fresh = head_with(CentersConfig::new().with_sample_rate(0.2).with_seed(99), &backend);
        let loaded = fresh.load_record(ModuleRecord::from_bytes(bytes).unwrap());
        assert_eq!([draw(&loaded), draw(&loaded)], next, "{}", backend.name);
    }
}

#[test]
fn without_autodiff_all_classes_are_compared() {
    for backend in backends() {
        let head = partial(&backend, 0.1);
        let loss = |head: &dyn Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>| {
            let device = backend.device.clone().without_autodiff();
            let batch = matrix(&rows(3, 0), &backend).without_autodiff();
            let plain = host(head(batch.clone(), integers(&[1, 2, 3], &device)));
            // Labels that stayed behind on the training device bring autodiff along.
            assert_eq!(host(head(batch, integers(&[1, 2, 3], &backend.device))), plain);
            plain
        };
        let (sampled, full) = (head.valid(), self::head(&backend).valid());
        assert_eq!(loss(&|x, y| sampled.forward(x, y)), loss(&|x, y| full.forward(x, y)));
    }
}

#[test]
fn an_optimizer_moves_only_sampled_classes() {
    for backend in backends() {
        let head = partial(&backend, 0.1);
        let before = host(head.centers.weight.val());
        let loss = head.forward(matrix(&rows(3, 0), &backend), integers(&[1, 2, 3], &backend.device));
        let gradients = GradientsParams::from_grads(loss.backward(), &head);
        let head = SgdConfig::new().init().step(0.5, head, gradients);
        let after = host(head.centers.weight.val());
        let difference: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
        assert!((6..=9).contains(&moved(&difference).len()), "{:?}", moved(&difference));
    }
}

/// Where losses are small they are the sums of exponentials themselves, and so are their gradients: then the expected
/// gradient is that of the batch's own classes, and of all others times the probability to be drawn.
#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn the_expected_gradient_is_that_of_all_classes_in_proportion() {
    let backends = backends();
    let backend = backends.iter().find(|backend| backend.is_double()).expect("a backend with f64");
    let (labels, draws, rate) = ([0, 1, 2], 1500, 0.25);
    // Embeddings on their centers, and a negative margin: losses of 1e-5.
    let weights = rows(CLASSES, 1);
    let batch: Vec<Vec<f64>> =
        (0..3).map(|row| weights[row].iter().zip(&weights[row + 3]).map(|(a, b)| a + 0.1 * b).collect()).collect();
    let head_of = |classes: usize| -> CosFace {
        let mut head = CosFaceConfig::new(classes, DIM).with_scale(SCALE).with_margin(-2.0).init(&backend.device);
        head.centers.weight = burn::module::Param::from_tensor(matrix(&weights[..classes], backend));
        head
    };
    let [losses, full, _] = step(&head_of(CLASSES), &batch, &labels, backend);
    assert!(losses.iter().all(|&loss| loss > 1e-9 && loss < 1e-3), "{losses:?}");
    let [_, own, _] = step(&head_of(3), &batch, &labels, backend);

    let mut sampled = head_of(CLASSES);
    sampled.centers.set_sample_rate(rate);
    let mut mean = vec![0.0; full.len()];
    for _ in 0..draws {
        let [_, gradient, _] = step(&sampled, &batch, &labels, backend);
        mean.iter_mut().zip(gradient).for_each(|(mean, slope)| *mean += slope / f64::from(draws));
    }
    let expected: Vec<f64> = full.iter().zip(&own).map(|(full, own)| own + rate * (full - own)).collect();
    let length = |numbers: &[f64]| numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    let error: Vec<f64> = mean.iter().zip(&expected).map(|(a, b)| a - b).collect();
    // One draw differs by about the size of the gradient, so the mean of 1500 by a fortieth of it; twice that is allowed.
    assert!(length(&error) < 0.06 * length(&expected), "{} of {}", length(&error), length(&expected));
    // The gradient of all classes is another one: the test can tell.
    let distance: Vec<f64> = full.iter().zip(&expected).map(|(a, b)| a - b).collect();
    assert!(length(&distance) > 0.5 * length(&expected));
}

/// Rows without a class bring no class into the sample, not even the first.
#[test]
fn ignored_rows_change_no_other_loss() {
    for backend in backends() {
        let run = |labels: &[i64]| {
            let lenient = CentersConfig::new().with_labels(LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore));
            let config = CosFaceConfig::new(CLASSES, DIM).with_scale(SCALE).with_centers(lenient);
            let mut head = config.init(&backend.device);
            head.centers = head.centers.with_weight(Param::from_tensor(matrix(&rows(CLASSES, 1), &backend)));
            head.centers.set_sample_rate(0.05);
            let labels = Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device);
            let [count] = labels.dims();
            let losses = head.forward_no_reduction(matrix(&rows(count, 2), &backend), labels);
            let gradients = losses.clone().sum().backward();
            let gradient = host(head.centers.weight.val().grad(&gradients).expect("a gradient"));
            let moved: Vec<usize> = (0..CLASSES)
                .filter(|class| gradient[class * DIM..(class + 1) * DIM].iter().any(|&slope| slope != 0.0))
                .collect();
            (host(losses), moved)
        };
        let (losses, moved) = run(&[7, 9]);
        let (with_ignored, moved_with_ignored) = run(&[7, 9, -1, 99]);
        assert_close(&backend.name, &with_ignored[..2], &losses, Tolerance::new(1e-5, 1e-5));
        assert_eq!(with_ignored[2..], [0.0, 0.0]);
        assert_eq!(moved_with_ignored, moved, "{}", backend.name);
    }
}
