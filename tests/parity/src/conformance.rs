//! docs/conformance.md: what every loss was compared with.

use std::collections::BTreeSet;
use std::fmt::Write;

use support::golden::cases;
use support::table::table;

use crate::Cell;

/// One line per loss: its sources, its worst errors in the given cells, and where it deviates on purpose.
///
/// # Panics
///
/// If a loss has no cell.
pub fn conformance(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| loss | compared with | cases | worst value error | worst gradient error | deliberate deviation, and why |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in table() {
        let own: Vec<&Cell> = cells.iter().filter(|cell| cell.loss == row.loss).collect();
        assert!(!own.is_empty(), "{} was not run", row.loss);
        let worst = |error: fn(&Cell) -> f64| own.iter().map(|cell| error(cell)).fold(0.0, f64::max);
        let sources: BTreeSet<String> =
            cases(row.family).into_iter().filter(|case| case.loss == row.loss).map(|case| case.source).collect();
        // A bar would end the cell.
        let sources = sources.into_iter().collect::<Vec<_>>().join("; ").replace('|', "\\|");
        let _ = writeln!(
            text,
            "| {} | {sources} | {} | {:.1e} | {:.1e} | {} |",
            row.loss,
            own[0].cases,
            worst(|cell| cell.loss_error),
            worst(|cell| cell.gradient_error),
            row.deviation
        );
    }
    text
}
