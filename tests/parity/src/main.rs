//! Prints docs/parity.md, or docs/conformance.md when asked for `conformance`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use parity::{Backend, Cell, backends, conformance, golden_cells, markdown};

fn main() -> ExitCode {
    let cells = match std::env::args().nth(1).as_deref() {
        None => print_parity(),
        Some("conformance") => print_conformance(),
        Some(other) => {
            eprintln!("nothing is called {other}: leave it out, or ask for `conformance`");
            return ExitCode::FAILURE;
        }
    };
    let failures: Vec<&String> = cells.iter().flat_map(|cell| &cell.failures).collect();
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_parity() -> Vec<Cell> {
    let cells = golden_cells(&backends());
    println!("# Parity\n");
    println!(
        "Worst error of every loss on every backend, over all golden cases, as a share of what is allowed: 1 would be \
         just right. The tolerances are in `tests/parity/src/lib.rs`, the golden numbers and their sources in \
         `tests/parity/golden`. Written by:\n"
    );
    println!("```sh\ncargo run -p parity --features wgpu > docs/parity.md\n```\n");
    print!("{}", markdown(&cells));
    cells
}

fn print_conformance() -> Vec<Cell> {
    let double: Vec<Backend> = backends().into_iter().filter(Backend::is_double).collect();
    let cells = golden_cells(&double);
    println!("# Conformance\n");
    println!(
        "What every loss was compared with, and how far it is from it in `f64` on ndarray and flex: the worst error over \
         all golden cases, as a share of the expected number, or of 1 where that is smaller. How far other precisions and \
         backends are: [parity.md](parity.md). Written by:\n"
    );
    println!("```sh\ncargo run -p parity -- conformance > docs/conformance.md\n```\n");
    print!("{}", conformance(&cells));
    cells
}
