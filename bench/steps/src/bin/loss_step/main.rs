//! One measurement of one step of a loss that is no margin head of [`head_step`](../head_step/main.rs): forward pass, mean
//! loss and gradients, or the step of a regularizer or of an optimizer. Prints one line of JSON; `bench/losses/run.py` calls it in turn with
//! its peers and makes a table.
//!
//! ```sh
//! cargo run --release -p bench-steps --bin loss_step --features flex -- --loss cross-entropy --rows 256 --columns 1000
//! ```
//!
//! Without `--loss` it lists what it can measure.

mod tasks;

use std::time::{Duration, Instant};

use bench_steps::Backend;
use clap::{Parser, ValueEnum};
use serde_json::json;

/// Measures one step of a loss.
#[derive(Parser)]
#[command(name = "loss_step")]
struct Options {
    #[arg(long)]
    loss: Option<String>,
    #[arg(long, value_enum, default_value = "flex")]
    backend: Backend,
    /// Logits, predictions or embeddings of a batch.
    #[arg(long, default_value_t = 256)]
    rows: usize,
    /// Classes of a row of logits, or the length of an embedding.
    #[arg(long, default_value_t = 1000)]
    columns: usize,
    /// Class centers, or rows of a memory that the batch is compared with.
    #[arg(long, default_value_t = 10_000)]
    others: usize,
    /// The least number of measured steps, after one that warms up; more where they are quick.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

/// Quick steps are repeated for as long as this.
const LEAST: Duration = Duration::from_millis(400);

fn main() {
    let options = Options::parse();
    let names = || tasks::TASKS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let Some(loss) = &options.loss else {
        println!("{}", names());
        return;
    };
    let Some(device) = options.backend.device() else {
        panic!("this backend is not in this build: add it to --features");
    };
    let Some((_, task)) = tasks::TASKS.iter().find(|(name, _)| name == loss) else {
        panic!("{loss} is none of {}", names());
    };
    // The allocator of Linux gives memory back to the system until a program has freed a large piece once, as one that trains
    // a network or has started Python has.
    drop(std::hint::black_box(vec![1_u8; 31 << 20]));
    device.seed(42);
    let size = tasks::Size { rows: options.rows, columns: options.columns, others: options.others };
    let mut step = task(&size, &device.clone().autodiff());
    device.sync().expect("the inputs are made");

    // The peak so far is that of making the inputs; where it cannot be set back, the peak is too high.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let before = memory_mib("VmRSS");
    let mut measured = || {
        let start = Instant::now();
        step();
        device.sync().expect("the device has done its work");
        start.elapsed().as_secs_f64() * 1e3
    };
    let first = measured();
    let peak = memory_mib("VmHWM");
    // Linux counts the processor time of a thread in steps of some milliseconds, so it is taken of all steps together.
    let (start, processor) = (Instant::now(), processor_ms());
    let mut wall = Vec::new();
    while wall.len() < options.repeats || start.elapsed() < LEAST {
        wall.push(measured());
    }
    let processor = (processor_ms() - processor) / wall.len() as f64;
    let line = json!({
        "loss": loss,
        "by": options.backend.to_possible_value().expect("no value is hidden").get_name(),
        "rows": options.rows,
        "columns": options.columns,
        "others": options.others,
        "repeats": wall.len(),
        "wall_ms": median(wall),
        "processor_ms": processor,
        "first_ms": first,
        "peak_mib": peak.zip(before).map(|(peak, before)| peak - before),
    });
    println!("{line}");
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

/// A figure of `/proc/self/status`; `None` where there is no such file.
fn memory_mib(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}
