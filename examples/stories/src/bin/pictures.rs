//! Draws the pictures of the documentation: margins of heads, losses and their slopes, what heads make of a circle, measured time and memory.
//!
//! `cargo run --release -p stories --bin pictures`

#![forbid(unsafe_code)]

use std::f64::consts::PI;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn::module::Param;
use burn::tensor::{Device, Int, Tensor};
use burn_losses::heads::{AnyHeadConfig, HeadKind, MarginRule};
use clap::Parser;
use stories::chart::{Chart, Ink, Series, bars, svg_in_columns};
use stories::circle::{self, Way};
use stories::curves::{self, chart, numbers, series};
use stories::save;

/// Draws the pictures of the documentation.
#[derive(Parser)]
struct Arguments {
    /// The folder they go to.
    #[arg(long, default_value = "crates/burn-losses/pictures")]
    output: PathBuf,
    /// The table of measured ratios.
    #[arg(long, default_value = "docs/measured.md")]
    measured: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { output, measured } = Arguments::parse();
    std::fs::create_dir_all(&output).with_context(|| format!("the folder {} cannot be made", output.display()))?;
    let device = Device::flex().autodiff();
    save(&output.join("heads.svg"), &svg_in_columns(&heads(&device)?, 2)?)?;
    save(&output.join("losses.svg"), &svg_in_columns(&curves::losses(&device)?, 3)?)?;
    save(&output.join("circle.svg"), &svg_in_columns(&circles(&device)?, 3)?)?;
    let table = std::fs::read_to_string(&measured).with_context(|| format!("{} cannot be read", measured.display()))?;
    let title = "processor time on one thread, as a share of PyTorch's or pytorch-metric-learning's (1)";
    save(&output.join("measured.svg"), &bars(title, &ratios(&table)?)?)?;
    let title = "memory beyond the gradients, as a share of PyTorch's or pytorch-metric-learning's (1)";
    save(&output.join("memory.svg"), &bars(title, &memory(&table)?)?)
}

/// What the heads make of the cosine with the center of the own class, over the angle.
fn heads(device: &Device) -> Result<Vec<Chart>> {
    let angles: Vec<f64> = (0..=180).map(|step| PI * f64::from(step) / 180.0).collect();
    let of = |kind: HeadKind, color: usize, length: f64, name: &str| -> Result<Series> {
        // Not in training: nothing is measured, and no margin is drawn.
        let mut head = AnyHeadConfig::new(kind, 3, 2).init(&device.clone().inner());
        let sub_centers = head.centers.sub_centers();
        let centers: Vec<f64> = [[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]].map(|center| center.repeat(sub_centers)).concat();
        let inner = device.clone().inner();
        let centers = Tensor::<1>::from_data(centers.as_slice(), &inner).reshape([3 * sub_centers, 2]);
        head.centers.weight = Param::from_tensor(centers);
        let rows: Vec<f64> = angles.iter().flat_map(|angle| [length * angle.cos(), length * angle.sin()]).collect();
        let rows = Tensor::<1>::from_data(rows.as_slice(), &inner).reshape([angles.len(), 2]);
        let labels = Tensor::<1, Int>::zeros([angles.len()], &inner);
        let logits = head.margin_logits(rows, labels).narrow(1, 0, 1).squeeze_dim::<1>(1);
        let scale = head.rule.scale();
        Ok(series(name, color, &angles, numbers(logits.div_scalar(scale))?))
    };
    let labels = ["angle to the own center, radians", "target logit / scale"];
    // Heads of one color have one line, up to pi minus the margin: what they do otherwise is elsewhere, in the scale, the draw or
    // the other classes.
    let plain = [
        (HeadKind::NormFace, 0),
        (HeadKind::AdaCos, 0),
        (HeadKind::CosFace, 1),
        (HeadKind::MvSoftmax, 1),
        (HeadKind::ArcFace, 2),
        (HeadKind::SubCenterArcFace, 2),
        (HeadKind::CurricularFace, 2),
        (HeadKind::ElasticFace, 2),
        (HeadKind::SphereFace, 3),
        (HeadKind::CombinedMargin, 4),
    ];
    let plain = plain.into_iter().map(|(kind, color)| of(kind, color, 10.0, kind.name()));
    let seeing = [
        of(HeadKind::NormFace, 0, 10.0, "no margin")?,
        of(HeadKind::MagFace, 1, 10.0, "MagFace, length 10")?,
        of(HeadKind::MagFace, 2, 110.0, "MagFace, length 110")?,
        of(HeadKind::AdaFace, 3, 5.0, "AdaFace, short")?,
        of(HeadKind::AdaFace, 4, 60.0, "AdaFace, long")?,
        of(HeadKind::UniFace, 5, 10.0, "UniFace")?,
        of(HeadKind::SphereFace2, 6, 10.0, "SphereFace2")?,
    ];
    Ok(vec![
        chart("one margin for all", labels, plain.collect::<Result<_>>()?),
        chart("margins that see the length, and binary heads", labels, seeing.into()),
    ])
}

/// Where two-dimensional embeddings of new samples end up.
fn circles(device: &Device) -> Result<Vec<Chart>> {
    Way::ALL
        .into_iter()
        .map(|way| {
            let embeddings = circle::train(way, device)?;
            let of_class = |class: usize| {
                let points = embeddings.iter().filter(|(_, its)| *its == class).map(|(place, _)| *place).collect();
                Series { name: format!("class {class}"), points, ink: Ink::Bright(class), joined: false }
            };
            Ok(chart(way.name(), ["", ""], (0..circle::CLASSES).map(of_class).collect()))
        })
        .collect()
}

/// The rows of a table, by the beginning of its first line.
fn rows<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let lines = text.lines().skip_while(move |line| !line.starts_with(heading)).skip(2);
    lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// The processor time of the losses, as a share of the peer's, from the smallest to the largest.
fn ratios(table: &str) -> Result<Vec<(String, f64)>> {
    let mut rows: Vec<(String, f64)> = rows(table, "| loss | size |")
        .filter_map(|cells| {
            let ratio: f64 = cells.get(4)?.parse().ok()?;
            let is_ours = !cells[0].starts_with("burn-") && ratio > 0.0;
            is_ours.then(|| (format!("{}, {}", cells[0].trim_end_matches(" °"), cells[1]), ratio))
        })
        .collect();
    ensure!(rows.len() > 20, "the table of measured ratios has {} rows", rows.len());
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(rows)
}

/// What the two tables of heads and losses of pairs say of memory: `ours / theirs`, in the last column of each.
fn memory(table: &str) -> Result<Vec<(String, f64)>> {
    let share = |cells: &[&str]| -> Option<f64> {
        let (ours, theirs) = cells.last()?.split_once(" / ")?;
        Some(ours.parse::<f64>().ok()? / theirs.parse::<f64>().ok()?)
    };
    let heads = rows(table, "| classes × dimensions | flex |")
        .filter_map(|cells| Some((format!("ArcFace, 256 of {}", cells[0]), share(&cells)?)));
    // Without what is said after the name, for which there is no room.
    let name = |cell: &str| cell.split(',').next().unwrap_or(cell).replace('`', "");
    let losses = rows(table, "| loss | batch × dimensions |")
        .filter_map(|cells| Some((format!("{}, {}", name(cells[0]), cells[1]), share(&cells)?)));
    let mut rows: Vec<(String, f64)> = heads.chain(losses).collect();
    ensure!(rows.len() == 9, "the tables of memory have {} rows, and not 9", rows.len());
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(rows)
}
