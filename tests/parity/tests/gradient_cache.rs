//! Gradients of a batch that goes through the network chunk by chunk. A binary of its own: Burn's generator of random numbers is
//! one for all threads, and here it is asked to repeat itself.

#![allow(missing_docs)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::gradient_cache::{GradientCache, GradientCacheStep};
use burn_losses::heads::{ArcFace, ArcFaceConfig};
use burn_losses::matryoshka::MatryoshkaLossConfig;
use burn_losses::pairs::{InfoNceLoss, InfoNceLossConfig, Pairs, SigLipLossConfig, SupConLossConfig, TemperatureMode};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::{host, numbers};

const BATCH: usize = 11;
const INPUTS: usize = 6;
const DIM: usize = 4;

/// One test at a time has the generator.
static GENERATOR: Mutex<()> = Mutex::new(());

fn generator() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Module, Debug)]
struct Towers {
    query: Linear,
    key: Linear,
}

#[derive(Module, Debug)]
struct Dropping {
    first: Linear,
    dropout: Dropout,
    second: Linear,
}

#[derive(Module, Debug)]
struct Normed {
    first: Linear,
    norm: BatchNorm,
    second: Linear,
}

#[derive(Module, Debug)]
struct Classifier {
    trunk: Linear,
    head: ArcFace,
}

/// All trained numbers as those of a test, in its precision.
struct Filled {
    dtype: DType,
    seed: u64,
}

impl ModuleMapper for Filled {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dtype = self.dtype;
        if !param.is_require_grad() {
            return param.map(|tensor| tensor.cast(dtype));
        }
        self.seed += 1;
        let seed = self.seed;
        param.map(|tensor| {
            let shape = tensor.shape();
            let data = TensorData::new(numbers(shape.num_elements(), seed), shape);
            Tensor::<D>::from_data(data, (&tensor.device(), dtype)).require_grad()
        })
    }
}

fn filled<M: Module>(module: M, backend: &Backend) -> M {
    module.map(&mut Filled { dtype: backend.dtype, seed: 40 })
}

fn towers(backend: &Backend) -> Towers {
    let layer = || LinearConfig::new(INPUTS, DIM).init(&backend.device);
    filled(Towers { query: layer(), key: layer() }, backend)
}

fn dropping(backend: &Backend) -> Dropping {
    let (first, second) = (LinearConfig::new(INPUTS, 8), LinearConfig::new(8, DIM));
    let (first, second) = (first.init(&backend.device), second.init(&backend.device));
    filled(Dropping { first, dropout: DropoutConfig::new(0.5).init(), second }, backend)
}

fn normed(backend: &Backend) -> Normed {
    let (first, second) = (LinearConfig::new(INPUTS, 8), LinearConfig::new(8, DIM));
    let (first, second) = (first.init(&backend.device), second.init(&backend.device));
    filled(Normed { first, norm: BatchNormConfig::new(8).init(&backend.device), second }, backend)
}

fn inputs(seed: u64, backend: &Backend) -> Tensor<2> {
    let data = TensorData::new(numbers(BATCH * INPUTS, seed), [BATCH, INPUTS]);
    Tensor::from_data(data, (&backend.device, backend.dtype))
}

fn labels(device: &Device) -> Tensor<1, Int> {
    Tensor::from_ints([3, 1, 3, 0, 2, 1, 1, 4, 0, 2, 3], device)
}

fn learned(backend: &Backend) -> InfoNceLoss {
    let config = InfoNceLossConfig::new().with_temperature(0.3).with_temperature_mode(TemperatureMode::Learned);
    let loss = config.init(&backend.device);
    let dtype = backend.dtype;
    struct Cast(DType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| Tensor::from_inner(tensor.without_autodiff().cast(self.0)).require_grad())
        }
    }
    loss.map(&mut Cast(dtype))
}

fn of<const D: usize>(gradients: &GradientsParams, param: &Param<Tensor<D>>) -> Vec<f64> {
    host(gradients.get::<D>(param.id).expect("a gradient"))
}

fn of_layer(gradients: &GradientsParams, layer: &Linear) -> Vec<f64> {
    [of(gradients, &layer.weight), of(gradients, layer.bias.as_ref().expect("a bias"))].concat()
}

