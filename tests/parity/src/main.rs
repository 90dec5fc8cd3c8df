//! Prints docs/parity.md.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use parity::{backends, golden_cells, markdown};

fn main() -> ExitCode {
    let cells = golden_cells(&backends());
    println!("# Parity\n");
    println!(
        "Worst error of every loss on every backend, over all golden cases, as a share of what is allowed: 1 would be \
         just right. The tolerances are in `tests/parity/src/lib.rs`, the golden numbers and their sources in \
         `tests/parity/golden`. Written by:\n"
    );
    println!("```sh\ncargo run -p parity --features wgpu > docs/parity.md\n```\n");
    print!("{}", markdown(&cells));

    let failures: Vec<&String> = cells.iter().flat_map(|cell| &cell.failures).collect();
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
