use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::memory::{CrossBatchMemory, CrossBatchMemoryConfig};
use burn_losses::pairs::{
    CircleLossConfig, ContrastiveLossConfig, InfoNceLossConfig, LiftedStructureLossConfig, MarginLossConfig,
    MultiSimilarityLossConfig, NPairsLossConfig, PairLoss, Pairs, SupConLossConfig, TripletLossConfig,
};
use burn_losses_kernels::math::in_host_memory;
use parity::{Backend, backends};
use support::table::host;

const CAPACITY: usize = 5;

fn memory(device: &Device) -> CrossBatchMemory {
    CrossBatchMemoryConfig::new(2).with_capacity(CAPACITY).init(device)
}

fn tensor(data: &[f64], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(data.to_vec(), [data.len() / 2, 2]), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), device)
}

fn contents(memory: &CrossBatchMemory) -> (Vec<f64>, Vec<i64>) {
    let (embeddings, labels) = memory.references();
    (host(embeddings), labels.try_into_vec_as::<i64>().expect("readable"))
}

/// A batch whose numbers say which step and row they are from; exact in every precision.
fn batch(step: usize, rows: usize) -> (Vec<f64>, Vec<i64>) {
    let row = |row: usize| [step as f64, row as f64 + 0.5];
    ((0..rows).flat_map(row).collect(), (0..rows).map(|row| (10 * step + row) as i64).collect())
}

fn enqueue(memory: &CrossBatchMemory, (embeddings, labels): &(Vec<f64>, Vec<i64>), backend: &Backend) {
    memory.enqueue(tensor(embeddings, backend), integers(labels, &backend.device));
}

/// Against slots that are written one by one, with batches smaller than, as large as and larger than the memory.
#[test]
fn a_new_row_takes_the_slot_of_the_oldest() {
    for backend in backends() {
        let memory = memory(&backend.device);
        let mut expected = [([0.0, 0.0], -1); CAPACITY];
        let mut next = 0;
        for (step, rows) in [2, 0, 2, 3, 1, 5, 4, 7, 1, 12, 5].into_iter().enumerate() {
            let (embeddings, labels) = batch(step, rows);
            if rows > 0 {
                enqueue(&memory, &(embeddings.clone(), labels.clone()), &backend);
            } else {
                let nothing = Tensor::<2>::zeros([0, 2], (&backend.device, backend.dtype));
                memory.enqueue(nothing, Tensor::zeros([0], &backend.device));
            }
            for (row, label) in embeddings.chunks(2).zip(labels).skip(rows.saturating_sub(CAPACITY)) {
                expected[next % CAPACITY] = ([row[0], row[1]], label);
                next += 1;
            }
            let embeddings: Vec<f64> = expected.iter().flat_map(|(row, _)| *row).collect();
            let labels: Vec<i64> = expected.iter().map(|(_, label)| *label).collect();
            assert_eq!(contents(&memory), (embeddings, labels), "step {step} on {}", backend.name);
        }
    }
}

#[test]
fn labels_of_31_bits_come_back_and_wider_ones_where_the_device_has_them() {
    for backend in backends() {
        let memory = memory(&backend.device);
        let labels = [0, 255, 65_536, 16_777_217, i64::from(i32::MAX)];
        enqueue(&memory, &([0.5; 10].to_vec(), labels.to_vec()), &backend);
        assert_eq!(contents(&memory).1, labels, "{}", backend.name);
        if memory.references().1.dtype() == DType::I64 {
            let labels = [1 << 31, (1 << 53) + 1, i64::MAX, i64::MIN, 1 << 40];
            let wide = Tensor::from_data(TensorData::from(labels), (&backend.device, DType::I64));
            memory.enqueue(tensor(&[0.5; 10], &backend), wide);
            assert_eq!(contents(&memory).1, [1 << 31, (1 << 53) + 1, i64::MAX, -1, 1 << 40], "{}", backend.name);
        }
    }
}

