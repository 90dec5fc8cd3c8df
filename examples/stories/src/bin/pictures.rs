//! Draws the pictures of the documentation: margins of heads, losses and their slopes, what heads make of a circle, measured time and memory.
//!
//! `cargo run --release -p stories --bin pictures`

#![forbid(unsafe_code)]

use std::f64::consts::PI;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn::module::Param;
use burn::tensor::{Device, Int, Tensor};
use burn_losses::classification::{
    CrossEntropyLossConfig, FocalLossConfig, GeneralizedCrossEntropyLossConfig, PolyLossConfig,
};
use burn_losses::heads::{AnyHeadConfig, HeadKind, MarginRule};
use burn_losses::pairs::{ContrastiveForm, ContrastiveLossConfig, Pairs};
use burn_losses::regression::{
    CharbonnierLossConfig, HuberLossConfig, LogCoshLossConfig, LpLossConfig, MseLoss, QuantileLossConfig,
};
use clap::Parser;
use stories::chart::{Axis, Chart, Ink, Series, bars, svg_in_columns};
use stories::circle::{self, Way};
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
    save(&output.join("losses.svg"), &svg_in_columns(&losses(&device)?, 3)?)?;
    save(&output.join("circle.svg"), &svg_in_columns(&circles(&device)?, 3)?)?;
    let table = std::fs::read_to_string(&measured).with_context(|| format!("{} cannot be read", measured.display()))?;
    let title = "processor time on one thread, as a share of PyTorch's or pytorch-metric-learning's (1)";
    save(&output.join("measured.svg"), &bars(title, &ratios(&table)?)?)?;
    let title = "memory beyond the gradients, as a share of PyTorch's or pytorch-metric-learning's (1)";
    save(&output.join("memory.svg"), &bars(title, &memory(&table)?)?)
}

fn numbers(tensor: Tensor<1>) -> Result<Vec<f64>> {
    tensor.try_into_vec_as::<f64>().map_err(|error| anyhow::anyhow!("numbers cannot be read: {error}"))
}

fn series(name: &str, color: usize, xs: &[f64], ys: Vec<f64>) -> Series {
    Series {
        name: name.to_owned(),
        points: xs.iter().copied().zip(ys).collect(),
        ink: Ink::Bright(color),
        joined: true,
    }
}

fn chart(title: &str, labels: [&'static str; 2], series: Vec<Series>) -> Chart {
    Chart { title: title.to_owned(), labels, axes: [Axis::Linear; 2], series }
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

/// The losses of a function of one number, and its slopes.
fn both(
    name: &str,
    color: usize,
    xs: &[f64],
    device: &Device,
    loss: impl Fn(Tensor<1>) -> Tensor<1>,
) -> Result<[Series; 2]> {
    let x = Tensor::<1>::from_data(xs, device).require_grad();
    let losses = loss(x.clone());
    let slopes = x.grad(&losses.clone().sum().backward()).context("the loss depends on its input")?;
    Ok([series(name, color, xs, numbers(losses.inner())?), series(name, color, xs, numbers(slopes)?)])
}

fn losses(device: &Device) -> Result<Vec<Chart>> {
    let xs = |from: f64, to: f64| -> Vec<f64> {
        (0..=200).map(|step| from + (to - from) * f64::from(step) / 200.0).collect()
    };
    let odds = xs(-4.0, 4.0);
    // Of two classes, the own one ahead by x.
    let of_own = |x: Tensor<1>| Tensor::stack::<2>(vec![x.clone(), x.zeros_like()], 1);
    let own = |x: &Tensor<1>| Tensor::<1, Int>::zeros(x.dims(), &x.device());
    let cross_entropy = CrossEntropyLossConfig::new().init(device);
    let focal = FocalLossConfig::new().init(device);
    let poly = PolyLossConfig::new().init(device);
    let generalized = GeneralizedCrossEntropyLossConfig::new().init(device);
    let classes = [
        both("cross-entropy", 0, &odds, device, |x| cross_entropy.forward_no_reduction(of_own(x.clone()), own(&x)))?,
        both("focal, gamma 2", 1, &odds, device, |x| focal.forward_no_reduction(of_own(x.clone()), own(&x)))?,
        both("poly, epsilon 1", 2, &odds, device, |x| poly.forward_no_reduction(of_own(x.clone()), own(&x)))?,
        both("generalized, q 0.7", 3, &odds, device, |x| generalized.forward_no_reduction(of_own(x.clone()), own(&x)))?,
    ];
    let errors = xs(-3.0, 3.0);
    let (huber, log_cosh) = (HuberLossConfig::new(1.0).init(), LogCoshLossConfig::new().init(device));
    let charbonnier = CharbonnierLossConfig::new().with_epsilon(0.5).init(device);
    let (quantile, l1) = (QuantileLossConfig::new().with_quantile(0.9).init(device), LpLossConfig::l1());
    let zero = |x: &Tensor<1>| x.zeros_like();
    let regression = [
        both("L2", 0, &errors, device, |x| MseLoss::new().forward_no_reduction(x.clone(), zero(&x)))?,
        both("L1", 1, &errors, device, |x| l1.forward_no_reduction(x.clone(), zero(&x)))?,
        both("Huber, 1", 2, &errors, device, |x| huber.forward_no_reduction(x.clone(), zero(&x)))?,
        both("log-cosh", 3, &errors, device, |x| log_cosh.forward_no_reduction(x.clone(), zero(&x)))?,
        both("Charbonnier, 0.5", 4, &errors, device, |x| charbonnier.forward_no_reduction(x.clone(), zero(&x)))?,
        both("quantile 0.9", 5, &errors, device, |x| quantile.forward_no_reduction(x.clone(), zero(&x)))?,
    ];
    let distances = xs(0.01, 1.5);
    let pair = |form: ContrastiveForm, is_same: bool| {
        let loss = ContrastiveLossConfig::new().with_form(form).init(device);
        move |x: Tensor<1>| {
            let second = x.clone().unsqueeze_dim::<2>(1);
            let same = x.clone().detach().mul_scalar(0.0).equal_scalar(if is_same { 0.0 } else { 1.0 });
            loss.forward_pairs_no_reduction(&Pairs::given(second.zeros_like(), second, same))
        }
    };
    let pairs = [
        both("positive, squared", 0, &distances, device, pair(ContrastiveForm::Squared, true))?,
        both("negative, squared", 1, &distances, device, pair(ContrastiveForm::Squared, false))?,
        both("positive, hinge", 2, &distances, device, pair(ContrastiveForm::Hinge, true))?,
        both("negative, hinge", 3, &distances, device, pair(ContrastiveForm::Hinge, false))?,
        both("negative, squared d", 4, &distances, device, pair(ContrastiveForm::SquaredDistance, false))?,
    ];
    let titles = [
        ("losses of classes", "log-odds of the own class"),
        ("losses of numbers", "prediction - target"),
        ("contrastive losses", "distance"),
    ];
    let (mut above, mut below) = (Vec::new(), Vec::new());
    for ((title, x), curves) in titles.into_iter().zip([Vec::from(classes), Vec::from(regression), Vec::from(pairs)]) {
        let (values, slopes) = curves.into_iter().map(|[value, slope]| (value, slope)).unzip();
        above.push(chart(title, [x, "loss"], values));
        below.push(chart("their slopes", [x, "slope"], slopes));
    }
    above.extend(below);
    Ok(above)
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
