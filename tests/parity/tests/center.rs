use std::thread;

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::center::{CenterLoss, CenterLossConfig, CenterMode};
use burn_losses::reduction::EmbeddingReduction;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

const CLASSES: usize = 4;
const LABELS: [i64; 5] = [2, 0, 2, 3, 2];
const EMBEDDINGS: [f64; 10] = [1.0, 2.0, -3.0, 0.5, 4.0, -1.0, 0.25, 8.0, -2.0, 3.0];
const CENTERS: [f64; 8] = [0.5, 0.5, -0.0, 7.0, 1.0, -1.0, 2.0, 2.0];

fn tensor(data: &[f64], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(data.to_vec(), [data.len() / 2, 2]), (&backend.device, backend.dtype))
}

fn labels(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), device)
}

fn loss(update_rate: f64, backend: &Backend) -> CenterLoss {
    let config = CenterLossConfig::new(CLASSES, 2).with_update_rate(update_rate);
    config.init(&backend.device).with_centers(tensor(&CENTERS, backend))
}

fn train(loss: &CenterLoss, backend: &Backend) {
    loss.forward(tensor(&EMBEDDINGS, backend), labels(&LABELS, &backend.device));
}

#[test]
fn an_update_moves_present_centers_toward_their_class_mean_and_leaves_absent_ones_alone() {
    for backend in backends() {
        for update_rate in [0.1, 0.5, 1.0] {
            let loss = loss(update_rate, &backend);
            train(&loss, &backend);
            let moved = host(loss.centers());

            for class in 0..CLASSES {
                let own: Vec<usize> = (0..5).filter(|&row| LABELS[row] == class as i64).collect();
                let (before, after) = (&CENTERS[2 * class..2 * class + 2], &moved[2 * class..2 * class + 2]);
                if own.is_empty() {
                    let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(before), bits(after), "class {class} on {}", backend.name);
                    continue;
                }
                let mean = |k: usize| own.iter().map(|row| EMBEDDINGS[2 * row + k]).sum::<f64>() / own.len() as f64;
                let distance = |center: &[f64]| (center[0] - mean(0)).hypot(center[1] - mean(1));
                assert!(distance(after) < distance(before), "class {class} on {}", backend.name);
            }
        }
    }
}

#[test]
fn an_update_rate_of_zero_moves_nothing() {
    for backend in backends() {
        let loss = loss(0.0, &backend);
        train(&loss, &backend);

        assert_eq!(host(loss.centers()), CENTERS);
    }
}

#[test]
fn the_order_of_a_batch_does_not_matter() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let (forth, back) = (loss(0.5, backend), loss(0.5, backend));
        train(&forth, backend);
        let reversed: Vec<f64> = EMBEDDINGS.chunks(2).rev().flatten().copied().collect();
        let order: Vec<i64> = LABELS.into_iter().rev().collect();
        back.forward(tensor(&reversed, backend), labels(&order, &backend.device));

        assert_close("centers", &host(back.centers()), &host(forth.centers()), Tolerance::new(1e-12, 1e-12));
    }
}

#[test]
fn evaluation_and_a_frozen_module_never_move_the_centers() {
    for backend in backends() {
        let loss = loss(0.5, &backend);
        let valid = loss.valid();
        let device = backend.device.clone().inner();
        let embeddings = tensor(&EMBEDDINGS, &backend).without_autodiff();
        valid.forward(embeddings, labels(&LABELS, &device));
        assert_eq!(host(valid.centers()), CENTERS, "evaluation on {}", backend.name);

        // A copy with other centers is as frozen.
        let frozen = loss.freeze();
        for frozen in [frozen.clone(), frozen.with_centers(tensor(&CENTERS, &backend))] {
            train(&frozen, &backend);
            assert_eq!(host(frozen.centers()), CENTERS, "frozen on {}", backend.name);
        }

        // A module that never was on a device with autodiff does not train.
        let centers = tensor(&CENTERS, &backend).without_autodiff();
        let plain = CenterLossConfig::new(CLASSES, 2).init(&device).with_centers(centers);
        plain.forward(tensor(&EMBEDDINGS, &backend).without_autodiff(), labels(&LABELS, &device));
        assert_eq!(host(plain.centers()), CENTERS, "without autodiff on {}", backend.name);
    }
}