/// Four threads put rows in whose numbers name their label, and read meanwhile.
#[test]
fn threads_read_no_label_that_nobody_put_in_nor_beside_another_row() {
    // On a GPU there is no order between the work of two threads; see the docs of `State`.
    for backend in backends().iter().filter(|backend| in_host_memory(&backend.device)) {
        let memory = CrossBatchMemoryConfig::new(2).with_capacity(64).init(&backend.device);
        let known = |(embeddings, labels): (Vec<f64>, Vec<i64>)| {
            for (row, label) in embeddings.chunks(2).zip(labels) {
                let expected = if label < 0 { [0.0, 0.0] } else { [label as f64, 0.5 * label as f64] };
                assert!(label < 400 && row == expected, "{label} {row:?} on {}", backend.name);
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (memory, backend, known) = (memory.clone(), &backend, &known);
                scope.spawn(move || {
                    for step in 0..40 {
                        let labels: Vec<i64> = (0..9).map(|row| 100 * thread + step + row).collect();
                        let rows = labels.iter().flat_map(|&label| [label as f64, 0.5 * label as f64]).collect();
                        enqueue(&memory, &(rows, labels), backend);
                        known(contents(&memory));
                    }
                });
            }
        });
        // 4·40·9 rows have filled all slots.
        assert!(contents(&memory).1.into_iter().all(|label| label >= 0), "{}", backend.name);
        known(contents(&memory));
    }
}

#[test]
fn a_row_in_no_pair_or_not_finite_leaves_its_slot_empty() {
    for backend in backends() {
        let memory = memory(&backend.device);
        let embeddings = [1.0, 2.0, f64::NAN, 4.0, 5.0, f64::NEG_INFINITY, 7.0, 8.0, 9.0, 10.0];
        enqueue(&memory, &(embeddings.to_vec(), vec![3, 4, 5, -6, 7]), &backend);
        let expected = vec![1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 10.0];
        assert_eq!(contents(&memory), (expected, vec![3, -1, -1, -1, 7]), "{}", backend.name);
    }
}

#[test]
fn evaluation_and_a_frozen_module_never_change_the_memory() {
    for backend in backends() {
        let memory = memory(&backend.device);
        enqueue(&memory, &batch(1, 3), &backend);
        let before = contents(&memory);

        let valid = memory.valid();
        let device = backend.device.clone().inner();
        let (embeddings, labels) = batch(2, 3);
        valid.enqueue(tensor(&embeddings, &backend).without_autodiff(), integers(&labels, &device));
        assert_eq!(contents(&valid), before, "evaluation on {}", backend.name);
        assert_eq!(contents(&memory), before, "after evaluation on {}", backend.name);

        let frozen = memory.freeze();
        enqueue(&frozen, &batch(2, 3), &backend);
        assert_eq!(contents(&frozen), before, "frozen on {}", backend.name);

        // A memory that never was on a device with autodiff remembers nothing.
        let plain = self::memory(&device);
        let before = contents(&plain);
        plain.enqueue(tensor(&embeddings, &backend).without_autodiff(), integers(&labels, &device));
        assert_eq!(contents(&plain), before, "without autodiff on {}", backend.name);
    }
}

#[test]
fn a_run_that_is_saved_and_resumed_goes_on_as_if_it_had_not_stopped() {
    let backends = backends();
    for backend in &backends {
        let (saved, twin) = (memory(&backend.device), memory(&backend.device));
        for step in 0..3 {
            enqueue(&saved, &batch(step, 3), backend);
            enqueue(&twin, &batch(step, 3), backend);
        }
        let path = std::env::temp_dir().join(format!("burn-losses-memory-{}.bpk", std::process::id()));
        // Burn leaves a record in its file until its tensors are read, the slot of the oldest row with the first batch.
        saved.clone().into_record().save(&path).expect("saved");
        let resumed = memory(&backend.device).load_record(ModuleRecord::load(&path).expect("loaded"));
        assert_eq!(contents(&resumed), contents(&twin), "{}", backend.name);
        for step in 3..5 {
            enqueue(&resumed, &batch(step, 2), backend);
            enqueue(&twin, &batch(step, 2), backend);
            assert_eq!(contents(&resumed), contents(&twin), "step {step} on {}", backend.name);
        }
        std::fs::remove_file(&path).expect("removed");
        let latest = contents(&resumed);
        for other in backends.iter().filter(|other| other.dtype == backend.dtype) {
            let moved = resumed.clone().fork(&other.device);
            assert_eq!(contents(&moved), latest, "{} to {}", backend.name, other.name);
        }
    }
}

/// Clones share the memory, wherever they are.
#[test]
fn a_clone_on_another_device_goes_on_with_the_same_memory() {
    let backends = backends();
    for (backend, other) in backends.iter().zip(backends.iter().skip(1)) {
        let original = memory(&backend.device);
        let moved = original.clone().fork(&other.device);
        enqueue(&original, &batch(1, 2), backend);
        enqueue(&moved, &batch(2, 2), other);
        for memory in [original, moved] {
            assert_eq!(contents(&memory).1, [10, 11, 20, 21, -1], "{} and {}", backend.name, other.name);
        }
    }
}

