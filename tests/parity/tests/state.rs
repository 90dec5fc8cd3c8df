use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor};
use burn_losses::state::{State, StateValue, TensorMapper};
use parity::backends;
use support::table::host;

/// A module with state of one tensor and state of two.
#[derive(Module, Debug)]
struct Counter {
    count: State<Tensor<1>>,
    rows: State<Rows>,
}

#[derive(Clone, Debug)]
struct Rows {
    embeddings: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl StateValue for Rows {
    fn map_tensors<M: TensorMapper>(self, mapper: &mut M) -> Self {
        Self { embeddings: mapper.tensor("embeddings", self.embeddings), labels: mapper.tensor("labels", self.labels) }
    }
}

impl Counter {
    fn new(device: &Device) -> Self {
        let rows = Rows { embeddings: Tensor::zeros([3, 2], device), labels: Tensor::zeros([3], device) };
        Self { count: State::new(Tensor::zeros([1], (device, DType::F32))), rows: State::new(rows) }
    }

    fn add(&self, number: f64) {
        self.count.update(|count| count.add_scalar(number));
    }

    fn write(&self, label: i64) {
        self.rows.update_in_place(|Rows { embeddings, labels }| {
            let device = embeddings.device();
            let index = Tensor::<1, Int>::from_data([1], (&device, labels.dtype()));
            let row = Tensor::full([1, 2], label as f64, (&device, embeddings.dtype()));
            let label = Tensor::full([1], label, (&device, labels.dtype()));
            Rows {
                embeddings: embeddings.select_assign(0, index.clone(), row, IndexingUpdateOp::Assign),
                labels: labels.select_assign(0, index, label, IndexingUpdateOp::Assign),
            }
        });
    }

    fn counted(&self) -> f64 {
        host(self.count.value())[0]
    }

    fn written(&self) -> (Vec<f64>, Vec<i64>) {
        let Rows { embeddings, labels } = self.rows.value();
        (host(embeddings), labels.try_into_vec_as::<i64>().expect("readable"))
    }
}

#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        assert!(!param.is_require_grad());
        self.found.push(self.path.join("."));
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<D, Int>>) {
        self.found.push(self.path.join("."));
    }
}

#[test]
fn a_record_holds_every_tensor_under_the_name_of_its_field() {
    for backend in backends() {
        let counter = Counter::new(&backend.device);
        counter.add(2.5);
        counter.write(1 << 30);
        let mut paths = Paths::default();
        counter.visit(&mut paths);
        assert_eq!(paths.found, ["count", "rows.embeddings", "rows.labels"]);

        let written = counter.written();
        let bytes = counter.into_record().into_bytes().expect("written");
        let fresh = Counter::new(&backend.device);
        let clone = fresh.clone();
        let loaded = fresh.load_record(ModuleRecord::from_bytes(bytes).expect("read"));
        // Clones share their state, a loaded one too.
        for counter in [&loaded, &clone] {
            assert_eq!(counter.counted(), 2.5, "{}", backend.name);
            assert_eq!(counter.written(), written, "{}", backend.name);
        }
    }
}

#[test]
fn it_moves_in_training_and_not_in_evaluation_nor_when_frozen() {
    for backend in backends() {
        let moved = |counter: &Counter| {
            let before = (counter.counted(), counter.written());
            counter.add(1.0);
            counter.write(7 + before.0 as i64);
            (before.0 != counter.counted(), before.1 != counter.written())
        };
        let counter = Counter::new(&backend.device);
        assert_eq!(moved(&counter), (true, true), "{}", backend.name);
        assert_eq!(moved(&counter.valid()), (false, false), "{}", backend.name);
        assert_eq!(moved(&counter.valid().train()), (true, true), "{}", backend.name);
        let frozen = counter.clone().freeze();
        assert_eq!(moved(&frozen), (false, false), "{}", backend.name);
        assert_eq!(moved(&frozen.clone().valid().train()), (false, false), "{}", backend.name);
        // A clone that is not frozen shares the value, but not that.
        assert_eq!(moved(&counter), (true, true), "{}", backend.name);
        assert_eq!(frozen.counted(), counter.counted());
        assert_eq!(moved(&frozen.unfreeze()), (true, true), "{}", backend.name);
        let half = counter.clone().freeze_group(ParamGroup::from_path("count"));
        assert_eq!(moved(&half), (false, true), "{}", backend.name);

        let device = &backend.device;
        assert!(counter.count.moves_on(device) && !counter.count.moves_on(&device.clone().inner()));
        assert!(!counter.valid().count.moves_on(device) && !half.count.moves_on(device));
    }
}