#[test]
fn the_latest_centers_are_saved_loaded_and_moved() {
    let backends = backends();
    for backend in &backends {
        let (trained, twin) = (loss(0.5, backend), loss(0.5, backend));
        for loss in [&trained, &twin] {
            train(loss, backend);
            train(loss, backend);
        }
        // Of a twin: reading the centers of the module that is saved would bring them up to date.
        let centers = host(twin.centers());

        let path = std::env::temp_dir().join(format!("burn-losses-center-{}.bpk", std::process::id()));
        trained.clone().into_record().save(&path).expect("saved");
        // A record stays in its file until its tensors are read.
        let restored = loss(0.5, backend).load_record(ModuleRecord::load(&path).expect("loaded"));
        assert_eq!(host(restored.centers()), centers, "saved on {}", backend.name);
        std::fs::remove_file(&path).expect("removed");

        for other in backends.iter().filter(|other| other.dtype == backend.dtype) {
            let moved = trained.clone().fork(&other.device);
            assert_eq!(host(moved.centers()), centers, "{} to {}", backend.name, other.name);
        }
    }
}

#[test]
fn an_embedding_that_is_not_finite_moves_no_center() {
    for backend in backends() {
        for broken in [f64::NAN, f64::INFINITY] {
            let loss = loss(0.5, &backend);
            let mut embeddings = EMBEDDINGS;
            embeddings[3] = broken;
            let losses = loss.forward_no_reduction(tensor(&embeddings, &backend), labels(&LABELS, &backend.device));
            let losses = host(losses);
            let centers = host(loss.centers());

            assert!(!losses[1].is_finite(), "a broken row must not read as healthy on {}", backend.name);
            assert!(losses.iter().enumerate().all(|(row, loss)| row == 1 || loss.is_finite()));
            // Row 1 is the only one of class 0; the others move.
            assert_eq!(centers[..4], CENTERS[..4], "{}", backend.name);
            assert_ne!(centers[4..], CENTERS[4..], "{}", backend.name);
        }
    }
}

#[test]
fn trained_centers_are_moved_by_the_optimizer_alone() {
    for backend in backends().iter().filter(|backend| backend.dtype == DType::F32) {
        let config = CenterLossConfig::new(CLASSES, 2).with_mode(CenterMode::Trained);
        let loss = config.init(&backend.device).with_centers(tensor(&CENTERS, backend));
        let value = loss.forward(tensor(&EMBEDDINGS, backend), labels(&LABELS, &backend.device));
        assert_eq!(host(loss.centers()), CENTERS);

        let gradients = GradientsParams::from_grads(value.backward(), &loss);
        let stepped = SgdConfig::new().init().step(0.5, loss, gradients);
        // By hand, class 0: (0.5, 0.5) - 0.5·((0.5, 0.5) - (-3, 0.5)) / 5.
        let moved = host(stepped.centers());
        assert_close("class 0", &moved[..2], &[0.15, 0.5], Tolerance::new(1e-6, 0.0));
        assert_eq!(moved[2..4], CENTERS[2..4]);
    }
}

#[test]
fn a_row_without_a_class_leaves_class_zero_alone_to_the_bit() {
    for backend in backends() {
        let config = CenterLossConfig::new(2, 2);
        let loss = config.init(&backend.device).with_centers(tensor(&[-0.0, 1.0, 3.0, 4.0], &backend));
        loss.forward(tensor(&[7.0, 8.0, 9.0, 9.0], &backend), labels(&[-1, 1], &backend.device));
        let centers = host(loss.centers());

        assert_eq!(centers[0].to_bits(), (-0.0_f64).to_bits(), "{}", backend.name);
        assert_eq!(centers[1], 1.0);
        assert_ne!(centers[2..], [3.0, 4.0]);
    }
}

#[test]
fn a_clone_on_another_device_does_not_stop_the_original() {
    let backends = backends();
    for (backend, other) in backends.iter().zip(backends.iter().skip(1)) {
        let original = loss(0.5, backend);
        let moved = original.clone().fork(&other.device);
        train(&original, backend);
        train(&moved, other);

        assert!(host(original.centers()).iter().all(|number| number.is_finite()));
        assert_ne!(host(original.centers()), CENTERS, "{} and {}", backend.name, other.name);
    }
}