#[test]
fn what_is_remembered_has_no_gradient() {
    for backend in backends() {
        let memory = memory(&backend.device);
        let (embeddings, labels) = batch(1, 4);
        let leaf = tensor(&embeddings, &backend).require_grad();
        memory.enqueue(leaf.clone().mul_scalar(2.0), integers(&labels, &backend.device));
        let (references, _) = memory.references();
        assert!(!references.is_require_grad(), "{}", backend.name);
        let anchor = tensor(&[1.0, 1.0], &backend).require_grad();
        let gradients = (anchor.clone().expand([CAPACITY, 2]) * references.cast(backend.dtype)).sum().backward();
        assert!(leaf.grad(&gradients).is_none(), "{}", backend.name);
        assert!(anchor.grad(&gradients).is_some(), "{}", backend.name);
    }
}

/// Every loss with references takes the memory as it is: an empty one costs nothing, a full one is references like any.
#[test]
fn the_pair_losses_take_the_memory_as_references() {
    for backend in backends() {
        let rows = [0.6, 0.8, 1.0, 0.0, -0.6, 0.8, 0.0, -1.0, 0.8, -0.6];
        let (labels, own) = (vec![1, 2, 1, 3, 2], [1.0, 0.5, -0.5, 1.0]);
        let device = &backend.device;
        let losses: [(&str, Box<dyn PairLoss>); 9] = [
            ("InfoNceLoss", Box::new(InfoNceLossConfig::new().with_temperature(0.5).init(device))),
            ("SupConLoss", Box::new(SupConLossConfig::new().with_temperature(0.5).init(device))),
            ("NPairsLoss", Box::new(NPairsLossConfig::new().init(device))),
            ("MultiSimilarityLoss", Box::new(MultiSimilarityLossConfig::new().init(device))),
            ("CircleLoss", Box::new(CircleLossConfig::new().with_scale(5.0).init(device))),
            ("ContrastiveLoss", Box::new(ContrastiveLossConfig::new().init(device))),
            ("TripletLoss", Box::new(TripletLossConfig::new().with_margin(2.0).init(device))),
            ("LiftedStructureLoss", Box::new(LiftedStructureLossConfig::new().init(device))),
            ("MarginLoss", Box::new(MarginLossConfig::new().init(device))),
        ];
        for (name, loss) in losses {
            let memory = memory(device);
            let anchors = || tensor(&own, &backend).require_grad();
            let of_anchors = || integers(&[2, 1], device);
            let value = |anchors: Tensor<2>| {
                loss.forward_pairs(&Pairs::with_references(anchors, of_anchors(), memory.references()))
            };
            assert_eq!(host(value(anchors())), [0.0], "{name} on {}", backend.name);
            memory.enqueue(anchors(), of_anchors());
            enqueue(&memory, &(rows.to_vec(), labels.clone()), &backend);
            let leaf = anchors();
            let gradient = host(leaf.grad(&value(leaf.clone()).backward()).expect("a gradient"));
            // The last two rows have taken the slots of the anchors.
            let plain = (tensor(&[&rows[6..], &rows[..6]].concat(), &backend), integers(&[3, 2, 1, 2, 1], device));
            let expected = loss.forward_pairs(&Pairs::with_references(anchors(), of_anchors(), plain));
            // The memory is f32.
            let (value, expected) = (host(value(anchors()))[0], host(expected)[0]);
            let close = (value - expected).abs() <= 1e-5 * expected.abs();
            assert!(close, "{name}: {value} {expected} on {}", backend.name);
            assert!(value > 0.0 && gradient.iter().any(|&slope| slope != 0.0), "{name} on {}", backend.name);
        }
    }
}

#[test]
fn half_precision_batches_are_remembered() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        for dtype in [DType::F16, DType::BF16] {
            let memory = memory(&backend.device);
            let (embeddings, labels) = batch(3, 5);
            memory.enqueue(tensor(&embeddings, backend).cast(dtype), integers(&labels, &backend.device));
            assert_eq!(contents(&memory), (embeddings, labels), "{dtype:?}");
        }
    }
}

#[test]
fn a_config_survives_json() {
    let config = CrossBatchMemoryConfig::new(7).with_capacity(300);
    let json = serde_json::to_string(&config).expect("JSON");
    let back: CrossBatchMemoryConfig = serde_json::from_str(&json).expect("the config");
    assert_eq!((back.capacity, back.embedding_dim), (300, 7));
}
