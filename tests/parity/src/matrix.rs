use std::collections::BTreeMap;
use std::fmt::Write;

use support::close::{compare, worst_error};
use support::golden::{Case, cases};
use support::table::{Call, Row, host, table};

use crate::{Backend, Tolerances};

/// The worst errors of one loss on one backend, as shares of what is allowed.
pub struct Cell {
    /// The loss.
    pub loss: &'static str,
    /// The backend and adapter.
    pub backend: String,
    /// The precision.
    pub dtype: String,
    /// How many golden cases ran.
    pub cases: usize,
    /// The worst loss or other output.
    pub worst_loss: f64,
    /// The worst gradient.
    pub worst_gradient: f64,
    /// The worst error of a loss or other output, as a share of what is expected or of 1.
    pub loss_error: f64,
    /// The worst error of a gradient, likewise.
    pub gradient_error: f64,
    /// What was out of tolerance, or panicked.
    pub failures: Vec<String>,
}

/// Runs every golden case of every loss on every backend.
pub fn golden_cells(backends: &[Backend]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for row in table() {
        let cases: Vec<Case> = cases(row.family).into_iter().filter(|case| case.loss == row.loss).collect();
        for backend in backends {
            cells.push(cell(row, &cases, backend));
        }
    }
    cells
}

fn cell(row: &Row, cases: &[Case], backend: &Backend) -> Cell {
    let mut cell = Cell {
        loss: row.loss,
        backend: backend.name.clone(),
        dtype: format!("{:?}", backend.dtype).to_lowercase(),
        cases: cases.len(),
        worst_loss: 0.0,
        worst_gradient: 0.0,
        loss_error: 0.0,
        gradient_error: 0.0,
        failures: Vec::new(),
    };
    if cases.is_empty() {
        cell.failures.push("there is no golden case".to_owned());
    }
    for case in cases {
        cell.add(row, case, backend);
    }
    cell
}

impl Cell {
    fn add(&mut self, row: &Row, case: &Case, backend: &Backend) {
        let tolerances = Tolerances::of(row, case, backend);
        let run = (row.run)(&Call::new(case, &backend.device, backend.dtype));

        let outputs = |name: &str| run.outputs.get(name).map(|output| host(output.clone()));
        let mut values = vec![("losses", Some(run.loss_values()), &case.expected.losses)];
        for (name, expected) in &case.expected.outputs {
            values.push((name, outputs(name), expected));
        }
        for (name, actual, expected) in values {
            let actual = actual.unwrap_or_default();
            let share = compare(&actual, &expected.data, tolerances.losses);
            self.worst_loss = self.worst_loss.max(self.note(case, name, share));
            self.loss_error = self.loss_error.max(worst_error(&actual, &expected.data));
        }
        let gradients: BTreeMap<_, _> = run.gradients(&case.cotangent);
        for (name, expected) in &case.expected.gradients {
            let actual = gradients.get(name.as_str()).cloned().unwrap_or_default();
            let share = compare(&actual, &expected.data, tolerances.gradient_of(&expected.data));
            self.worst_gradient = self.worst_gradient.max(self.note(case, &format!("gradient of {name}"), share));
            self.gradient_error = self.gradient_error.max(worst_error(&actual, &expected.data));
        }
    }

    fn note(&mut self, case: &Case, what: &str, result: Result<f64, String>) -> f64 {
        result.unwrap_or_else(|message| {
            let Self { backend, dtype, .. } = &*self;
            self.failures.push(format!("{} on {backend} {dtype}: {what}: {message}", case.name));
            f64::INFINITY
        })
    }
}

/// The cells as a Markdown table.
pub fn markdown(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| loss | backend | dtype | golden cases | worst loss / allowed | worst gradient / allowed |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for Cell { loss, backend, dtype, cases, worst_loss, worst_gradient, .. } in cells {
        let _ = writeln!(text, "| {loss} | {backend} | {dtype} | {cases} | {worst_loss:.3} | {worst_gradient:.3} |");
    }
    text
}
