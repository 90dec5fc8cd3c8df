use burn::config::Config;
use burn::module::Initializer;
use burn_losses::center::{CenterLossConfig, CenterMode};
use burn_losses::distance::Distance;
use burn_losses::labels::LabelPolicy;
use burn_losses::margin::{
    ArcFaceConfig, CombinedMarginConfig, CosFaceConfig, GradientMode, LargeAngle, NormFaceConfig,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn round_trip<C: Serialize + DeserializeOwned>(config: &C) {
    let json = serde_json::to_string(config).expect("JSON");
    let back: C = serde_json::from_str(&json).expect("the config");

    assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
}

#[test]
fn every_config_survives_json_with_every_field_changed() {
    let labels = LabelPolicy::new().with_ignore_label(Some(-100)).with_strict(true);
    let initializer = Initializer::Uniform { min: -0.25, max: 0.75 };

    round_trip(&NormFaceConfig::new(7, 3).with_scale(11.5).with_initializer(initializer.clone()));
    round_trip(&CosFaceConfig::new(7, 3).with_margin(-0.1).with_labels(labels.clone()));
    round_trip(
        &ArcFaceConfig::new(7, 3)
            .with_margin(0.123_456_789_012_345_6)
            .with_large_angle(LargeAngle::Fold)
            .with_gradient(GradientMode::Detached),
    );
    round_trip(&CombinedMarginConfig::new(7, 3).with_angle_factor(1.1).with_labels(labels.clone()));
    round_trip(&CenterLossConfig::new(7, 3).with_update_rate(0.25).with_mode(CenterMode::Trained));
    round_trip(&Distance::Minkowski(2.5));
    round_trip(&labels);
}

#[test]
fn a_saved_config_gives_back_its_values() {
    let path = std::env::temp_dir().join(format!("burn-losses-config-{}.json", std::process::id()));
    ArcFaceConfig::new(7, 3).with_margin(0.3).with_scale(16.0).save(&path).expect("saved");
    let config = ArcFaceConfig::load(&path).expect("loaded");
    std::fs::remove_file(&path).expect("removed");

    assert_eq!((config.classes, config.embedding_dim, config.margin, config.scale), (7, 3, 0.3, 16.0));
}

#[test]
fn a_field_that_is_missing_or_misspelled_is_an_error() {
    let json = serde_json::to_value(CosFaceConfig::new(7, 3)).expect("JSON");
    let mut missing = json.clone();
    missing.as_object_mut().expect("an object").remove("margin");

    let error = serde_json::from_value::<CosFaceConfig>(missing).expect_err("margin is missing").to_string();
    assert!(error.contains("margin"), "{error}");
}
