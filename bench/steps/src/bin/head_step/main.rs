//! One measurement of one training step of a head or a loss of pairs: forward pass, mean loss, and the gradients of
//! embeddings and class weights. Prints one line of JSON; `bench/heads/run.sh` calls it once per measurement and makes a table.
//!
//! ```sh
//! cargo run --release -p bench-steps --bin head_step --features flex -- \
//!     --backend flex --head arcface --batch 256 --dim 512 --classes 100000 --path engine --repeats 5
//! ```
//!
//! `--path` chooses what computes the loss:
//!
//! | path | what |
//! | --- | --- |
//! | `engine` | this crate as it comes |
//! | `keep` | this crate, all scores kept for the backward pass |
//! | `stream` | this crate, all scores computed twice |
//! | `plain` | the ordinary composition of tensor operations, with `[batch, classes]` scores |
//! | `products` | nothing but the three matrix products a step cannot do without: its lower bound |
//!
//! `--loss contrastive` measures the denominators of NT-Xent instead, every row of a batch against all others, and the
//! other losses a batch of four rows per class, with their path `engine`.

mod products;

use std::time::{Duration, Instant};

use bench_steps::Backend;
use burn::tensor::{Bool, Device, Distribution, Int, Tensor};
use burn_losses::EmbeddingLoss;
use burn_losses::distance::Distance;
use burn_losses::heads::{
    AnyHead, AnyHeadConfig, ArcFaceConfig, CentersConfig, CosFaceConfig, CurricularFaceConfig, MarginRule,
    MvSoftmaxConfig, NormFaceConfig, Scale, SphereFace2Config, Streaming, SubCenterArcFaceConfig, Target,
    UniFaceConfig,
};
use burn_losses::pairs::{
    CircleLossConfig, InfoNceLossConfig, MultiSimilarityLossConfig, SupConLossConfig, TripletLossConfig,
};
use burn_losses_kernels::math::{NOTHING, log_sum_exp, softplus, unit_rows};
use burn_losses_kernels::scores::{Comparison, scores};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use serde_json::json;

use products::HostProducts;

/// Measures one training step of a head.
#[derive(Parser)]
#[command(name = "head_step")]
struct Options {
    #[arg(long, value_enum, default_value = "flex")]
    backend: Backend,
    #[arg(long, value_enum, default_value = "margin")]
    loss: Loss,
    #[arg(long, value_enum, default_value = "arcface")]
    head: Head,
    #[arg(long, value_enum, default_value = "engine")]
    path: Path,
    #[arg(long, default_value_t = 256, value_parser = positive)]
    batch: usize,
    #[arg(long, default_value_t = 512, value_parser = positive)]
    dim: usize,
    /// Without meaning for `--loss contrastive`, where the batch is what it is compared with.
    #[arg(long, default_value_t = 10_000, value_parser = positive)]
    classes: usize,
    /// The share of the classes that a step draws, as `PartialFc` does; all by default.
    #[arg(long, default_value_t = 1.0)]
    sample_rate: f64,
    /// Measured steps, after one that warms up.
    #[arg(long, default_value_t = 5, value_parser = positive)]
    repeats: usize,
    /// Time the forward and the backward pass apart; a GPU then waits between them.
    #[arg(long)]
    profile: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Loss {
    Margin,
    Contrastive,
    InfoNce,
    SupCon,
    MultiSimilarity,
    Circle,
    Triplet,
}

#[derive(Clone, Copy, ValueEnum)]
enum Head {
    #[value(name = "arcface")]
    Arc,
    #[value(name = "cosface")]
    Cos,
    #[value(name = "normface")]
    Norm,
    #[value(name = "sub-center")]
    SubCenter,
    #[value(name = "curricularface")]
    Curricular,
    MvSoftmax,
    #[value(name = "uniface")]
    Uni,
    #[value(name = "sphereface2")]
    Sphere2,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Path {
    Engine,
    Plain,
    Keep,
    Stream,
    Products,
}

/// The temperature of the contrastive loss.
const TEMPERATURE: f64 = 0.1;

/// In a batch for a loss of pairs.
const ROWS_PER_CLASS: i32 = 4;

const MIB: f64 = (1 << 20) as f64;

fn main() {
    let options = Options::parse();
    let Some(device) = options.backend.device() else {
        let message = format!("the {} backend is not in this build: add it to --features", name(options.backend));
        Options::command().error(ErrorKind::InvalidValue, message).exit();
    };
    device.seed(42);
    let task = Task::new(&options, &device);
    device.sync().expect("the inputs are made");

    // The peak so far is that of making the inputs. Where it cannot be set back it counts too, and the peak is too high
    // rather than too low.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let before = memory_mib("VmRSS");
    let first = task.step(&device, options.profile);
    let steps: Vec<Step> = (0..options.repeats).map(|_| task.step(&device, options.profile)).collect();
    let peak = memory_mib("VmHWM");

    let total = sorted(&steps, |step| step.forward + step.backward);
    let mut line = json!({
        "backend": name(options.backend),
        "head": if options.loss == Loss::Margin { name(options.head) } else { name(options.loss) },
        "path": name(options.path),
        "batch": options.batch,
        "dim": options.dim,
        "classes": options.keys(),
        "sample_rate": options.sample_rate,
        "repeats": options.repeats,
        "median_ms": total[total.len() / 2],
        "min_ms": total[0],
        "first_ms": milliseconds(first.forward + first.backward),
        "extra_peak_mib": peak.zip(before).map(|(peak, before)| peak - before),
        "gradients_mib": first.gradients as f64 * size_of::<f32>() as f64 / MIB,
        "peak_mib": peak,
        "loss": first.loss,
    });
    if options.profile {
        line["forward_ms"] = sorted(&steps, |step| step.forward)[steps.len() / 2].into();
        line["backward_ms"] = sorted(&steps, |step| step.backward)[steps.len() / 2].into();
    }
    println!("{line}");
}

impl Options {
    /// What a row of the batch is compared with.
    fn keys(&self) -> usize {
        if self.loss == Loss::Margin { self.classes } else { self.batch }
    }

