//! What the page relies on, on this machine's processor.

use burn::tensor::{Device, Tensor};
use playground::{CLASSES, FEATURES, Nearness, Objective, Points, Settings, Training};
use serde_json::{Value, json};

fn settings(loss: &str, dimensions: usize) -> Settings {
    let settings = Objective::all(dimensions)[loss].clone();
    Settings { loss: loss.to_owned(), settings, dimensions, samples: 64, noise: 0.7, learning_rate: 0.01, seed: 7 }
}

fn begin(settings: &Settings) -> Training {
    Training::new(settings, &Device::flex().autodiff()).expect("settings of a known loss")
}

fn train(training: &mut Training, steps: usize) -> Vec<f32> {
    (0..steps).map(|_| training.step().into_scalar::<f32>()).collect()
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("numbers")
}

#[test]
fn every_loss_learns_on_the_circle_and_on_the_sphere() {
    for dimensions in [2, 3] {
        for loss in Objective::all(dimensions).keys() {
            let mut training = begin(&settings(loss, dimensions));
            let losses = train(&mut training, 60);
            assert!(losses.iter().all(|loss| loss.is_finite()), "{loss}: {losses:?}");
            let (first, last) = (losses[0], losses[59]);
            assert!(last < 0.9 * first, "{loss}, {dimensions} dimensions: {first} to {last}");
            assert_eq!(training.embeddings().dims(), [64, dimensions]);
            if let Some(places) = training.class_places() {
                assert_eq!((places.dims()[0] % CLASSES, places.dims()[1]), (0, dimensions), "{loss}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_training() {
    let of = |seed| train(&mut begin(&Settings { seed, ..settings("ArcFace", 2) }), 5);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_wrong_label_changes_the_loss_and_comes_back_around() {
    let mut training = begin(&settings("ArcFace", 2));
    train(&mut training, 150);
    let right = training.labels().to_vec();
    assert_eq!(right[15], CLASSES - 1);
    training.relabel(15);
    assert_eq!(training.labels()[15], 0);
    let wrong = train(&mut training, 1)[0];
    for _ in 1..CLASSES {
        training.relabel(15);
    }
    assert_eq!(training.labels(), right);
    let mended = train(&mut training, 1)[0];
    assert!(wrong > 1.2 * mended, "{wrong} with a wrong label, {mended} without");
}

#[test]
fn samples_lie_around_the_place_of_their_class() {
    let exact = Points::new(2 * CLASSES, 0.0, 3);
    let (first, second) = exact.inputs.split_at(CLASSES * FEATURES);
    assert_eq!(first, second, "without noise samples of a class are equal");
    let noisy = Points::new(2 * CLASSES, 0.5, 3);
    let strays = noisy.inputs.iter().zip(&exact.inputs).map(|(noisy, exact)| f64::from(noisy - exact).powi(2));
    let deviation = (strays.sum::<f64>() / exact.inputs.len() as f64).sqrt();
    // 256 numbers: the deviation of their deviation is 0.5 / sqrt(512) = 0.022.
    assert!((deviation - 0.5).abs() < 0.09, "{deviation}");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let refused = |name: &str, settings: Value| {
        let device = Device::flex().autodiff();
        let error = Objective::new(name, &settings, 2, &device).expect_err("not a loss");
        format!("{error:#}")
    };
    let all = Objective::all(2);
    let of = |settings: Settings| {
        let error = Training::new(&settings, &Device::flex().autodiff()).err().expect("out of range");
        error.to_string()
    };
    let good = settings("ArcFace", 2);
    assert_eq!(of(Settings { samples: 0, ..good.clone() }), "samples: must be in [8, 4096], got 0");
    assert_eq!(of(Settings { dimensions: 7, ..good.clone() }), "dimensions: must be 2 or 3, got 7");
    assert_eq!(of(Settings { noise: f32::NAN, ..good.clone() }), "noise: must be in [0, 100], got NaN");
    assert_eq!(
        of(Settings { learning_rate: 1e300, ..good }),
        format!("learning_rate: must be in [0, 10], got {}", 1e300)
    );
    assert_eq!(refused("ArcFaces", json!({})), "there is no loss \"ArcFaces\"");
    assert_eq!(refused("ArcFace", all["CosFace"].clone()), "ArcFace: its settings are those of CosFace");
    let missing = refused("TripletLoss", json!({ "margin": 0.2 }));
    assert!(missing.starts_with("TripletLoss: settings cannot be read: missing field"), "{missing}");
    for (name, field, bad) in [
        ("ArcFace", "margin", json!("half")),
        ("ProxyAnchorLoss", "classes", json!(1.5)),
        ("SubCenterArcFace", "sub_centers", json!(-1)),
    ] {
        let mut settings = all[name].clone();
        settings[field] = bad.clone();
        let error = refused(name, settings);
        assert!(error.starts_with(&format!("{name}: {field}: bad value {bad}: invalid")), "{error}");
    }
}

#[test]
#[should_panic(expected = "ArcFace: margin must be")]
fn a_margin_out_of_its_range_says_so() {
    let mut settings = settings("ArcFace", 2);
    settings.settings["margin"] = json!(9.0);
    begin(&settings);
}

#[test]
fn center_loss_has_centers_and_pairs_have_no_places() {
    let mut training = begin(&settings("Softmax and CenterLoss", 2));
    let start = numbers(training.class_places().expect("centers"));
    train(&mut training, 3);
    assert_ne!(numbers(training.class_places().expect("centers")), start);
    assert_eq!(training.objective().nearness(), Nearness::Distance);
    let pairs = begin(&settings("TripletLoss", 3));
    assert!(pairs.class_places().is_none());
    assert_eq!(pairs.objective().nearness(), Nearness::Distance);
    assert_eq!(begin(&settings("ArcFace", 3)).objective().nearness(), Nearness::Cosine);
    assert_eq!(begin(&settings("Softmax", 3)).objective().nearness(), Nearness::Product);
}
