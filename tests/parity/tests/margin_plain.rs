use burn::module::Param;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::heads::{
    ArcFaceConfig, CentersConfig, CombinedMarginConfig, CosFaceConfig, LargeAngle, NormFaceConfig, Streaming,
};
use burn_losses::reduction::EmbeddingReduction;
use parity::backends;
use serde_json::json;
use support::close::{Tolerance, assert_close};
use support::golden::Case;
use support::table::{Call, head_case, host, numbers, row};

const ROWS: usize = 6;
const DIM: usize = 4;
const CLASSES: usize = 5;
const LABELS: [i64; ROWS] = [0, 3, 1, 3, 4, 2];
const EXACT: Tolerance = Tolerance::new(1e-11, 1e-11);

fn rows(count: usize, seed: u64) -> Vec<Vec<f64>> {
    numbers(count * DIM, seed).chunks(DIM).map(<[f64]>::to_vec).collect()
}

fn losses(loss: &str, case: &Case, device: &Device) -> Vec<f64> {
    (row(loss).run)(&Call::new(case, device, DType::F64)).loss_values()
}

#[test]
fn the_memory_that_a_config_allows_is_that_of_its_head() {
    let streaming = Streaming::new().with_kept_bytes(7).with_block(Some(3));
    let centers = CentersConfig::new().with_streaming(streaming);
    let head = CosFaceConfig::new(2, 2).with_centers(centers).init(&backends()[0].device);

    assert_eq!(head.centers.streaming(), streaming);
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
                losses(loss, &case, &backend.device)
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
                let losses = losses("CombinedMargin", &case, &backend.device);
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