/// The count of class 0 is that of its own rows: one, beside two rows without a class.
#[test]
fn rows_without_a_class_do_not_count_for_class_zero() {
    for backend in backends() {
        let loss = CenterLossConfig::new(2, 2).init(&backend.device);
        loss.forward(tensor(&[7.0, 8.0, 4.0, -2.0, 9.0, 9.0], &backend), labels(&[-1, 0, -1], &backend.device));
        // By hand: 0.5·(4, -2) / (1 + 1).
        assert_eq!(host(loss.centers()), [1.0, -0.5, 0.0, 0.0], "{}", backend.name);
    }
}

/// 600 rows of one class, half of them 1 and half 3: in bf16 a count stops at 256, and a sum of small steps long before.
#[test]
fn centers_in_half_precision_move_as_those_in_single_precision() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        // By hand: 0.5·(300·1 + 300·3) / (1 + 600), and once more from there.
        let first = 0.5 * 1200.0 / 601.0;
        let second = first + 0.5 * (1200.0 - 600.0 * first) / 601.0;
        for (dtype, error) in [(DType::F16, 0.001), (DType::BF16, 0.008)] {
            let options = (&backend.device, dtype);
            let loss = CenterLossConfig::new(3, 1).init(&backend.device).with_centers(Tensor::zeros([3, 1], options));
            let rows: Vec<f32> = (0..600).map(|row| if row % 2 == 0 { 1.0 } else { 3.0 }).collect();
            for expected in [first, second] {
                let embeddings = Tensor::<2>::from_data(TensorData::new(rows.clone(), [600, 1]), options);
                let value = loss.forward(embeddings, Tensor::ones([600], &backend.device));
                assert_eq!((value.dtype(), loss.centers().dtype()), (dtype, dtype));
                let centers = host(loss.centers());
                assert!((centers[1] - expected).abs() < error, "{dtype:?}: {} is not {expected}", centers[1]);
                assert_eq!([centers[0], centers[2]], [0.0; 2]);
            }
        }
    }
}

#[test]
fn a_sum_is_the_mean_of_the_rows_with_a_class_times_their_number() {
    for backend in backends() {
        let config = CenterLossConfig::new(CLASSES, 2).with_update_rate(0.0);
        let of = |reduction| {
            let loss = config.clone().with_reduction(reduction).init(&backend.device);
            let loss = loss.with_centers(tensor(&CENTERS, &backend));
            host(loss.forward(tensor(&EMBEDDINGS, &backend), labels(&[2, 0, -1, 3, 2], &backend.device)))[0]
        };
        let (sum, mean) = (of(EmbeddingReduction::Sum), of(EmbeddingReduction::Mean));
        assert!((sum - 4.0 * mean).abs() <= 1e-6 * sum, "{sum} {mean} on {}", backend.name);
    }
}

/// Every thread has a class of its own and one that all share, to which all pull in the same way.
#[test]
fn threads_that_train_clones_lose_no_update() {
    const THREADS: usize = 4;
    const STEPS: usize = 60;
    for backend in backends() {
        let config = CenterLossConfig::new(THREADS + 1, 2).with_update_rate(1.0);
        let loss = config
            .init(&backend.device)
            .with_centers(Tensor::zeros([THREADS + 1, 2], (&backend.device, backend.dtype)));
        thread::scope(|scope| {
            for class in 0..THREADS {
                let (loss, backend) = (loss.clone(), &backend);
                scope.spawn(move || {
                    for _ in 0..STEPS {
                        let rows = tensor(&[1.0, 2.0, 1.0, 2.0], backend);
                        loss.forward(rows, labels(&[class as i64, THREADS as i64], &backend.device));
                    }
                });
            }
        });
        let centers = host(loss.centers());
        for class in 0..THREADS {
            // By hand: every step goes half of the way that is left.
            let expected = 1.0 - 0.5_f64.powi(STEPS as i32);
            assert!((centers[2 * class] - expected).abs() < 1e-6, "{centers:?} on {}", backend.name);
        }
        // Steps from what a thread has seen may go too far, but not farther than all threads at once.
        let shared = &centers[2 * THREADS..];
        assert!(shared[0] > 0.99 && shared[0] <= THREADS as f64 / 2.0, "{centers:?} on {}", backend.name);
        assert!((shared[1] - 2.0 * shared[0]).abs() < 1e-5, "{centers:?} on {}", backend.name);
    }
}
