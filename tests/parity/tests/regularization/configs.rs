use burn::config::Config;
use burn_losses::distance::Distance;
use burn_losses::reduction::EmbeddingReduction;
use burn_losses::regularization::{
    BiasesAndNorms, CenterInvariantRegularizerConfig, DecoupledL2Config, ElasticNetPenaltyConfig, L1PenaltyConfig,
    L2PenaltyConfig, LpRegularizerConfig, ProximalElasticNetConfig, ProximalL1Config, ProximalRowGroupsConfig,
    RegularFaceRegularizerConfig, SparseCentersRegularizerConfig, ZeroMeanRegularizerConfig,
};
use parity::backends;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{in_first, two_layers};

fn round_trip<C: Serialize + DeserializeOwned>(config: &C) {
    let json = serde_json::to_string(config).expect("JSON");
    let back: C = serde_json::from_str(&json).expect("the config");
    assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
}

#[test]
fn configs_survive_json_with_every_field_changed() {
    let choice = in_first().with_biases_and_norms(BiasesAndNorms::Included);
    round_trip(&L1PenaltyConfig::new(0.1).with_parameters(choice.clone()));
    round_trip(&L2PenaltyConfig::new(0.1).with_parameters(choice.clone()));
    round_trip(&ElasticNetPenaltyConfig::new(0.1).with_l1_ratio(0.25).with_parameters(choice.clone()));
    round_trip(&ProximalL1Config::new(0.1).with_parameters(choice.clone()));
    round_trip(&ProximalElasticNetConfig::new(0.1).with_l1_ratio(0.25).with_parameters(choice.clone()));
    round_trip(&ProximalRowGroupsConfig::new(0.1).with_parameters(choice.clone()));
    round_trip(&DecoupledL2Config::new(0.1).with_parameters(choice.clone()));
    let sum = EmbeddingReduction::Sum;
    round_trip(&LpRegularizerConfig::new().with_norm(Distance::lp(f64::INFINITY)).with_power(1.5).with_reduction(sum));
    round_trip(&SparseCentersRegularizerConfig::new(7, 3).with_reduction(sum));
    round_trip(&ZeroMeanRegularizerConfig::new().with_reduction(sum));
    round_trip(&CenterInvariantRegularizerConfig::new().with_reduction(sum));
    round_trip(&RegularFaceRegularizerConfig::new().with_reduction(sum));

    let path = std::env::temp_dir().join(format!("burn-losses-choice-{}.json", std::process::id()));
    ProximalL1Config::new(0.25).with_parameters(choice).save(&path).expect("saved");
    let config = ProximalL1Config::load(&path).expect("loaded");
    std::fs::remove_file(&path).expect("removed");
    let paths = config.parameters.paths(&two_layers(&backends()[0]));
    assert_eq!((config.strength, paths), (0.25, vec!["first.weight".to_owned(), "first.bias".to_owned()]));
}
