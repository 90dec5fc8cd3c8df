//! The inputs that break losses elsewhere, for every loss of the table; `laws.rs` runs them.

use support::golden::Case;
use support::table::{Axis, Hostile, Kind, Row, Sample, Size, Values};

/// The cases of a kind of hostile input.
pub(crate) fn cases(row: &Row, sample: &Sample, hostile: Hostile) -> Vec<(String, Case)> {
    let make = Maker { row, sample };
    match hostile {
        Hostile::ZeroRows => make.rows_of_length(&[0.0]),
        Hostile::TinyRows => make.rows_of_length(&[1e-38, 1e-30, 1e-20, 1e-12]),
        Hostile::LongRows => make.rows_of_length(&[1e8, 1e12, 1e18]),
        Hostile::HugeRows => make.rows_of_length(&[1e20, 1e36]),
        Hostile::EqualRows => make.equal_rows(),
        Hostile::RowsOnCenters => make.rows_on_centers(),
        Hostile::AngleNearPi => make.angles_near_pi(),
        Hostile::OneDimension => vec![("one dimension".to_owned(), make.case(Size { dim: 1, ..Size::SMALL }))],
        Hostile::OneIdentity => make.labelled("one identity", |_| 1),
        Hostile::Strangers => make.labelled("strangers", |place| place as i64),
        Hostile::Separated => make.separated(),
        Hostile::EqualLogits => {
            [0.0, 1.0, -1e4, 1e30, 1e-30].iter().map(|&value| make.logits(&format!("{value:e}"), |_| value)).collect()
        }
        Hostile::SureLogits => vec![
            make.logits("sure and right or wrong", |place| if place % 3 == 0 { 1e4 } else { -1e4 }),
            make.logits("one sure class", |place| if place % 6 == 1 { 1e4 } else { 0.0 }),
        ],
        Hostile::OverflowingLogits => {
            // exp(89) overflows f32, exp(-104) is 0 in it; sigmoid(17) rounds to 1.
            let sizes = [17.0, 40.0, 89.0, 104.0, 710.0];
            let of = |&size: &f64| make.logits(&size.to_string(), |place| if place % 2 == 0 { size } else { -size });
            sizes.iter().map(of).collect()
        }
        Hostile::HugeLogits => vec![make.logits("1e30", |place| [1e30, -1e30, 3e30][place % 3])],
        Hostile::MaskedClasses => vec![make.masked_classes()],
        Hostile::ExactPredictions => make.exact_predictions(),
        Hostile::HugeErrors => make.huge_errors(),
    }
}

struct Maker<'a> {
    row: &'a Row,
    sample: &'a Sample,
}

