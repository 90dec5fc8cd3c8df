//! Measures a training step of the trunk: forward, backward and SGD with momentum on the squared distance to given
//! embeddings. Prints one line of JSON; `bench/network/run.py` calls it in turn with its twin in PyTorch.
//!
//! ```sh
//! cargo run --release -p face-embedding --example trunk_step -- --write /tmp/case.safetensors
//! ```
//!
//! `--write` leaves the weights, the pictures and the targets that it begins with, so that the twin can begin with them too.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use face_embedding::model::trunk::small::{SmallNetwork, SmallNetworkConfig};
use face_embedding::settings::backend::BackendKind;
use serde_json::json;

/// As the tool has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps whose losses are compared with those of the twin; they also warm up.
const COMPARED: usize = 3;
/// Quick steps are repeated for as long as this.
const LEAST: Duration = Duration::from_secs(2);

/// Measures a training step of the trunk.
#[derive(Parser)]
#[command(name = "trunk_step")]
struct Options {
    #[arg(long, value_enum, default_value = "flex")]
    backend: BackendKind,
    #[arg(long, default_value_t = 40)]
    image_size: usize,
    #[arg(long, default_value_t = 16)]
    width: usize,
    #[arg(long, default_value_t = 64)]
    embedding_size: usize,
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// The least number of measured steps.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Where to leave what it begins with.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// What a measurement begins with; the names are those in the file.
#[derive(Module, Debug)]
struct Case {
    trunk: SmallNetwork,
    pictures: Param<Tensor<4>>,
    targets: Param<Tensor<2>>,
}

impl Case {
    fn new(options: &Options, device: &Device) -> Self {
        let Options { image_size, width, embedding_size, batch, .. } = *options;
        let trunk = SmallNetworkConfig::new(image_size, embedding_size).with_width(width).init(device);
        Self {
            trunk,
            pictures: Param::from_tensor(wave([batch, 3, image_size, image_size], 1.7, device)),
            targets: Param::from_tensor(wave([batch, embedding_size], 0.9, device)),
        }
    }
}

fn main() {
    let options = Options::parse();
    let device = options.backend.device().expect("a backend of this build");
    device.seed(42);
    let Case { mut trunk, pictures, targets } = {
        let case = Case::new(&options, &device.clone().autodiff());
        if let Some(path) = &options.write {
            let mut store = SafetensorsStore::from_file(path.clone()).overwrite(true);
            case.save_into(&mut store).expect("the file can be written");
        }
        case
    };
    // Neither is trained.
    let (pictures, targets) = (pictures.val().detach(), targets.val().detach());

    let mut optimizer = optimizer();
    let mut step = || {
        let start = Instant::now();
        let loss = (trunk.forward(pictures.clone()) - targets.clone()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &trunk);
        trunk = optimizer.step(0.01, trunk.clone(), gradients);
        device.sync().expect("the device has done its work");
        (start.elapsed().as_secs_f64() * 1e3, loss.into_scalar::<f64>())
    };
    let losses: Vec<f64> = (0..COMPARED).map(|_| step().1).collect();

    let (start, processor) = (Instant::now(), processor_ms());
    let mut wall = Vec::new();
    while wall.len() < options.repeats || start.elapsed() < LEAST {
        wall.push(step().0);
    }
    let processor = (processor_ms() - processor) / wall.len() as f64;
    let line = json!({
        "by": options.backend.to_string(),
        "image_size": options.image_size,
        "width": options.width,
        "batch": options.batch,
        "steps": wall.len(),
        "processor_ms": processor,
        "wall_ms": median(wall),
        "losses": losses,
    });
    println!("{line}");
}

/// As the tool, but for its schedule and its groups of parameters.
fn optimizer() -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(WeightDecayConfig::new(5e-4))).init()
}

/// Numbers in `[-1, 1]` without a pattern.
fn wave<const D: usize>(shape: [usize; D], speed: f64, device: &Device) -> Tensor<D> {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|i| (speed * i as f64).sin() as f32).collect();
    Tensor::from_data(TensorData::new(numbers, shape), device)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// How long the threads of this process have computed; 0 where Linux does not tell. Worker threads live as long as it.
fn processor_ms() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.filter_map(of_thread).sum::<f64>() / 1e6
}