/// As a share of the largest: a gradient is as exact as that.
fn same(what: &str, backend: &Backend, actual: &[f64], expected: &[f64]) {
    let unit = if backend.is_double() { 1e-12 } else { 1e-5 };
    let largest = expected.iter().fold(0.0_f64, |largest, number| number.abs().max(largest));
    assert!(largest > 1e-3, "{what} on {}: a gradient of {largest}", backend.name);
    let what = format!("{what} on {} {:?}", backend.name, backend.dtype);
    assert_close(&what, actual, expected, Tolerance::new(unit, unit * largest));
}

fn each_backend(test: impl Fn(&Backend)) {
    let _alone = generator();
    backends().iter().for_each(test);
}

#[test]
fn gradients_in_chunks_of_any_size_are_those_of_the_whole_batch() {
    each_backend(|backend| {
        let (towers, loss) = (towers(backend), learned(backend));
        let (queries, keys) = (inputs(1, backend), inputs(2, backend));
        let embed = |towers: &Towers, (queries, keys): &(Tensor<2>, Tensor<2>)| {
            [towers.query.forward(queries.clone()).tanh(), towers.key.forward(keys.clone()).tanh()]
        };
        let value = |[queries, keys]: [Tensor<2>; 2]| loss.forward_pairs(&Pairs::symmetric(queries, keys));
        let whole = value(embed(&towers, &(queries.clone(), keys.clone())));
        let mut gradients = whole.backward();
        let of_loss = GradientsParams::from_module(&mut gradients, &loss);
        let of_towers = GradientsParams::from_grads(gradients, &towers);

        for size in [1, 4, 11, 20] {
            let chunks: Vec<_> = queries.clone().split(size, 0).into_iter().zip(keys.clone().split(size, 0)).collect();
            let step = GradientCache::new().backward(&towers, &chunks, embed, value);
            let GradientCacheStep { loss: value, gradients, of_loss: of_cached_loss, drift } = step;
            let of_cached_loss = GradientsParams::from_grads(of_cached_loss, &loss);
            let what = format!("chunks of {size}");
            same(&what, backend, &host(value), &host(whole.clone()));
            for layer in [&towers.query, &towers.key] {
                same(&what, backend, &of_layer(&gradients, layer), &of_layer(&of_towers, layer));
            }
            let log_scale = loss.temperature.log_scale.as_ref().expect("learned");
            same(&what, backend, &of(&of_cached_loss, log_scale), &of(&of_loss, log_scale));
            assert_eq!(host(drift), [0.0], "{what} on {}", backend.name);
        }
    });
}

/// Any loss of embeddings, one of several lengths and one with a bias of its own among them.
#[test]
fn any_loss_of_embeddings_is_cached() {
    each_backend(|backend| {
        let (towers, inputs) = (towers(backend), inputs(3, backend));
        let embed = |towers: &Towers, rows: &Tensor<2>| [towers.query.forward(rows.clone())];
        let chunks = inputs.clone().split(3, 0);
        let lengths = MatryoshkaLossConfig::new(vec![2, 4]).init(SupConLossConfig::new().init(&backend.device));
        let sig_lip = SigLipLossConfig::new().with_bias(-1.0).init(&backend.device);
        let losses: [(&str, &dyn Fn(Tensor<2>) -> Tensor<1>); 2] = [
            ("MatryoshkaLoss", &|rows| lengths.forward(rows, labels(&backend.device))),
            ("SigLipLoss", &|rows| sig_lip.forward(rows, labels(&backend.device))),
        ];
        for (name, loss) in losses {
            let whole = loss(towers.query.forward(inputs.clone())).backward();
            let whole = GradientsParams::from_grads(whole, &towers);
            let step = GradientCache::new().backward(&towers, &chunks, embed, |[rows]| loss(rows));
            let (actual, expected) = (of_layer(&step.gradients, &towers.query), of_layer(&whole, &towers.query));
            same(name, backend, &actual, &expected);
            // A layer that is not asked has no gradient, here as there.
            assert!(step.gradients.get::<2>(towers.key.weight.id).is_none());
        }
    });
}