#[test]
fn what_is_read_is_a_constant_of_the_gradient() {
    for backend in backends() {
        let device = &backend.device;
        let counter = Counter::new(device).unfreeze();
        let leaf = Tensor::<1>::ones([1], (device, DType::F32)).require_grad();
        counter.count.update(|count| count + leaf.clone());
        let value = counter.count.value();
        assert!(!value.is_autodiff() && !counter.valid().train().count.value().is_autodiff());
        // Read twice, with a backward for each.
        for value in [value.clone(), value] {
            let gradients = (leaf.clone() * value).sum().backward();
            assert_eq!(host(leaf.grad(&gradients).expect("a gradient")), [1.0], "{}", backend.name);
        }
    }
}

#[test]
fn a_copy_for_evaluation_and_the_original_do_not_move_each_other() {
    for backend in backends() {
        let counter = Counter::new(&backend.device);
        counter.write(3);
        let valid = counter.valid();
        let copy = counter.valid().train();
        counter.write(4);
        copy.write(5);
        for (counter, label) in [(&valid, 3), (&counter, 4), (&copy, 5)] {
            let number = label as f64;
            assert_eq!(
                counter.written(),
                (vec![0.0, 0.0, number, number, 0.0, 0.0], vec![0, label, 0]),
                "{}",
                backend.name
            );
        }
    }
}

#[test]
fn it_goes_where_its_module_goes() {
    let backends = crate::backends_and_flex();
    for backend in &backends {
        let counter = Counter::new(&backend.device);
        counter.write(9);
        counter.add(1.5);
        let written = counter.written();
        for other in backends.iter().filter(|other| other.dtype == backend.dtype) {
            let moved = counter.clone().fork(&other.device);
            assert_eq!(moved.devices(), std::slice::from_ref(&other.device), "{} to {}", backend.name, other.name);
            assert_eq!(
                (moved.counted(), moved.written()),
                (1.5, written.clone()),
                "{} to {}",
                backend.name,
                other.name
            );
        }
    }
}

/// Burn's running state keeps the average of what the threads have put in.
#[test]
fn no_update_of_a_thread_is_lost() {
    const THREADS: usize = 4;
    const UPDATES: usize = 100;
    for backend in backends() {
        let counter = Counter::new(&backend.device);
        let start = Barrier::new(THREADS);
        let seen: Vec<Vec<f64>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (counter, start) = (counter.clone(), &start);
                    scope.spawn(move || {
                        start.wait();
                        let step = |_| {
                            counter.rows.update_in_place(|rows| Rows { embeddings: rows.embeddings + 1.0, ..rows });
                            host(counter.count.update(|count| count.add_scalar(1.0)).0)[0]
                        };
                        (0..UPDATES).map(step).collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let mut seen: Vec<f64> = seen.into_iter().flatten().collect();
        seen.sort_by(f64::total_cmp);
        // Every thread sees a value of its own before each update.
        let all: Vec<f64> = (0..THREADS * UPDATES).map(|count| count as f64).collect();
        assert_eq!(seen, all, "{}", backend.name);
        assert_eq!(counter.counted(), all.len() as f64, "{}", backend.name);
        assert_eq!(counter.written().0, [all.len() as f64; 6], "{}", backend.name);
    }
}

#[test]
fn an_update_that_panics_changes_nothing() {
    let counter = Counter::new(&backends()[0].device);
    counter.add(3.0);
    let update = || counter.count.update(|_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
    assert_eq!(counter.counted(), 3.0);
    counter.add(1.0);
    assert_eq!(counter.counted(), 4.0);
}

#[test]
#[should_panic(expected = "State: the value was lost when an update in place panicked")]
fn a_value_that_is_lost_says_so() {
    let counter = Counter::new(&backends()[0].device);
    let update = || counter.rows.update_in_place(|_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
    counter.written();
}

#[test]
fn a_module_with_state_prints_its_shapes() {
    let counter = Counter::new(&backends()[0].device);
    assert_eq!(format!("{:?}", counter.rows), "State {embeddings: [3, 2], labels: [3]}");
    assert_eq!(format!("{:?}", counter.count), "State {[1]}");
}
