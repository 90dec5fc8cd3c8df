use std::panic::{AssertUnwindSafe, catch_unwind};

use parity::{Backend, backends};
use serde_json::json;
use support::golden::{Case, cases};
use support::table::{Call, Row, TABLE};

const BAD: [i64; 3] = [-1, i64::MAX, i32::MAX as i64];

/// The losses that have labels, each with one golden case.
fn labelled() -> impl Iterator<Item = (&'static Row, Case)> {
    TABLE.iter().filter_map(|row| {
        let case = cases(row.family).into_iter().find(|case| case.loss == row.loss && !case.labels.is_empty())?;
        Some((row, case))
    })
}

fn classes(case: &Case) -> usize {
    let centers = case.inputs.get("weights").or_else(|| case.inputs.get("centers")).expect("class centers");
    centers.shape[0]
}

fn run(row: &Row, case: &Case, backend: &Backend) -> (Vec<f64>, Vec<(&'static str, Vec<f64>)>, Vec<Vec<f64>>) {
    let run = (row.run)(&Call { case, device: &backend.device, dtype: backend.dtype });
    let outputs = run.outputs.values().cloned().map(support::table::host).collect();
    (run.loss_values(), run.gradients(&case.cotangent).into_iter().collect(), outputs)
}

/// A bad label gives its row a loss and a gradient of exactly 0, and the rest of the batch is as if the row had been
/// ignored on purpose: to the last bit, so nothing was read or written out of range.
#[test]
fn a_bad_label_silences_its_row_and_nothing_else() {
    for backend in backends() {
        for (row, case) in labelled() {
            let last = case.labels.len() - 1;
            for place in [0, last / 2, last] {
                let mut ignored = case.clone();
                ignored.labels[place] = -7;
                ignored.settings.insert("labels".to_owned(), json!({"ignore_label": -7, "strict": false}));
                let expected = run(row, &ignored, &backend);
                let dim = case.inputs["embeddings"].shape[1];
                let own = place * dim..(place + 1) * dim;
                assert_eq!(expected.0[place], 0.0);
                assert!(expected.1[gradient_of(&expected.1, "embeddings")].1[own].iter().all(|&slope| slope == 0.0));

                for bad in BAD {
                    let mut case = case.clone();
                    // i64::MAX stands for "the first number that is not a class".
                    case.labels[place] = if bad == i64::MAX { classes(&case) as i64 } else { bad };
                    let what =
                        format!("{} on {}, label {} in row {place}", case.name, backend.name, case.labels[place]);
                    assert_eq!(run(row, &case, &backend), expected, "{what}");
                }
            }
        }
    }
}

fn gradient_of(gradients: &[(&str, Vec<f64>)], name: &str) -> usize {
    gradients.iter().position(|gradient| gradient.0 == name).expect("a gradient")
}

/// What stands in a row without a class does not matter, not even NaN.
#[test]
fn a_nan_in_an_ignored_row_reaches_nothing() {
    for backend in backends() {
        for (row, case) in labelled() {
            let mut clean = case.clone();
            clean.labels[1] = -7;
            clean.settings.insert("labels".to_owned(), json!({"ignore_label": -7, "strict": false}));
            let mut poisoned = clean.clone();
            let embeddings = poisoned.inputs.get_mut("embeddings").expect("embeddings");
            let dim = embeddings.shape[1];
            embeddings.data[dim..2 * dim].fill(f64::NAN);

            assert_eq!(run(row, &poisoned, &backend), run(row, &clean, &backend), "{} on {}", case.name, backend.name);
        }
    }
}

#[test]
fn a_batch_without_a_single_class_has_loss_and_gradient_zero() {
    for backend in backends() {
        for (row, case) in labelled() {
            let mut case = case;
            case.labels.fill(-1);
            let (losses, gradients, _) = run(row, &case, &backend);

            assert!(losses.iter().all(|&loss| loss == 0.0), "{} on {}", case.name, backend.name);
            for (name, gradient) in gradients {
                assert!(gradient.iter().all(|&slope| slope == 0.0), "{} on {}: {name}", case.name, backend.name);
            }
        }
    }
}

#[test]
fn a_strict_policy_panics_with_the_place_of_the_label() {
    for backend in backends() {
        for (row, mut case) in labelled() {
            case.settings.insert("labels".to_owned(), json!({"ignore_label": null, "strict": true}));
            case.labels[1] = -3;
            let call = Call { case: &case, device: &backend.device, dtype: backend.dtype };
            let panic = catch_unwind(AssertUnwindSafe(|| (row.run)(&call))).err().expect("a panic");
            let message = panic.downcast_ref::<String>().expect("a message");

            assert!(message.starts_with("label 1 is -3, which is not a class"), "{message}");
        }
    }
}
