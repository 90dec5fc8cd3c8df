//! Every law of [`Law`] on every loss of the table it concerns, in every sample, on every backend.
//!
//! A sample that breaks a law must say so, and must break it: what is listed and holds is a failure too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses_kernels::math::in_host_memory;
use parity::{Backend, Exactness, backends};
use serde_json::Value;
use support::close::{Tolerance, compare};
use support::golden::Case;
use support::table::{
    Axis, Call, ConfigSeen, Hostile, How, Kind, Labels, Law, Layout, Losses, Row, Sample, Size, Values,
};
use support::table::{host, numbers, table};

type Verdict = Result<(), String>;

macro_rules! laws {
    ($($name:ident: $law:expr;)*) => {
        $(#[test] fn $name() { hold($law); })*

        #[test]
        fn every_law_is_tried() {
            let mut tried = vec![$($law),*];
            tried.sort();
            let mut all = Law::ALL.to_vec();
            all.sort();
            assert_eq!(tried, all);
        }
    };
}

laws! {
    losses_are_those_of_the_plain_loops: Law::PlainLoops;
    permuting_the_batch_permutes_losses_and_gradients: Law::BatchOrder;
    permuting_the_classes_changes_nothing: Law::ClassOrder;
    turning_all_rows_changes_no_loss: Law::Rotation;
    moving_all_rows_changes_no_loss: Law::Translation;
    lengths_of_rows_do_not_matter: Law::Length;
    gradients_of_rows_are_perpendicular: Law::Perpendicular;
    lengths_of_centers_do_not_matter_and_their_gradients_are_perpendicular: Law::CenterLength;
    a_number_added_to_all_logits_changes_nothing: Law::LogitShift;
    an_empty_batch_has_loss_and_gradient_zero: Law::EmptyBatch;
    a_batch_of_one_is_finite: Law::OneRow;
    a_batch_without_a_label_has_loss_and_gradient_zero: Law::NoLabel;
    a_row_without_a_label_is_not_there: Law::RowWithoutLabel;
    one_class_has_loss_and_gradient_zero: Law::OneClass;
    without_a_positive_loss_and_gradient_are_zero: Law::NoPositive;
    a_nan_spreads_to_its_loss: Law::NanSpreads;
    a_nan_stays_in_its_row: Law::NanStays;
    half_precision_is_single_precision_rounded: Law::HalfPrecision;
    half_precision_of_the_batch_alone_is_single_precision_rounded: Law::MixedPrecision;
    views_are_as_good_as_copies: Law::Views;
    labels_of_every_integer_type_are_the_same_labels: Law::LabelTypes;
    forward_is_the_reduction_of_the_losses: Law::Reduction;
    evaluation_has_the_losses_of_training: Law::Evaluation;
    a_saved_module_has_the_same_losses: Law::Record;
    zero_rows_are_finite: Law::Finite(Hostile::ZeroRows);
    tiny_rows_are_finite: Law::Finite(Hostile::TinyRows);
    long_rows_are_finite: Law::Finite(Hostile::LongRows);
    huge_rows_are_finite: Law::Finite(Hostile::HugeRows);
    equal_rows_are_finite: Law::Finite(Hostile::EqualRows);
    rows_on_their_centers_are_finite: Law::Finite(Hostile::RowsOnCenters);
    angles_at_the_end_of_the_margin_are_finite: Law::Finite(Hostile::AngleNearPi);
    rows_of_one_number_are_finite: Law::Finite(Hostile::OneDimension);
    a_batch_of_one_identity_is_finite: Law::Finite(Hostile::OneIdentity);
    a_batch_of_strangers_is_finite: Law::Finite(Hostile::Strangers);
    separated_and_confused_classes_are_finite: Law::Finite(Hostile::Separated);
    equal_logits_are_finite: Law::Finite(Hostile::EqualLogits);
    sure_logits_are_finite: Law::Finite(Hostile::SureLogits);
    overflowing_logits_are_finite: Law::Finite(Hostile::OverflowingLogits);
    huge_logits_are_finite: Law::Finite(Hostile::HugeLogits);
    masked_classes_are_finite: Law::Finite(Hostile::MaskedClasses);
    exact_predictions_are_finite: Law::Finite(Hostile::ExactPredictions);
    huge_errors_are_finite: Law::Finite(Hostile::HugeErrors);
}

/// Every reason is about a law that is tried on such a loss at all.
#[test]
fn no_sample_breaks_a_law_that_does_not_concern_it() {
    for row in table() {
        assert!(!row.samples.is_empty(), "{} has no sample", row.loss);
        for sample in row.samples {
            for (law, reason) in sample.breaks {
                assert!(law.concerns(row.kind), "{} {}: {law:?}: {reason}", row.loss, sample.settings);
            }
        }
    }
}

fn hold(law: Law) {
    let backends = backends();
    let mut failures = Vec::new();
    for row in table().filter(|row| law.concerns(row.kind)) {
        // Labels are read before any setting is.
        let samples = if law == Law::LabelTypes { &row.samples[..1] } else { row.samples };
        for sample in samples {
            let mut broken = None;
            for backend in backends.iter().filter(|backend| is_tried(law, row.loss, backend)) {
                let attempt = Attempt { row, sample, backend };
                let verdict = catch_unwind(AssertUnwindSafe(|| attempt.of(law))).unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    Err(text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default())
                });
                if let Err(message) = verdict {
                    broken = Some(format!("{} on {} {:?}: {message}", what(row, sample), backend.name, backend.dtype));
                    break;
                }
            }
            match (broken, sample.reason(law)) {
                (Some(message), None) => failures.push(message),
                (None, Some(reason)) => {
                    failures.push(format!("{} keeps {law:?}, which it is said to break: {reason}", what(row, sample)));
                }
                _ => {}
            }
        }
    }
    assert!(failures.is_empty(), "{law:?}: {} failures:\n{}", failures.len(), failures.join("\n"));
}

