use burn::module::Param;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::heads::{ArcFaceConfig, CombinedMarginConfig, CosFaceConfig, LargeAngle, NormFaceConfig};
use burn_losses::reduction::EmbeddingReduction;
use parity::backends;
use serde_json::{Value, json};
use support::close::{Tolerance, assert_close};
use support::golden::Case;
use support::table::{Call, head_case, host, row};

const ROWS: usize = 6;
const DIM: usize = 4;
const CLASSES: usize = 5;
const LABELS: [i64; ROWS] = [0, 3, 1, 3, 4, 2];
const EXACT: Tolerance = Tolerance::new(1e-11, 1e-11);

fn heads() -> [(&'static str, Value); 6] {
    [
        ("NormFace", json!({"scale": 20.0})),
        ("CosFace", json!({"scale": 32.0})),
        ("ArcFace", json!({"scale": 32.0})),
        ("ArcFace", json!({"scale": 32.0, "large_angle": "Fold"})),
        ("ArcFace", json!({"scale": 32.0, "large_angle": "EasyMargin", "gradient": "Detached"})),
        ("CombinedMargin", json!({"scale": 32.0, "angle_factor": 1.3})),
    ]
}

/// Reproducible numbers in (-1, 1) that nobody chose.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn rows(count: usize, seed: u64) -> Vec<Vec<f64>> {
    numbers(count * DIM, seed).chunks(DIM).map(<[f64]>::to_vec).collect()
}

/// Calls `law` for every head on every f64 backend and three seeds.
fn for_every_head(law: impl Fn(&dyn Fn(&Case) -> Outcome, &Case, &str)) {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        for (loss, settings) in heads() {
            for seed in [0, 1, 20_261_121] {
                let case = head_case(loss, settings.clone(), &rows(ROWS, seed), &rows(CLASSES, seed + 7), &LABELS);
                let run = |case: &Case| outcome(loss, case, &backend.device);
                law(&run, &case, &format!("{loss} {:?} seed {seed} on {}", case.settings, backend.name));
            }
        }
    }
}

struct Outcome {
    losses: Vec<f64>,
    embeddings: Vec<f64>,
    weights: Vec<f64>,
}

fn outcome(loss: &str, case: &Case, device: &Device) -> Outcome {
    let run = (row(loss).run)(&Call::new(case, device, DType::F64));
    let mut gradients = run.gradients(&case.cotangent);
    Outcome {
        losses: run.loss_values(),
        embeddings: gradients.remove("embeddings").expect("a gradient"),
        weights: gradients.remove("weights").expect("a gradient"),
    }
}

fn permute<T: Clone>(items: &[T], width: usize, order: &[usize]) -> Vec<T> {
    order.iter().flat_map(|&place| items[place * width..(place + 1) * width].to_vec()).collect()
}

#[test]
fn permuting_the_batch_permutes_the_losses_and_gradients() {
    let order = [3, 0, 5, 1, 4, 2];
    for_every_head(|run, case, what| {
        let mut permuted = case.clone();
        permuted.inputs.get_mut("embeddings").unwrap().data = permute(&case.inputs["embeddings"].data, DIM, &order);
        permuted.labels = permute(&case.labels, 1, &order);
        permuted.cotangent = permute(&case.cotangent, 1, &order);
        let (before, after) = (run(case), run(&permuted));

        assert_close(what, &after.losses, &permute(&before.losses, 1, &order), EXACT);
        assert_close(what, &after.embeddings, &permute(&before.embeddings, DIM, &order), EXACT);
        assert_close(what, &after.weights, &before.weights, EXACT);
    });
}