impl Maker<'_> {
    fn case(&self, size: Size) -> Case {
        self.row.case(self.sample, size, 1)
    }

    fn small(&self) -> Case {
        self.case(Size::SMALL)
    }

    /// Two rows of such numbers, in each of the inputs in turn and in all at once.
    fn rows_of_length(&self, lengths: &[f64]) -> Vec<(String, Case)> {
        let inputs: Vec<&str> =
            self.row.inputs.iter().filter(|input| input.axis != Axis::Number).map(|input| input.name).collect();
        let mut choices: Vec<Vec<&str>> = inputs.iter().map(|&input| vec![input]).collect();
        if inputs.len() > 1 {
            choices.push(inputs);
        }
        let mut cases = Vec::new();
        for &length in lengths {
            for choice in &choices {
                let mut case = self.small();
                for input in choice {
                    let array = case.inputs.get_mut(*input).expect("an input");
                    let columns = array.shape[1];
                    array.data[..columns].fill(0.0);
                    array.data[0] = length;
                    array.data[2 * columns..3 * columns].fill(0.0);
                    array.data[2 * columns + 1] = -length;
                    array.data[2 * columns + 2] = length;
                }
                cases.push((format!("{length:e} in {choice:?}"), case));
            }
        }
        cases
    }

    fn equal_rows(&self) -> Vec<(String, Case)> {
        // With equal numbers the cosine comes out above 1 in f32 on some backends.
        let rows = [[1.0, 1.0, 1.0, 1.0], [0.1, 0.7, -0.3, 2.0], [0.0; 4]];
        let of = |row: &[f64; 4]| {
            let mut case = self.small();
            for input in self.row.inputs.iter().filter(|input| input.axis != Axis::Number) {
                let array = case.inputs.get_mut(input.name).expect("an input");
                array.data.chunks_mut(4).for_each(|numbers| numbers.copy_from_slice(row));
            }
            (format!("{row:?}"), case)
        };
        rows.iter().map(of).collect()
    }

    /// Every row as a multiple of the first center of its class.
    fn rows_on_centers(&self) -> Vec<(String, Case)> {
        let factors = [[3.0, 1.0], [-0.7, -1.0], [1.0, -1.0], [1.0 + 1e-7, 1.0 - 1e-7], [1e-6, -1e6]];
        let of = |factors: &[f64; 2]| {
            let mut case = self.small();
            let per_class = self.row.rows_per_class(&case);
            let centers = case.inputs["weights"].clone();
            let dim = centers.shape[1];
            for (place, &label) in case.labels.clone().iter().enumerate() {
                let start = label as usize * per_class * dim;
                let row: Vec<f64> = centers.data[start..start + dim].iter().map(|x| factors[place % 2] * x).collect();
                case.inputs.get_mut("embeddings").expect("rows").data[place * dim..(place + 1) * dim]
                    .copy_from_slice(&row);
            }
            (format!("rows {factors:?} times their center"), case)
        };
        factors.iter().map(of).collect()
    }

    fn angles_near_pi(&self) -> Vec<(String, Case)> {
        let mut cases = Vec::new();
        for margin in [0.0, 0.3, 0.4, 0.5] {
            for beside in [0.0, -1e-7, 1e-7] {
                let mut case = self.small();
                let per_class = self.row.rows_per_class(&case);
                let angle: f64 = std::f64::consts::PI - margin + beside;
                for (name, row) in
                    [("weights", [1.0, 0.0, 0.0, 0.0]), ("embeddings", [angle.cos(), angle.sin(), 0.0, 0.0])]
                {
                    let array = case.inputs.get_mut(name).expect("an input");
                    let rows = if name == "weights" { per_class } else { 1 };
                    array.data.chunks_mut(4).take(rows).for_each(|numbers| numbers.copy_from_slice(&row));
                }
                case.labels.fill(0);
                cases.push((format!("pi - {margin} + {beside:e}"), case));
            }
        }
        cases
    }

    fn labelled(&self, what: &str, label: impl Fn(usize) -> i64) -> Vec<(String, Case)> {
        let mut case = self.case(Size { classes: 6, ..Size::SMALL });
        case.labels.iter_mut().enumerate().for_each(|(place, own)| *own = label(place));
        vec![(what.to_owned(), case)]
    }

    /// Every class on an axis of its own; then the rows on axes of other classes.
    fn separated(&self) -> Vec<(String, Case)> {
        let axis = |class: usize| [0, 1, 2, 3].map(|k| if k == class % 4 { 1.0 } else { 0.0 });
        let mut right = self.small();
        let (labels, per_class) = (right.labels.clone(), self.row.rows_per_class(&right));
        for input in self.row.inputs.iter().filter(|input| input.axis == Axis::Classes) {
            let array = right.inputs.get_mut(input.name).expect("centers");
            for (place, row) in array.data.chunks_mut(4).enumerate() {
                row.copy_from_slice(&axis(place / per_class));
            }
        }
        let mut wrong = right.clone();
        for (place, &label) in labels.iter().enumerate() {
            let rows = |case: &mut Case, row: [f64; 4]| {
                let array = case.inputs.get_mut("embeddings").expect("rows");
                array.data[4 * place..4 * place + 4].copy_from_slice(&row);
            };
            rows(&mut right, axis(label as usize));
            rows(&mut wrong, axis(place / 2));
        }
        vec![("told apart".to_owned(), right), ("confused".to_owned(), wrong)]
    }

    fn logits(&self, what: &str, fill: impl Fn(usize) -> f64) -> (String, Case) {
        let mut case = self.small();
        for input in self.row.inputs.iter().filter(|input| input.values == Values::Any) {
            let array = case.inputs.get_mut(input.name).expect("logits");
            array.data.iter_mut().enumerate().for_each(|(place, logit)| *logit = fill(place));
        }
        (what.to_owned(), case)
    }

    fn masked_classes(&self) -> (String, Case) {
        let mut case = self.small();
        let classes = case.inputs["logits"].shape[1];
        for (place, &label) in case.labels.clone().iter().enumerate() {
            let masked = place * classes + (label as usize + 1) % classes;
            case.inputs.get_mut("logits").expect("logits").data[masked] = f64::NEG_INFINITY;
        }
        ("minus infinity".to_owned(), case)
    }

    fn exact_predictions(&self) -> Vec<(String, Case)> {
        let positive = self.row.inputs.iter().any(|input| input.values == Values::Positive && input.name != "variances");
        let values = [0.0, 1.0, -2.0, 1e-30].into_iter().filter(|&value| value >= 0.0 || !positive);
        values.map(|value| (format!("{value:e}"), self.filled(value, value))).collect()
    }

    fn huge_errors(&self) -> Vec<(String, Case)> {
        let mut cases = Vec::new();
        for size in [1e10, 1e20, 1e30] {
            for prediction in [size, -size] {
                cases.push((format!("{prediction:e}"), self.filled(prediction, 1.0)));
            }
        }
        cases
    }

    fn filled(&self, prediction: f64, target: f64) -> Case {
        let mut case = self.small();
        case.inputs.get_mut("predictions").expect("predictions").data.fill(prediction);
        case.inputs.get_mut("targets").expect("targets").data.fill(target);
        case
    }
}

/// Which kinds have no hostile input of their own is nobody's choice.
#[test]
fn every_kind_has_hostile_inputs() {
    use support::table::Law;

    let kinds = [
        Kind::Head,
        Kind::Pairs,
        Kind::Proxy,
        Kind::Center,
        Kind::Logits,
        Kind::Probabilities,
        Kind::Numbers,
        Kind::Regularizer,
        Kind::Distance,
    ];
    for kind in kinds {
        let count = Law::ALL.iter().filter(|law| matches!(law, Law::Finite(_)) && law.concerns(kind)).count();
        assert!(count >= 2, "{kind:?}");
    }
}
