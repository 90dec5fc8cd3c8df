//! The inputs that break losses elsewhere, for every loss of the table; `laws.rs` runs them.

use support::golden::{Array, Case};
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
        Hostile::EqualLogits => vec![make.logits("equal", |row, _| [0.0, 1.0, -1e4, 1e30, 1e-30, -1e-30][row])],
        Hostile::SureLogits => vec![
            make.logits("sure and right or wrong", |row, class| if (row + class) % 3 == 0 { 1e4 } else { -1e4 }),
            make.logits("one sure class", |row, class| if (row + class) % 4 == 1 { 1e4 } else { 0.0 }),
        ],
        Hostile::OverflowingLogits => vec![make.logits("overflowing", |row, class| {
            // exp(89) overflows f32, exp(-104) is 0 in it; sigmoid(17) rounds to 1.
            let size = [17.0, 40.0, 89.0, 104.0, 710.0, 750.0][row];
            if class % 2 == 0 { size } else { -size }
        })],
        Hostile::HugeLogits => vec![make.logits("1e30", |row, class| [1e30, -1e30, 3e30][(row + class) % 3])],
        Hostile::MaskedClasses => vec![make.masked_classes()],
        Hostile::ExactPredictions => vec![make.exact_predictions()],
        Hostile::HugeErrors => vec![make.huge_errors()],
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

    /// Rows of such lengths, and one that is not changed, in each of the inputs in turn and in all at once.
    fn rows_of_length(&self, lengths: &[f64]) -> Vec<(String, Case)> {
        let inputs: Vec<&str> =
            self.row.inputs.iter().filter(|input| input.axis != Axis::Number).map(|input| input.name).collect();
        let mut choices: Vec<Vec<&str>> = inputs.iter().map(|&input| vec![input]).collect();
        if inputs.len() > 1 {
            choices.push(inputs);
        }
        let of = |choice: &Vec<&str>| {
            let mut case = self.small();
            for input in choice {
                let array = case.inputs.get_mut(*input).expect("an input");
                for (place, row) in array.data.chunks_mut(array.shape[1]).enumerate().filter(|(place, _)| *place != 3) {
                    let length = lengths[place % lengths.len()];
                    let pattern = [[1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.5, 0.5, -0.5, 1.0]];
                    row.iter_mut().zip(pattern[place % 3]).for_each(|(number, part)| *number = length * part);
                }
            }
            (format!("{lengths:?} in {choice:?}"), case)
        };
        choices.iter().map(of).collect()
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
        let factors = [3.0, -0.7, 1.0, -1.0, 1.0 + 1e-7, -1e6];
        self.rows_beside_centers("on its center", |place, center| center.iter().map(|x| factors[place] * x).collect())
    }

    /// Every row at an angle of pi less a margin from the first center of its class, or one rounding error beside.
    fn angles_near_pi(&self) -> Vec<(String, Case)> {
        let margins = [0.0, 0.3, 0.4, 0.5, 0.5 + 1e-7, 0.5 - 1e-7];
        self.rows_beside_centers("at the end of a margin", |place, center| {
            let length = center.iter().map(|x| x * x).sum::<f64>().sqrt();
            let unit: Vec<f64> = center.iter().map(|x| x / length).collect();
            // What is left of an axis when its part along the center is taken off.
            let mut side: Vec<f64> = unit.iter().map(|x| -x * unit[0]).collect();
            side[0] += 1.0;
            let rest = side.iter().map(|x| x * x).sum::<f64>().sqrt();
            let (sin, cos) = (std::f64::consts::PI - margins[place]).sin_cos();
            unit.iter().zip(side).map(|(along, across)| cos * along + sin * across / rest).collect()
        })
    }

    fn rows_beside_centers(&self, what: &str, row: impl Fn(usize, &[f64]) -> Vec<f64>) -> Vec<(String, Case)> {
        let mut case = self.small();
        let (per_class, dim) = (self.row.rows_per_class(&case), Size::SMALL.dim);
        let centers = case.inputs["weights"].data.clone();
        let rows = case.labels.iter().enumerate().flat_map(|(place, &label)| {
            let start = label as usize * per_class * dim;
            row(place, &centers[start..start + dim])
        });
        case.inputs.get_mut("embeddings").expect("rows").data = rows.collect();
        vec![(what.to_owned(), case)]
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
                for input in self.row.inputs.iter().filter(|input| input.axis == Axis::Batch) {
                    let array = case.inputs.get_mut(input.name).expect("rows");
                    array.data[4 * place..4 * place + 4].copy_from_slice(&row);
                }
            };
            rows(&mut right, axis(label as usize));
            rows(&mut wrong, axis(place / 2));
        }
        vec![("told apart".to_owned(), right), ("confused".to_owned(), wrong)]
    }

    fn logits(&self, what: &str, fill: impl Fn(usize, usize) -> f64) -> (String, Case) {
        let mut case = self.small();
        let classes = Size::SMALL.classes;
        for input in self.row.inputs.iter().filter(|input| input.values == Values::Any) {
            let array = case.inputs.get_mut(input.name).expect("logits");
            array.data.iter_mut().enumerate().for_each(|(at, logit)| *logit = fill(at / classes, at % classes));
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

    fn exact_predictions(&self) -> (String, Case) {
        let positive = self
            .row
            .inputs
            .iter()
            .any(|input| matches!(input.values, Values::Positive | Values::Count) && input.name != "variances");
        let values = [0.0, 1.0, if positive { 2.0 } else { -2.0 }, 1e-30];
        self.filled("exact", |place| (values[place % 4], values[place % 4]))
    }

    fn huge_errors(&self) -> (String, Case) {
        self.filled("huge", |place| ([1e10, -1e10, 1e20, -1e20, 1e30, -1e30][place % 6], 1.0))
    }

    fn filled(&self, what: &str, numbers: impl Fn(usize) -> (f64, f64)) -> (String, Case) {
        let mut case = self.small();
        let fill = |array: &mut Array, number: &dyn Fn(usize) -> f64| {
            array.data.iter_mut().enumerate().for_each(|(place, at)| *at = number(place));
        };
        fill(case.inputs.get_mut("predictions").expect("predictions"), &|place| numbers(place).0);
        fill(case.inputs.get_mut("targets").expect("targets"), &|place| numbers(place).1);
        (what.to_owned(), case)
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
