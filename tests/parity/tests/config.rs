use std::cell::RefCell;
use std::collections::BTreeSet;

use burn::config::Config;
use burn_losses::distance::Distance;
use burn_losses::heads::{ArcFaceConfig, CentersConfig};
use burn_losses::labels::{LabelPolicy, OnBadLabel};
use parity::backends;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::golden::cases;
use support::table::{Call, ConfigSeen, How, Size, table};

const OF_BURN: [&str; 5] = ["KLDivLoss", "LpLoss", "HuberLoss", "SmoothL1Loss", "GaussianNLLLoss"];

fn round_trip<C: Serialize + DeserializeOwned>(config: &C) {
    let json = serde_json::to_string(config).expect("JSON");
    let back: C = serde_json::from_str(&json).expect("the config");

    assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
}

/// Numbers and switches inside a value, all changed; words, which name variants, stay.
fn other_numbers(value: &Value) -> Value {
    match value {
        Value::Bool(switch) => json!(!switch),
        Value::Number(number) if number.is_f64() => {
            json!(number.as_f64().expect("a number") * 1.5 + 0.123_456_789_012_345_6)
        }
        Value::Number(number) => json!(number.as_i64().map_or(u64::MAX, |number| (number + 1).unsigned_abs())),
        Value::Array(items) => items.iter().map(other_numbers).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), other_numbers(field))).collect(),
        Value::Null | Value::String(_) => value.clone(),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The golden cases and the samples together must try every choice and every option of a config; its numbers are changed
/// here. What a program saves it must be able to load, to the last bit.
#[test]
fn every_field_of_every_config_is_tried_and_survives_json() {
    let backend = &backends()[0];
    let mut failures = Vec::new();
    for row in table() {
        let mut untried = BTreeSet::new();
        let mut tried = BTreeSet::new();
        let golden = cases(row.family).into_iter().filter(|case| case.loss == row.loss);
        let samples = row.samples.iter().map(|sample| row.case(sample, Size::SMALL, 1));
        for case in golden.chain(samples) {
            let seen = RefCell::new(None);
            let how = How { config: Some(&seen), ..How::default() };
            (row.run)(&Call { how, ..Call::new(&case, &backend.device, backend.dtype) });
            let Some(ConfigSeen { defaults, changed, read }) = seen.take() else { continue };
            // Burn's own have fields of f32.
            let numbers = if OF_BURN.contains(&row.loss) { changed.clone() } else { other_numbers(&changed) };
            for config in [&changed, &numbers] {
                assert_eq!(&parsed(&read(&config.to_string()).expect("a config")), config, "{}", case.name);
            }
            for (field, default) in defaults.as_object().expect("fields") {
                // Every reduction of every loss is tried in `laws.rs`.
                let is_a_choice = (default.is_string() && field != "reduction") || default.is_null();
                let set = if changed[field] == *default && is_a_choice { &mut untried } else { &mut tried };
                set.insert(field.clone());
                if !default.is_null() {
                    let mut missing = changed.clone();
                    missing.as_object_mut().expect("fields").remove(field);
                    let error = read(&missing.to_string()).expect_err("a field is missing");
                    assert!(error.contains(field.as_str()), "{}: {error}", case.name);
                }
            }
        }
        let untried: Vec<_> = untried.difference(&tried).collect();
        if !untried.is_empty() {
            failures.push(format!("{}: no golden case and no sample sets {untried:?}", row.loss));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What is no row of the table.
#[test]
fn other_settings_survive_json() {
    round_trip(&CentersConfig::new().with_sample_rate(0.3).with_seed(u64::MAX));
    round_trip(&Distance::Minkowski(2.5));
    round_trip(&LabelPolicy::new().with_ignore_label(Some(-100)).with_on_bad_label(OnBadLabel::Ignore));
}

#[test]
fn a_saved_config_gives_back_its_values() {
    let path = std::env::temp_dir().join(format!("burn-losses-config-{}.json", std::process::id()));
    ArcFaceConfig::new(7, 3).with_margin(0.3).with_scale(16.0).save(&path).expect("saved");
    let config = ArcFaceConfig::load(&path).expect("loaded");
    std::fs::remove_file(&path).expect("removed");

    assert_eq!((config.classes, config.embedding_dim, config.margin, config.scale), (7, 3, 0.3, 16.0));
}