    fn streaming(&self) -> Streaming {
        match self.path {
            Path::Keep => Streaming::new().with_kept_bytes(usize::MAX),
            Path::Stream => Streaming::new().with_kept_bytes(0),
            _ => Streaming::new(),
        }
    }
}

impl Loss {
    /// With the settings it comes with; `None` for what is no loss of pairs.
    fn of_pairs(self, device: &Device) -> Option<Box<dyn EmbeddingLoss>> {
        match self {
            Self::Margin | Self::Contrastive => None,
            Self::InfoNce => Some(Box::new(InfoNceLossConfig::new().init(device))),
            Self::SupCon => Some(Box::new(SupConLossConfig::new().init(device))),
            Self::MultiSimilarity => Some(Box::new(MultiSimilarityLossConfig::new().init(device))),
            Self::Circle => Some(Box::new(CircleLossConfig::new().init(device))),
            Self::Triplet => Some(Box::new(TripletLossConfig::new().with_distance(Distance::Cosine).init(device))),
        }
    }
}

/// What is measured, with its inputs.
enum Task {
    Margin { embeddings: Tensor<2>, labels: Tensor<1, Int>, head: Box<AnyHead>, plain: bool },
    Contrastive { rows: Tensor<2>, streaming: Streaming, plain: bool },
    Pairs { rows: Tensor<2>, labels: Tensor<1, Int>, loss: Box<dyn EmbeddingLoss> },
    HostProducts(HostProducts),
    Products { left: Tensor<2>, right: Tensor<2> },
}

/// One step, measured.
#[derive(Default)]
struct Step {
    forward: Duration,
    backward: Duration,
    loss: f64,
    /// How many numbers the gradients have.
    gradients: usize,
}

impl Task {
    fn new(options: &Options, device: &Device) -> Self {
        let (batch, dim, keys) = (options.batch, options.dim, options.keys());
        let normal = |rows, device: &Device| Tensor::<2>::random([rows, dim], Distribution::Normal(0.0, 1.0), device);
        let plain = options.path == Path::Plain;
        if options.path == Path::Products && options.backend.is_host() {
            return Self::HostProducts(HostProducts::new(batch, dim, keys));
        }
        if options.path == Path::Products {
            return Self::Products { left: normal(batch, device), right: normal(keys, device) };
        }

        let device = device.clone().autodiff();
        let embeddings = normal(batch, &device).require_grad();
        if options.loss == Loss::Contrastive {
            return Self::Contrastive { rows: embeddings, streaming: options.streaming(), plain };
        }
        if let Some(loss) = options.loss.of_pairs(&device) {
            let labels: Vec<i32> = (0..batch as i32).map(|row| row / ROWS_PER_CLASS).collect();
            let labels = Tensor::from_ints(labels.as_slice(), &device);
            return Self::Pairs { rows: embeddings, labels, loss };
        }
        let labels: Vec<i32> = (0..batch).map(|row| (row * 7919 % keys) as i32).collect();
        let (labels, streaming) = (Tensor::from_ints(labels.as_slice(), &device), options.streaming());
        let centers = CentersConfig::new().with_streaming(streaming).with_sample_rate(options.sample_rate);
        let config = match options.head {
            Head::Arc => AnyHeadConfig::from(ArcFaceConfig::new(keys, dim).with_centers(centers)),
            Head::Cos => CosFaceConfig::new(keys, dim).with_centers(centers).into(),
            Head::Norm => NormFaceConfig::new(keys, dim).with_centers(centers).into(),
            Head::SubCenter => SubCenterArcFaceConfig::new(keys, dim).with_centers(centers).into(),
            Head::Curricular => CurricularFaceConfig::new(keys, dim).with_centers(centers).into(),
            Head::MvSoftmax => MvSoftmaxConfig::new(keys, dim).with_centers(centers).into(),
            Head::Uni => UniFaceConfig::new(keys, dim).with_centers(centers).into(),
            Head::Sphere2 => SphereFace2Config::new(keys, dim).with_centers(centers).into(),
        };
        let head = Box::new(config.init(&device));
        // Parameters are made when they are first looked at.
        head.centers.weight.val();
        Self::Margin { embeddings, labels, head, plain }
    }