/// In `f64` no rounding error hides a broken equation, and on the same processor `f32` runs the same code.
fn is_tried(law: Law, loss: &str, backend: &Backend) -> bool {
    match law {
        // Burn's own: the power of WGSL knows no NaN, and in half precision it is as exact as the driver makes it.
        Law::NanSpreads | Law::HalfPrecision if loss == "LpLoss" && !in_host_memory(&backend.device) => false,
        Law::BatchOrder | Law::ClassOrder | Law::Rotation | Law::Translation => backend.exactness != Exactness::Single,
        Law::Perpendicular | Law::LogitShift => backend.exactness != Exactness::Single,
        // Nothing there is computed otherwise for another float type.
        Law::LabelTypes => !backend.is_double(),
        Law::HalfPrecision | Law::MixedPrecision => !backend.is_double() && !backend.name.starts_with("ndarray"),
        _ => true,
    }
}

fn what(row: &Row, sample: &Sample) -> String {
    format!("{} {}", row.loss, sample.settings)
}

/// A loss in settings on a backend.
struct Attempt<'a> {
    row: &'a Row,
    sample: &'a Sample,
    backend: &'a Backend,
}

/// What came out of a run, on the host.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    losses: Vec<f64>,
    gradients: BTreeMap<&'static str, Vec<f64>>,
    /// Moved centers, averages.
    outputs: BTreeMap<&'static str, Vec<f64>>,
}

