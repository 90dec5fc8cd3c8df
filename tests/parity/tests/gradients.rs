use burn::tensor::DType;
use parity::backends;
use support::close::Tolerance;
use support::golden::{Case, cases};
use support::gradient::check;
use support::table::{Call, Row, table};

/// What the five-point stencil leaves in `f64`: its own error grows with the largest gradient of the case.
const TOLERANCE: Tolerance = Tolerance::new(1e-6, 1e-7);

// A test for each backend, so that both run at once: they take longest of all.

#[test]
#[cfg(feature = "flex")]
fn gradients_on_flex_equal_finite_differences_in_f64() {
    check_backend("flex");
}

#[test]
#[cfg(feature = "ndarray")]
fn gradients_on_ndarray_equal_finite_differences_in_f64() {
    check_backend("ndarray");
}

fn check_backend(name: &str) {
    let backends = backends();
    let backend = backends.iter().find(|backend| backend.is_double() && backend.name == name).expect("a backend");
    for row in table() {
        let cases = cases(row.family);
        // The detached gradient is not the derivative of the loss, on purpose; golden numbers hold it instead.
        let exact = cases
            .iter()
            .filter(|case| case.loss == row.loss && case.word("gradient", "Exact") == "Exact" && !case.measures_batch);
        for case in exact {
            check_case(row, case, &backend.device, name);
        }
    }
}

fn check_case(row: &Row, case: &Case, device: &burn::tensor::Device, backend: &str) {
    let run = |case: &Case| (row.run)(&Call::new(case, device, DType::F64));
    for (name, gradient) in run(case).gradients(&case.cotangent) {
        let value = |input: &[f64]| {
            let mut moved = case.clone();
            moved.inputs.get_mut(name).expect("an input").data = input.to_vec();
            run(&moved).loss_values().iter().zip(&case.cotangent).map(|(loss, weight)| loss * weight).sum()
        };
        let largest = gradient.iter().fold(1.0_f64, |largest, number| largest.max(number.abs()));
        let tolerance = Tolerance::new(TOLERANCE.relative, TOLERANCE.absolute * largest);
        if let Err(message) = check(value, &case.inputs[name].data, &gradient, row.sharpness(case), tolerance) {
            panic!("{} on {backend}: gradient of {name}: {message}", case.name);
        }
    }
}