/// The masks that the layer has drawn are kept, and the whole batch is computed with them, without the cache.
#[test]
fn dropout_repeats_its_masks_and_has_the_gradient_of_them() {
    each_backend(|backend| {
        let (network, inputs) = (dropping(backend), inputs(4, backend));
        let loss = SupConLossConfig::new().init(&backend.device);
        let value = |rows: Tensor<2>| loss.forward(rows, labels(&backend.device));
        let masks_and_step = |cache: GradientCache| {
            let masks = RefCell::new(Vec::new());
            let embed = |network: &Dropping, rows: &Tensor<2>| {
                let hidden = network.first.forward(rows.clone()).tanh();
                // What the layer makes of ones is its mask.
                let mask = network.dropout.forward(hidden.clone().detach().ones_like());
                masks.borrow_mut().push(mask.clone().without_autodiff());
                [network.second.forward(hidden * mask)]
            };
            let step = cache.backward(&network, &inputs.clone().split(4, 0), embed, |[rows]| value(rows));
            (masks.into_inner(), step)
        };
        let (masks, step) = masks_and_step(GradientCache::new().with_seed(17));
        let (first, second) = masks.split_at(3);
        let drawn = |masks: &[Tensor<2>]| masks.iter().flat_map(|mask| host(mask.clone())).collect::<Vec<_>>();
        assert_eq!(drawn(first), drawn(second), "{}", backend.name);
        assert!(drawn(first).contains(&0.0) && drawn(first).contains(&2.0), "{}: nothing is dropped", backend.name);
        assert_ne!(drawn(&first[..1]), drawn(&first[1..2]), "{}: every chunk draws for itself", backend.name);

        let mask = Tensor::from_inner(Tensor::cat(first.to_vec(), 0));
        let hidden = network.first.forward(inputs.clone()).tanh();
        let whole = value(network.second.forward(hidden * mask));
        same("loss", backend, &host(step.loss), &host(whole.clone()));
        let whole = GradientsParams::from_grads(whole.backward(), &network);
        for layer in [&network.first, &network.second] {
            same("dropout", backend, &of_layer(&step.gradients, layer), &of_layer(&whole, layer));
        }

        // The same seed draws the same, another one something else.
        let (again, _) = masks_and_step(GradientCache::new().with_seed(17));
        let (other, _) = masks_and_step(GradientCache::new().with_seed(18));
        assert_eq!(drawn(&again), drawn(&masks), "{}", backend.name);
        assert_ne!(drawn(&other), drawn(&masks), "{}", backend.name);
    });
}

#[test]
fn a_second_pass_that_draws_otherwise_is_told() {
    each_backend(|backend| {
        let (network, inputs) = (dropping(backend), inputs(4, backend));
        let loss = SupConLossConfig::new().init(&backend.device);
        let embed = |network: &Dropping, rows: &Tensor<2>| {
            let hidden = network.dropout.forward(network.first.forward(rows.clone()));
            [network.second.forward(hidden)]
        };
        let step = |cache: GradientCache| {
            cache.backward(&network, &inputs.clone().split(4, 0), embed, |[rows]| {
                loss.forward(rows, labels(&backend.device))
            })
        };
        assert_eq!(host(step(GradientCache::new().with_seed(3)).drift), [0.0], "{}", backend.name);
        // On a GPU nobody waits for the numbers, and the drift tells.
        match catch_unwind(AssertUnwindSafe(|| step(GradientCache::new()))) {
            Err(panic) => {
                let message = panic.downcast_ref::<String>().expect("a message");
                assert!(message.contains("if it draws random numbers, give GradientCache::with_seed"), "{message}");
            }
            Ok(step) => {
                assert!(backend.is_gpu(), "{}: not told", backend.name);
                let [drift] = host(step.drift)[..] else { panic!("one number") };
                assert!(drift > 0.1, "{}: {drift}", backend.name);
            }
        }
    });
}