#[test]
fn permuting_the_classes_changes_nothing() {
    let order = [4, 2, 0, 1, 3];
    for_every_head(|run, case, what| {
        let mut permuted = case.clone();
        permuted.inputs.get_mut("weights").unwrap().data = permute(&case.inputs["weights"].data, DIM, &order);
        let new_label = |label: &i64| order.iter().position(|place| *place as i64 == *label).unwrap() as i64;
        permuted.labels = case.labels.iter().map(new_label).collect();
        let (before, after) = (run(case), run(&permuted));

        assert_close(what, &after.losses, &before.losses, EXACT);
        assert_close(what, &after.embeddings, &before.embeddings, EXACT);
    });
}

#[test]
fn rotating_embeddings_and_centers_together_changes_no_loss() {
    for_every_head(|run, case, what| {
        // Two reflections make a rotation.
        let mut rotated = case.clone();
        for seed in [11, 12] {
            let mirror = numbers(DIM, seed);
            let square: f64 = mirror.iter().map(|number| number * number).sum();
            for array in rotated.inputs.values_mut() {
                for row in array.data.chunks_mut(DIM) {
                    let along: f64 = row.iter().zip(&mirror).map(|(a, b)| a * b).sum::<f64>() / square;
                    row.iter_mut().zip(&mirror).for_each(|(number, mirror)| *number -= 2.0 * along * mirror);
                }
            }
        }
        assert_close(what, &run(&rotated).losses, &run(case).losses, Tolerance::new(1e-10, 1e-10));
    });
}

#[test]
fn lengths_do_not_matter_and_gradients_are_perpendicular() {
    for_every_head(|run, case, what| {
        let mut scaled = case.clone();
        for array in scaled.inputs.values_mut() {
            let factors = numbers(array.shape[0], 5);
            for (row, factor) in array.data.chunks_mut(DIM).zip(factors) {
                row.iter_mut().for_each(|number| *number *= 0.01 + 30.0 * factor.abs());
            }
        }
        let before = run(case);
        assert_close(what, &run(&scaled).losses, &before.losses, EXACT);

        for (name, gradient) in [("embeddings", &before.embeddings), ("weights", &before.weights)] {
            for (slope, row) in gradient.chunks(DIM).zip(case.inputs[name].data.chunks(DIM)) {
                let along: f64 = slope.iter().zip(row).map(|(a, b)| a * b).sum();
                let size: f64 = slope.iter().map(|a| a * a).sum::<f64>().sqrt();
                assert!(along.abs() <= 1e-11 * size.max(1.0), "{what}: {along} along {name}");
            }
        }
    });
}

#[test]
fn the_loss_grows_with_the_margin() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let margins = [0.0, 0.1, 0.3, 0.5];
        let fields = [
            ("CosFace", "margin"),
            ("ArcFace", "margin"),
            ("CombinedMargin", "angle_margin"),
            ("CombinedMargin", "cosine_margin"),
        ];
        for (loss, field) in fields {
            let losses = margins.map(|margin| {
                let settings = json!({"scale": 16.0, field: margin});
                let case = head_case(loss, settings, &rows(ROWS, 3), &rows(CLASSES, 4), &LABELS);
                outcome(loss, &case, &backend.device).losses
            });
            for pair in losses.windows(2) {
                assert!(pair[0].iter().zip(&pair[1]).all(|(less, more)| less < more), "{loss} {field}");
            }
        }
    }
}

