use burn::config::Config;
use burn::module::Initializer;
use burn_losses::center::{CenterLossConfig, CenterMode};
use burn_losses::distance::Distance;
use burn_losses::heads::{
    AdaCosConfig, AdaCosScale, AdaFaceConfig, ArcFaceConfig, CentersConfig, CombinedMarginConfig, CosFaceConfig,
    CurricularFaceConfig, ElasticFaceConfig, ElasticMargin, ElasticOrder, GradientMode, LargeAngle, MagFaceConfig,
    MvMargin, MvSoftmaxConfig, MvWeighting, NormFaceConfig, SphereFace2Config, SphereFaceConfig,
    SubCenterArcFaceConfig, UniFaceConfig,
};
use burn_losses::labels::{LabelPolicy, OnBadLabel};
use burn_losses::reduction::EmbeddingReduction;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn round_trip<C: Serialize + DeserializeOwned>(config: &C) {
    let json = serde_json::to_string(config).expect("JSON");
    let back: C = serde_json::from_str(&json).expect("the config");

    assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
}

#[test]
fn every_config_survives_json_with_every_field_changed() {
    let labels = LabelPolicy::new().with_ignore_label(Some(-100)).with_on_bad_label(OnBadLabel::Ignore);
    let initializer = Initializer::Uniform { min: -0.25, max: 0.75 };
    let centers = CentersConfig::new().with_labels(labels.clone()).with_initializer(initializer);
    let centers = centers.with_sample_rate(0.3).with_seed(11);

    round_trip(&NormFaceConfig::new(7, 3).with_scale(11.5).with_centers(centers.clone()));
    round_trip(&CosFaceConfig::new(7, 3).with_margin(-0.1).with_reduction(EmbeddingReduction::Sum));
    round_trip(
        &ArcFaceConfig::new(7, 3)
            .with_margin(0.123_456_789_012_345_6)
            .with_large_angle(LargeAngle::Fold)
            .with_gradient(GradientMode::Detached),
    );
    round_trip(&CombinedMarginConfig::new(7, 3).with_angle_factor(1.1).with_centers(centers.clone()));
    round_trip(&SphereFaceConfig::new(7, 3).with_multiplier(1.35).with_gradient(GradientMode::Detached));
    round_trip(&MagFaceConfig::new(7, 3).with_shortest(1.5).with_longest(9.0).with_length_weight(77.0));
    round_trip(&AdaFaceConfig::new(7, 3).with_concentration(0.1).with_momentum(0.5).with_margin(0.3));
    let elastic = ElasticFaceConfig::new(7, 3).with_margin_kind(ElasticMargin::Cosine).with_seed(u64::MAX);
    round_trip(&elastic.with_order(ElasticOrder::FarthestLargest).with_deviation(0.02));
    round_trip(&AdaCosConfig::new(7, 3).with_scale(AdaCosScale::Fixed));
    round_trip(&SubCenterArcFaceConfig::new(7, 3).with_sub_centers(2).with_margin(0.25));
    round_trip(&CurricularFaceConfig::new(7, 3).with_momentum(0.25).with_centers(centers.clone()));
    let mv = MvSoftmaxConfig::new(7, 3).with_margin_kind(MvMargin::Angle).with_weighting(MvWeighting::Fixed);
    round_trip(&mv.with_weight(0.4).with_margin(0.3));
    round_trip(&UniFaceConfig::new(7, 3).with_balance(0.3).with_margin(0.1));
    let sphereface2 = SphereFace2Config::new(7, 3).with_balance(0.6).with_exponent(2.0);
    round_trip(&sphereface2.with_gradient(GradientMode::Detached));
    round_trip(&centers);
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