#[test]
fn running_statistics_move_once_for_each_chunk() {
    each_backend(|backend| {
        let (network, inputs) = (normed(backend), inputs(5, backend));
        let loss = SupConLossConfig::new().init(&backend.device);
        let embed = |network: &Normed, rows: &Tensor<2>| {
            [network.second.forward(network.norm.forward(network.first.forward(rows.clone())))]
        };
        let statistics = |network: &Normed| {
            let [mean, variance] = [&network.norm.running_mean, &network.norm.running_var];
            [host(mean.value_sync()), host(variance.value_sync())].concat()
        };
        let chunks = inputs.split(4, 0);
        // The chunks in their order, without the cache. `valid` takes statistics of its own.
        let plain = network.valid().train();
        let rows: Vec<_> = chunks.iter().map(|chunk| embed(&plain, chunk)[0].clone()).collect();
        let whole = loss.forward(Tensor::cat(rows, 0), labels(&backend.device));
        let whole = GradientsParams::from_grads(whole.backward(), &plain);

        let before = statistics(&network);
        let step = GradientCache::new()
            .backward(&network, &chunks, embed, |[rows]| loss.forward(rows, labels(&backend.device)));
        assert_ne!(before, statistics(&network), "{}: statistics stand still", backend.name);
        same("statistics", backend, &statistics(&network), &statistics(&plain));
        same("first", backend, &of_layer(&step.gradients, &network.first), &of_layer(&whole, &plain.first));
        same("norm", backend, &of(&step.gradients, &network.norm.gamma), &of(&whole, &plain.norm.gamma));
    });
}

/// A head in the model, another beside it, and a layer that is frozen.
#[test]
fn what_the_loss_is_computed_from_has_its_gradient() {
    each_backend(|backend| {
        let head = || ArcFaceConfig::new(5, DIM).with_scale(8.0).init(&backend.device);
        let trunk = LinearConfig::new(INPUTS, DIM).init(&backend.device);
        let model = filled(Classifier { trunk, head: head() }, backend);
        let beside = filled(head(), backend);
        let inputs = inputs(6, backend);
        let embed = |model: &Classifier, rows: &Tensor<2>| [model.trunk.forward(rows.clone())];
        for model in [model.clone(), Classifier { trunk: model.trunk.clone().no_grad(), head: model.head.clone() }] {
            let loss = |[rows]: [Tensor<2>; 1]| {
                let other = beside.forward(rows.clone(), labels(&backend.device)) * 0.5;
                model.head.forward(rows, labels(&backend.device)) + other
            };
            let mut whole = loss(embed(&model, &inputs)).backward();
            let of_beside = GradientsParams::from_module(&mut whole, &beside);
            let whole = GradientsParams::from_grads(whole, &model);

            let step = GradientCache::new().backward(&model, &inputs.clone().split(5, 0), embed, loss);
            let cached_beside = GradientsParams::from_grads(step.of_loss, &beside);
            let centers = |head: &ArcFace, gradients: &GradientsParams| of(gradients, &head.centers.weight);
            same("head", backend, &centers(&model.head, &step.gradients), &centers(&model.head, &whole));
            same("beside", backend, &centers(&beside, &cached_beside), &centers(&beside, &of_beside));
            let weight = &model.trunk.weight;
            let trained = weight.is_require_grad();
            assert_eq!(step.gradients.get::<2>(weight.id).is_some(), trained, "{}", backend.name);
            if trained {
                same("trunk", backend, &of(&step.gradients, weight), &of(&whole, weight));
            }
        }
    });
}

#[test]
fn what_cannot_be_cached_is_told() {
    let _alone = generator();
    let device = Device::flex();
    let layer = LinearConfig::new(INPUTS, DIM).init(&device);
    let embed = |layer: &Linear, rows: &Tensor<2>| [layer.forward(rows.clone())];
    let message = |chunks: &[Tensor<2>]| {
        let cached = || GradientCache::new().backward(&layer, chunks, embed, |[rows]| rows.sum());
        let panic = catch_unwind(AssertUnwindSafe(cached)).err().expect("it is refused");
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).expect("a message")
    };
    assert_eq!(message(&[]), "GradientCache: there must be at least one chunk");
    let plain = message(&[Tensor::zeros([2, INPUTS], &device)]);
    assert!(plain.contains("must be on an autodiff device"), "{plain}");
}
