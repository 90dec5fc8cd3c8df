//! What README.md says of the settings is what they are.

use face_embedding::settings::loss::{LossKind, LossSettings};

const README: &str = include_str!("../../README.md");

/// The cells of the rows that begin with this name in backquotes, maybe among others.
fn row(name: &str) -> Vec<&'static str> {
    let is_of = |line: &&str| {
        let first = line.strip_prefix("| ").and_then(|line| line.split(" |").next()).unwrap_or_default();
        first.split(", ").any(|found| found == format!("`{name}`"))
    };
    let section = README.split("\n### Defaults of the losses\n").nth(1).expect("there is a section");
    let section = section.split("\n#").next().expect("it has text");
    let line = section.lines().find(is_of).unwrap_or_else(|| panic!("the table has no row of {name}"));
    line.split('|').map(str::trim).collect()
}

#[test]
fn the_defaults_of_every_loss_are_in_the_table() {
    for loss in LossKind::ALL {
        let LossSettings {
            margin,
            scale,
            angle_factor,
            cosine_margin,
            center_weight,
            center_update_rate,
            temperature,
            ..
        } = LossSettings::defaults(loss);
        let cells = row(loss.name());
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        assert_eq!([cells[2], cells[3]], [number(margin), number(scale)], "{loss}");
        let others = [
            ("--angle-factor", angle_factor),
            ("--cosine-margin", cosine_margin),
            ("--center-weight", center_weight),
            ("--center-update-rate", center_update_rate),
            ("--temperature", temperature),
        ];
        let others = others.into_iter().filter_map(|(flag, value)| Some(format!("`{flag}` {}", value?)));
        assert_eq!(cells[4], others.collect::<Vec<_>>().join(", "), "{loss}");
    }
}