/// Both in every precision: the special cases of each head are the others.
#[test]
fn heads_without_their_margin_are_normface_and_combinations_of_one_are_that_one() {
    for backend in backends() {
        let device = &backend.device;
        let weight = || Param::from_tensor(tensor(&rows(CLASSES, 9), (device, backend.dtype)));
        macro_rules! losses {
            ($config:expr) => {{
                let mut head = $config.with_scale(20.0).init(device);
                head.centers.weight = weight();
                let labels = Tensor::<1, Int>::from_data(TensorData::from(LABELS.as_slice()), device);
                host(head.forward_no_reduction(tensor(&rows(ROWS, 8), (device, backend.dtype)), labels))
            }};
        }
        let tolerance = if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(1e-5, 4e-5) };
        let same = |what: &str, a: Vec<f64>, b: Vec<f64>| {
            assert_close(&format!("{what} on {}", backend.name), &a, &b, tolerance)
        };

        let normface = losses!(NormFaceConfig::new(CLASSES, DIM));
        same("CosFace 0", losses!(CosFaceConfig::new(CLASSES, DIM).with_margin(0.0)), normface.clone());
        for large_angle in [LargeAngle::LinearFall, LargeAngle::Fold, LargeAngle::EasyMargin] {
            let config = ArcFaceConfig::new(CLASSES, DIM).with_margin(0.0).with_large_angle(large_angle);
            same("ArcFace 0", losses!(config), normface.clone());
        }
        let combined = |angle_margin: f64, cosine_margin: f64| {
            let config = CombinedMarginConfig::new(CLASSES, DIM);
            config.with_angle_margin(angle_margin).with_cosine_margin(cosine_margin)
        };
        same("Combined (1, 0, 0)", losses!(combined(0.0, 0.0)), normface);
        let arcface = ArcFaceConfig::new(CLASSES, DIM).with_margin(0.4).with_large_angle(LargeAngle::Fold);
        same("Combined (1, 0.4, 0)", losses!(combined(0.4, 0.0)), losses!(arcface));
        let cosface = CosFaceConfig::new(CLASSES, DIM).with_margin(0.25);
        same("Combined (1, 0, 0.25)", losses!(combined(0.0, 0.25)), losses!(cosface));
    }
}

/// Also where the angle factor is small, and where the fold is passed many times.
#[test]
fn combined_margins_of_any_size_and_sign_agree_with_the_plain_loops() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        for angle_factor in [0.01, 0.6, 7.5, 40.0] {
            for angle_margin in [-9.0, -0.3, 0.0, 2.0] {
                let settings = json!({
                    "scale": 4.0, "angle_factor": angle_factor, "angle_margin": angle_margin, "cosine_margin": -0.3
                });
                let case = head_case("CombinedMargin", settings, &rows(ROWS, 5), &rows(CLASSES, 6), &LABELS);
                let losses = outcome("CombinedMargin", &case, &backend.device).losses;
                let what = format!("{angle_factor}·angle + {angle_margin} on {}", backend.name);
                assert_close(&what, &losses, &support::naive::margin::losses(&case), Tolerance::new(1e-11, 1e-11));
            }
        }
    }
}

#[test]
fn forward_is_the_mean_and_the_cross_entropy_of_the_margin_logits() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let mut head = ArcFaceConfig::new(CLASSES, DIM).with_scale(20.0).init(&backend.device);
        head.centers.weight = Param::from_tensor(tensor(&rows(CLASSES, 9), options));
        let embeddings = tensor(&rows(ROWS, 8), options);
        let labels = Tensor::<1, Int>::from_data(TensorData::from(LABELS.as_slice()), &backend.device);
        let tolerance = if backend.is_double() { EXACT } else { Tolerance::new(1e-5, 2e-5) };

        let losses = head.forward_no_reduction(embeddings.clone(), labels.clone());
        let mean = host(head.forward(embeddings.clone(), labels.clone()));
        assert_close(&backend.name, &mean, &host(EmbeddingReduction::Mean.apply(losses.clone())), tolerance);

        let scores = log_softmax(head.margin_logits(embeddings.clone(), labels.clone()), 1);
        let composed = scores.gather(1, labels.clone().unsqueeze_dim(1)).neg();
        assert_close(&backend.name, &host(losses), &host(composed), tolerance);

        let own = host(head.logits(embeddings.clone()).gather(1, labels.clone().unsqueeze_dim(1)).mul_scalar(0.05));
        assert_close(&backend.name, &host(head.target_cosine(embeddings, labels)), &own, tolerance);
    }
}

fn tensor(rows: &[Vec<f64>], options: (&Device, DType)) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), rows[0].len()]), options)
}