impl Attempt<'_> {
    fn of(&self, law: Law) -> Verdict {
        match law {
            Law::PlainLoops => self.plain_loops(),
            Law::BatchOrder => self.batch_order(),
            Law::ClassOrder => self.class_order(),
            Law::Rotation => self.rotation(),
            Law::Translation => self.translation(),
            Law::Length => self.length(Axis::Batch),
            Law::Perpendicular => self.perpendicular(Axis::Batch),
            Law::CenterLength => self.length(Axis::Classes).and_then(|()| self.perpendicular(Axis::Classes)),
            Law::LogitShift => self.logit_shift(),
            Law::EmptyBatch => self.empty_batch(),
            Law::OneRow => self.finite(&self.case(Size { batch: 1, ..Size::SMALL })),
            Law::NoLabel => self.no_label(),
            Law::RowWithoutLabel => self.row_without_label(),
            Law::OneClass => self.one_class(),
            Law::NoPositive => self.no_positive(),
            Law::NanSpreads => self.nan_spreads(),
            Law::NanStays => self.nan_stays(),
            Law::HalfPrecision => self.half_precision(false),
            Law::MixedPrecision => self.half_precision(true),
            Law::Views => self.views(),
            Law::LabelTypes => self.label_types(),
            Law::Reduction => self.reduction(),
            Law::Evaluation => self.evaluation(),
            Law::Record => self.record(),
            Law::Finite(hostile) => super::hostile::cases(self.row, self.sample, hostile)
                .iter()
                .try_for_each(|(what, case)| self.finite(case).map_err(|message| format!("{what}: {message}"))),
        }
    }

    fn case(&self, size: Size) -> Case {
        self.row.case(self.sample, size, 1)
    }

    fn small(&self) -> Case {
        self.case(Size::SMALL)
    }

    fn run(&self, case: &Case) -> Outcome {
        self.run_as(case, How::default())
    }

    fn run_as(&self, case: &Case, how: How<'_>) -> Outcome {
        let mut run = (self.row.run)(&Call { how, ..Call::new(case, &self.backend.device, self.backend.dtype) });
        if case.labels.is_empty() {
            // A trained number that no row asks for may be left out of the graph.
            run.leaves.retain(|name, _| !self.is_number(name));
        }
        let outputs = run.outputs.iter().map(|(&name, output)| (name, host(output.clone()))).collect();
        Outcome { losses: run.loss_values(), gradients: run.gradients(&case.cotangent), outputs }
    }

    fn is_number(&self, name: &str) -> bool {
        self.row.inputs.iter().any(|input| input.name == name && input.axis == Axis::Number)
    }

    /// Whether its row can call `forward`: a distance has none, and those of pairs are tested where their ways to be
    /// called are.
    fn is_reduced(&self) -> bool {
        !matches!(self.row.kind, Kind::Distance | Kind::Pairs)
    }

    /// The one number of `forward`, and its gradients.
    fn reduced(&self, case: &Case) -> Outcome {
        let case = Case { cotangent: vec![1.0], ..case.clone() };
        self.run_as(&case, How { reduced: true, ..How::default() })
    }

    /// Rounding errors of sums in another order.
    fn tolerances(&self, case: &Case) -> [f64; 2] {
        let scale = self.row.scale(case).unwrap_or(1.0);
        let unit = if self.backend.is_double() { 1e-13 } else { 3e-6 };
        [unit * scale.max(1.0), 100.0 * unit * scale.max(1.0)]
    }

    fn same(&self, case: &Case, actual: &Outcome, expected: &Outcome) -> Verdict {
        self.same_losses(case, &actual.losses, &expected.losses)?;
        for (name, gradient) in &expected.gradients {
            self.same_gradient(case, name, &actual.gradients[name], gradient)?;
        }
        Ok(())
    }

    /// What is measured and moved, which no order and no length of the rows changes.
    fn same_outputs(&self, case: &Case, actual: &Outcome, expected: &Outcome) -> Verdict {
        expected
            .outputs
            .iter()
            .try_for_each(|(name, output)| self.same_gradient(case, name, &actual.outputs[name], output))
    }

    fn same_losses(&self, case: &Case, actual: &[f64], expected: &[f64]) -> Verdict {
        let [losses, _] = self.tolerances(case);
        compare(actual, expected, Tolerance::new(losses, losses))
            .map(drop)
            .map_err(|message| format!("losses: {message}"))
    }

    fn same_gradient(&self, case: &Case, name: &str, actual: &[f64], expected: &[f64]) -> Verdict {
        let [_, allowed] = self.tolerances(case);
        // A gradient is as exact as its largest number.
        let tolerance = Tolerance::new(allowed, allowed * largest(expected).max(1e-3));
        compare(actual, expected, tolerance).map(drop).map_err(|message| format!("gradient of {name}: {message}"))
    }

    fn finite(&self, case: &Case) -> Verdict {
        let Outcome { losses, gradients, .. } = self.run(case);
        for (what, numbers) in std::iter::once(("losses", &losses)).chain(gradients.iter().map(|(&name, g)| (name, g)))
        {
            if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
                return Err(format!("{what}: number {place} is {}", numbers[place]));
            }
        }
        Ok(())
    }

    /// Losses and gradients of exactly 0.
    fn zero(&self, outcome: &Outcome) -> Verdict {
        let zero = |numbers: &[f64]| numbers.iter().all(|&number| number == 0.0);
        if !zero(&outcome.losses) {
            return Err(format!("losses of {:?}", outcome.losses));
        }
        match outcome.gradients.iter().find(|(_, gradient)| !zero(gradient)) {
            Some((name, gradient)) => Err(format!("a gradient of {name} of {gradient:?}")),
            None => Ok(()),
        }
    }

    fn plain_loops(&self) -> Verdict {
        for seed in [1, 2, 3] {
            let mut case = self.row.case(self.sample, Size::SMALL, seed);
            let seen = RefCell::new(None);
            let how = How { config: Some(&seen), ..How::default() };
            let losses = self.run_as(&case, how).losses;
            // The loops know no defaults, and the losses are not reduced.
            if let Some(Value::Object(fields)) = seen.take().map(|ConfigSeen { changed, .. }| changed) {
                case.settings.extend(fields.into_iter().filter(|(name, _)| name != "reduction"));
            }
            let expected = (self.row.naive)(&case);
            // They exponentiate what they find, and overflow where a loss is at its sharpest.
            if expected.iter().all(|loss| loss.is_finite()) {
                self.same_losses(&case, &losses, &expected)?;
            }
        }
        Ok(())
    }

    fn batch_order(&self) -> Verdict {
        let order = [3, 0, 5, 1, 4, 2];
        let case = self.small();
        let mut permuted = case.clone();
        for input in self.row.inputs.iter().filter(|input| of_batch(input.axis)) {
            let array = permuted.inputs.get_mut(input.name).expect("an input");
            array.data = permute(&array.data, array.shape[1], &order);
        }
        if !case.labels.is_empty() {
            permuted.labels = permute(&case.labels, 1, &order);
        }
        permuted.cotangent = self.losses_of(&order, &case.cotangent);
        let mut expected = self.run(&case);
        expected.losses = self.losses_of(&order, &expected.losses);
        for input in self.row.inputs.iter().filter(|input| of_batch(input.axis)) {
            if let Some(gradient) = expected.gradients.get_mut(input.name) {
                *gradient = permute(gradient, case.inputs[input.name].shape[1], &order);
            }
        }
        let actual = self.run(&permuted);
        self.same(&case, &actual, &expected)?;
        self.same_outputs(&case, &actual, &expected)
    }

    /// The losses of some rows of the small batch, in their order; all where they are not of rows.
    fn losses_of(&self, rows: &[usize], losses: &[f64]) -> Vec<f64> {
        let batch = Size::SMALL.batch;
        match self.row.losses {
            Losses::PerRow | Losses::PerNumber => permute(losses, losses.len() / batch, rows),
            Losses::PerPair => {
                permute(losses, batch, rows).chunks(batch).flat_map(|row| permute(row, 1, rows)).collect()
            }
            Losses::PerClass | Losses::One => losses.to_vec(),
        }
    }

    fn class_order(&self) -> Verdict {
        let case = self.small();
        let mut renamed = case.clone();
        let mut expected = self.run(&case);
        if self.row.kind == Kind::Pairs {
            renamed.labels.iter_mut().for_each(|label| *label = 1_000_003 - 7 * *label);
            return self.same(&case, &self.run(&renamed), &expected);
        }
        let order = [4, 2, 0, 1, 3];
        let new =
            |label: i64| order.iter().position(|&class| class as i64 == label).map_or(label, |place| place as i64);
        renamed.labels.iter_mut().for_each(|label| *label = new(*label));
        for setting in renamed.settings.values_mut() {
            if let Value::Array(per_class) = setting {
                *per_class = permute(per_class, 1, &order);
            }
        }
        let per_class = self.row.rows_per_class(&case);
        for input in self.row.inputs {
            let [_, columns] = case.inputs[input.name].sizes();
            let move_classes = |data: &[f64]| match input.axis {
                Axis::Classes => permute(data, per_class * columns, &order),
                Axis::Logits => data.chunks(columns).flat_map(|row| permute(row, 1, &order)).collect(),
                Axis::Batch | Axis::Number => data.to_vec(),
            };
            let array = renamed.inputs.get_mut(input.name).expect("an input");
            array.data = move_classes(&array.data);
            if let Some(gradient) = expected.gradients.get_mut(input.name) {
                *gradient = move_classes(gradient);
            }
        }
        let move_losses = |losses: &[f64]| match self.row.losses {
            Losses::PerClass => permute(losses, 1, &order),
            Losses::PerNumber => losses.chunks(order.len()).flat_map(|row| permute(row, 1, &order)).collect(),
            Losses::PerRow | Losses::PerPair | Losses::One => losses.to_vec(),
        };
        renamed.cotangent = move_losses(&case.cotangent);
        expected.losses = move_losses(&expected.losses);
        self.same(&case, &self.run(&renamed), &expected)
    }

    fn rotation(&self) -> Verdict {
        let case = self.small();
        let mut rotated = case.clone();
        self.for_each_row(&mut rotated, of_rows, |_, row| rotate(row));
        let mut expected = self.run(&case);
        for input in self.row.inputs.iter().filter(|input| of_rows(input.axis)) {
            let gradient = expected.gradients.get_mut(input.name).map_or(&mut [][..], Vec::as_mut_slice);
            gradient.chunks_mut(Size::SMALL.dim).for_each(rotate);
        }
        self.same(&case, &self.run(&rotated), &expected)
    }

    fn translation(&self) -> Verdict {
        let case = self.small();
        let mut moved = case.clone();
        let by = numbers(Size::SMALL.dim, 13);
        self.for_each_row(&mut moved, of_rows, |_, row| row.iter_mut().zip(&by).for_each(|(number, by)| *number += by));
        let expected = self.run(&case);
        self.same(&case, &self.run(&moved), &expected)?;

        let mut sums = vec![0.0; by.len()];
        for input in self.row.inputs.iter().filter(|input| of_rows(input.axis)) {
            let gradient = expected.gradients.get(input.name).map_or(&[][..], Vec::as_slice);
            gradient.iter().enumerate().for_each(|(place, slope)| sums[place % by.len()] += slope);
        }
        // Centers that are moved and not trained pull at the rows alone.
        if expected.gradients.len() == self.row.inputs.len() || self.row.inputs.len() == 1 {
            let largest = expected.gradients.values().map(|gradient| largest(gradient)).fold(1.0, f64::max);
            let [_, allowed] = self.tolerances(&case);
            compare(&sums, &vec![0.0; sums.len()], Tolerance::new(0.0, allowed * largest))?;
        }
        Ok(())
    }

    fn length(&self, axis: Axis) -> Verdict {
        let case = self.small();
        let mut scaled = case.clone();
        // Squares of the last ones overflow and vanish in f32.
        let factors = [0.01, 30.0, 1e-6, 1e10, 1.7, 1e16, 1e30];
        self.for_each_row(
            &mut scaled,
            |of| of == axis,
            |place, row| {
                row.iter_mut().for_each(|number| *number *= factors[place % factors.len()]);
            },
        );
        self.same_losses(&case, &self.run(&scaled).losses, &self.run(&case).losses)
    }

    fn perpendicular(&self, axis: Axis) -> Verdict {
        let case = self.small();
        let [_, allowed] = self.tolerances(&case);
        for (name, gradient) in &self.run(&case).gradients {
            if !self.row.inputs.iter().any(|input| input.name == *name && input.axis == axis) {
                continue;
            }
            let array = &case.inputs[*name];
            for (slope, row) in gradient.chunks(array.shape[1]).zip(array.data.chunks(array.shape[1])) {
                let along: f64 = slope.iter().zip(row).map(|(a, b)| a * b).sum();
                if along.abs() > allowed * largest(gradient).max(1.0) {
                    return Err(format!("a gradient of {name} goes {along} along its row"));
                }
            }
        }
        Ok(())
    }

    fn logit_shift(&self) -> Verdict {
        let case = self.small();
        let mut moved = case.clone();
        let logits = |case: &Case| -> Vec<&'static str> {
            let inputs =
                self.row.inputs.iter().filter(|input| input.axis == Axis::Logits && input.values == Values::Any);
            inputs.map(|input| input.name).filter(|name| case.inputs.contains_key(*name)).collect()
        };
        for name in logits(&case) {
            moved.inputs.get_mut(name).expect("logits").data.iter_mut().for_each(|logit| *logit += 8.0);
        }
        let before = self.run(&case);
        let [allowed, _] = self.tolerances(&case);
        // The rounding errors are those of numbers eight times as large.
        let tolerance = Tolerance::new(10.0 * allowed, 10.0 * allowed);
        compare(&self.run(&moved).losses, &before.losses, tolerance)?;
        for name in logits(&case) {
            let gradient = &before.gradients[name];
            for row in gradient.chunks(case.inputs[name].shape[1]) {
                let sum: f64 = row.iter().sum();
                if sum.abs() > 10.0 * allowed * largest(gradient).max(1.0) {
                    return Err(format!("the gradients of a row sum to {sum}"));
                }
            }
        }
        Ok(())
    }

    fn empty_batch(&self) -> Verdict {
        let case = self.case(Size { batch: 0, ..Size::SMALL });
        let run = (self.row.run)(&Call::new(&case, &self.backend.device, self.backend.dtype));
        if run.loss_values().iter().any(|&loss| loss != 0.0) {
            return Err(format!("losses of {:?}", run.loss_values()));
        }
        if !self.is_reduced() {
            return Ok(());
        }
        let reduced = self.reduced(&case);
        if reduced.losses != [0.0] {
            return Err(format!("forward is {:?}", reduced.losses));
        }
        self.zero(&reduced)
    }

    fn no_label(&self) -> Verdict {
        let mut case = self.small();
        case.labels.fill(-1);
        self.zero(&self.run(&case))?;
        if self.is_reduced() { self.zero(&self.reduced(&case)) } else { Ok(()) }
    }

    fn row_without_label(&self) -> Verdict {
        const ROW: usize = 2;
        let mut clean = self.small();
        clean.labels[ROW] = -1;
        let mut broken = clean.clone();
        let mut kept = clean.clone();
        let others: Vec<usize> = (0..clean.labels.len()).filter(|&row| row != ROW).collect();
        for input in self.row.inputs.iter().filter(|input| of_batch(input.axis)) {
            let columns = clean.inputs[input.name].shape[1];
            let array = broken.inputs.get_mut(input.name).expect("an input");
            array.data[ROW * columns..(ROW + 1) * columns].fill(f64::NAN);
            let array = kept.inputs.get_mut(input.name).expect("an input");
            array.data = permute(&array.data, columns, &others);
            array.shape[0] = others.len();
        }
        kept.labels = permute(&clean.labels, 1, &others);
        kept.cotangent = self.losses_of(&others, &clean.cotangent);

        let expected = self.run(&clean);
        let actual = self.run(&broken);
        if actual != expected {
            return Err(format!("{actual:?} with NaN in it, {expected:?} without"));
        }
        let without = self.run(&kept);
        self.same_outputs(&clean, &expected, &without)?;
        self.same_losses(&clean, &self.losses_of(&others, &expected.losses), &without.losses)?;
        for input in self.row.inputs {
            let Some(gradient) = expected.gradients.get(input.name) else { continue };
            let columns = clean.inputs[input.name].sizes()[1];
            let gradient = if of_batch(input.axis) {
                if gradient[ROW * columns..(ROW + 1) * columns].iter().any(|&slope| slope != 0.0) {
                    return Err(format!("a gradient of {}: {gradient:?}", input.name));
                }
                permute(gradient, columns, &others)
            } else {
                gradient.clone()
            };
            self.same_gradient(&clean, input.name, &gradient, &without.gradients[input.name])?;
        }
        if !self.is_reduced() {
            return Ok(());
        }
        self.same_losses(&clean, &self.reduced(&clean).losses, &self.reduced(&kept).losses)
    }

    fn one_class(&self) -> Verdict {
        let mut case = self.case(Size { classes: 1, ..Size::SMALL });
        case.labels.fill(0);
        self.zero(&self.run(&case))
    }

    fn no_positive(&self) -> Verdict {
        let mut case = self.small();
        case.labels = (0..case.labels.len() as i64).collect();
        self.zero(&self.run(&case))
    }

    /// Every input of the batch in turn with a NaN in its second row.
    fn with_nan(&self) -> impl Iterator<Item = Case> {
        let case = self.small();
        let inputs = self.row.inputs.iter().filter(|input| of_batch(input.axis));
        inputs.map(move |input| {
            let mut broken = case.clone();
            let array = broken.inputs.get_mut(input.name).expect("an input");
            array.data[array.shape[1] + 1] = f64::NAN;
            broken
        })
    }

    fn nan_spreads(&self) -> Verdict {
        for case in self.with_nan() {
            let losses = self.run(&case).losses;
            let own = match self.row.losses {
                Losses::PerRow => &losses[1..2],
                Losses::PerNumber => {
                    let columns = losses.len() / Size::SMALL.batch;
                    &losses[columns..2 * columns]
                }
                Losses::PerPair | Losses::PerClass | Losses::One => &losses[..],
            };
            if !own.iter().any(|loss| loss.is_nan()) {
                return Err(format!("losses of {own:?}"));
            }
            if self.is_reduced() {
                let reduced = self.reduced(&case).losses;
                if !reduced[0].is_nan() {
                    return Err(format!("forward is {reduced:?}"));
                }
            }
        }
        Ok(())
    }

    fn nan_stays(&self) -> Verdict {
        let others = [0, 2, 3, 4, 5];
        let expected = self.losses_of(&others, &self.run(&self.small()).losses);
        for case in self.with_nan() {
            let losses = self.losses_of(&others, &self.run(&case).losses);
            self.same_losses(&case, &losses, &expected)?;
        }
        Ok(())
    }

    /// The error is that of rounding the inputs of the last operation and its result.
    fn half_precision(&self, mixed: bool) -> Verdict {
        // (eps/2 of the type)
        for (dtype, rounding) in [(DType::F16, 2.0_f64.powi(-11)), (DType::BF16, 2.0_f64.powi(-8))] {
            if !self.backend.device.supports_dtype(dtype) {
                continue;
            }
            let mut case = self.small();
            let round = |numbers: &[f64]| {
                let tensor = Tensor::<1>::from_data(TensorData::from(numbers), (&Device::flex(), DType::F32));
                host(tensor.cast(dtype).cast(DType::F32))
            };
            for input in self.row.inputs {
                let array = case.inputs.get_mut(input.name).expect("an input");
                array.data = round(&array.data);
            }
            case.cotangent = round(&case.cotangent);
            let expected = self.run(&case);
            let call = Call::new(&case, &self.backend.device, dtype);
            let how = How { parameters: mixed.then_some(DType::F32), ..How::default() };
            let run = (self.row.run)(&Call { how, ..call });
            if run.losses.dtype() != dtype {
                return Err(format!("losses in {:?}, not in {dtype:?}", run.losses.dtype()));
            }
            let tolerance = Tolerance::new(2.0 * rounding, 1e-6 * self.row.scale(&case).unwrap_or(1.0).max(1.0));
            compare(&run.loss_values(), &expected.losses, tolerance)
                .map_err(|text| format!("{dtype:?}: losses: {text}"))?;
            for (name, gradient) in run.gradients(&case.cotangent) {
                let expected = &expected.gradients[name];
                let tolerance = Tolerance::new(2.0 * rounding, rounding * largest(expected));
                compare(&gradient, expected, tolerance)
                    .map_err(|text| format!("{dtype:?}: gradient of {name}: {text}"))?;
            }
        }
        Ok(())
    }

    fn views(&self) -> Verdict {
        let case = self.small();
        let expected = self.run(&case);
        for layout in [Layout::Transposed, Layout::Window, Layout::Flipped] {
            let actual = self.run_as(&case, How { layout, ..How::default() });
            self.same(&case, &actual, &expected).map_err(|message| format!("{layout:?}: {message}"))?;
        }
        Ok(())
    }

    fn label_types(&self) -> Verdict {
        for dtype in [DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64] {
            if !self.backend.device.supports_dtype(dtype) {
                continue;
            }
            // 300 classes: -1 and 256 + 2 read as one byte are other classes.
            let mut case = self.case(Size { classes: 300, ..Size::SMALL });
            if matches!(dtype, DType::I8 | DType::U8) {
                case.labels.iter_mut().for_each(|label| *label = (*label).min(120));
            }
            let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
            case.labels[0] = if signed { -1 } else { case.labels[0] };
            let expected = self.run(&case);
            let actual = self.run_as(&case, How { labels: Some(dtype), ..How::default() });
            if actual != expected {
                let message =
                    self.same(&case, &actual, &expected).err().unwrap_or_else(|| "rounded otherwise".to_owned());
                return Err(format!("{dtype:?}: {message}"));
            }
        }
        Ok(())
    }

    /// Of what has a class; every reduction, where it is a setting.
    fn reduction(&self) -> Verdict {
        let mut case = self.small();
        if self.row.labels == Labels::Classes {
            case.labels[2] = -1;
        }
        let losses = self.run(&case).losses;
        let count = match self.row.labels {
            Labels::Classes if self.row.losses == Losses::PerRow => losses.len() - 1,
            _ => losses.len(),
        };
        let sum = losses.iter().sum::<f64>();
        let seen = RefCell::new(None);
        self.run_as(&case, How { config: Some(&seen), ..How::default() });
        if seen.take().is_none_or(|ConfigSeen { defaults, .. }| defaults.get("reduction").is_none()) {
            return self.same_losses(&case, &self.reduced(&case).losses, &[sum / count as f64]);
        }
        let active = losses.iter().filter(|&&loss| loss != 0.0).count();
        for (reduction, divisor) in [("Mean", count), ("Sum", 1), ("MeanNonZero", active.max(1))] {
            case.settings.insert("reduction".to_owned(), Value::from(reduction));
            let reduced = self.reduced(&case).losses;
            self.same_losses(&case, &reduced, &[sum / divisor as f64])
                .map_err(|text| format!("{reduction}: {text}"))?;
        }
        Ok(())
    }

    fn evaluation(&self) -> Verdict {
        let case = self.small();
        let device = self.backend.device.clone().inner();
        let run = (self.row.run)(&Call::new(&case, &device, self.backend.dtype));
        self.same_losses(&case, &run.loss_values(), &self.run(&case).losses)
    }

    fn record(&self) -> Verdict {
        let case = self.small();
        let how = How { saved: true, ..How::default() };
        let run = (self.row.run)(&Call { how, ..Call::new(&case, &self.backend.device, self.backend.dtype) });
        let (actual, expected) = (run.loss_values(), self.run(&case).losses);
        if actual == expected { Ok(()) } else { Err(format!("{actual:?} after, {expected:?} before")) }
    }

    /// Changes every row of the inputs of such axes, by its place among all of them.
    fn for_each_row(&self, case: &mut Case, of: impl Fn(Axis) -> bool, change: impl Fn(usize, &mut [f64])) {
        let mut place = 0;
        for input in self.row.inputs.iter().filter(|input| of(input.axis)) {
            let array = case.inputs.get_mut(input.name).expect("an input");
            for row in array.data.chunks_mut(array.shape[1]) {
                change(place, row);
                place += 1;
            }
        }
    }
}

fn of_batch(axis: Axis) -> bool {
    matches!(axis, Axis::Batch | Axis::Logits)
}

fn of_rows(axis: Axis) -> bool {
    matches!(axis, Axis::Batch | Axis::Classes)
}

/// Two reflections make a rotation.
fn rotate(row: &mut [f64]) {
    for seed in [11, 12] {
        let mirror = numbers(row.len(), seed);
        let square: f64 = mirror.iter().map(|number| number * number).sum();
        let along: f64 = row.iter().zip(&mirror).map(|(a, b)| a * b).sum::<f64>() / square;
        row.iter_mut().zip(&mirror).for_each(|(number, mirror)| *number -= 2.0 * along * mirror);
    }
}

fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().fold(0.0, |largest, number| number.abs().max(largest))
}

fn permute<T: Clone>(items: &[T], width: usize, order: &[usize]) -> Vec<T> {
    order.iter().flat_map(|&place| items[place * width..(place + 1) * width].to_vec()).collect()
}