    fn step(&self, device: &Device, profile: bool) -> Step {
        let wait = || device.sync().expect("the device has done its work");
        let of_products = |start: Instant, gradients| Step { forward: start.elapsed(), gradients, ..Step::default() };
        let start = Instant::now();
        let (loss, inputs) = match self {
            Self::Margin { embeddings, labels, head, plain } => {
                let (rows, weight) = (embeddings.clone(), head.centers.weight.val());
                let loss =
                    if *plain { plain_margin(head, rows, labels.clone()) } else { head.forward(rows, labels.clone()) };
                (loss, vec![embeddings.clone(), weight])
            }
            Self::Contrastive { rows, streaming, plain } => {
                (contrastive(rows.clone(), *streaming, *plain), vec![rows.clone()])
            }
            Self::Pairs { rows, labels, loss } => (loss.forward(rows.clone(), labels.clone()), vec![rows.clone()]),
            Self::HostProducts(products) => return of_products(start, products.step()),
            Self::Products { left, right } => {
                let scores = left.clone().matmul(right.clone().transpose());
                let gradients = [scores.clone().matmul(right.clone()), scores.transpose().matmul(left.clone())];
                wait();
                return of_products(start, numbers(&gradients));
            }
        };
        if profile {
            wait();
        }
        let forward = start.elapsed();
        let gradients = loss.backward();
        let gradients: Vec<_> =
            inputs.iter().map(|input| input.grad(&gradients).expect("the loss depends on the input")).collect();
        wait();
        let backward = start.elapsed() - forward;

        Step { forward, backward, loss: loss.into_scalar::<f64>(), gradients: numbers(&gradients) }
    }
}

fn numbers(gradients: &[Tensor<2>]) -> usize {
    gradients.iter().map(|gradient| gradient.shape().num_elements()).sum()
}

/// The loss of a head as one writes it without this crate: unit rows, one product, a mask, a log-sum-exp.
fn plain_margin(head: &AnyHead, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let weight = head.centers.weight.val();
    let ([batch, _], [classes, _]) = (embeddings.dims(), weight.dims());
    let Scale::Constant(scale) = head.scale() else { panic!("the heads measured here have a fixed scale") };
    let rows = embeddings.clone();
    let (embeddings, centers) = (unit_rows(embeddings), unit_rows(weight));
    let target = (embeddings.clone() * centers.clone().select(0, labels.clone())).sum_dim(1).squeeze_dim(1);
    let scores = embeddings.matmul(centers.transpose()).mul_scalar(scale);
    let negatives = log_sum_exp(scores.mask_fill(own_column(labels, [batch, classes]), NOTHING));

    let target = Target::new(target, Tensor::full([batch], true, &negatives.device()), rows);
    softplus(negatives - head.rule.target(&target).mul_scalar(scale)).mean()
}

/// The mean log-denominator of NT-Xent: every row against all others.
fn contrastive(rows: Tensor<2>, streaming: Streaming, plain: bool) -> Tensor<1> {
    let [batch, _] = rows.dims();
    let own = Tensor::<1, Int>::arange(0..batch as i64, &rows.device());
    let rows = unit_rows(rows);
    if !plain {
        let comparison = Comparison { streaming, ..Comparison::new(1.0 / TEMPERATURE) };
        return scores(rows.clone(), rows, own, comparison).sum.mean();
    }
    let scores = rows.clone().matmul(rows.transpose()).mul_scalar(1.0 / TEMPERATURE);
    log_sum_exp(scores.mask_fill(own_column(own, [batch, batch]), NOTHING)).mean()
}

/// Where a column is the row's own.
fn own_column(labels: Tensor<1, Int>, [rows, columns]: [usize; 2]) -> Tensor<2, Bool> {
    let all = Tensor::<1, Int>::arange(0..columns as i64, (&labels.device(), labels.dtype()));
    let all = all.unsqueeze_dim::<2>(0).expand([rows, columns]);

    all.equal(labels.unsqueeze_dim::<2>(1).expand([rows, columns]))
}

fn sorted(steps: &[Step], time: impl Fn(&Step) -> Duration) -> Vec<f64> {
    let mut times: Vec<Duration> = steps.iter().map(time).collect();
    times.sort();
    times.into_iter().map(milliseconds).collect()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A figure of `/proc/self/status`; `None` where there is no such file.
fn memory_mib(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / MIB)
}

/// An option as it is written on the command line.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("no value is hidden").get_name().to_owned()
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be >= 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
