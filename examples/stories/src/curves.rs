//! Losses as functions of one number, with their slopes.

use anyhow::{Context, Result};
use burn::tensor::{Device, Int, Tensor};
use burn_losses::classification::{
    AsymmetricLossConfig, BinaryCrossEntropyLossConfig, BinaryFocalLossConfig, CrossEntropyLossConfig, FocalLossConfig,
    GeneralizedCrossEntropyLossConfig, MulticlassHingeLossConfig, PolyLossConfig,
};
use burn_losses::pairs::{
    CircleLossConfig, ContrastiveForm, ContrastiveLossConfig, DecoupledContrastiveLossConfig, InfoNceLossConfig,
    MarginLossConfig, MultiSimilarityLossConfig, Pairs, SigLipLossConfig, TripletLossConfig, TripletShape,
};
use burn_losses::regression::{
    CharbonnierLossConfig, HuberLossConfig, LogCoshLossConfig, LpLossConfig, MeanAbsolutePercentageErrorLossConfig,
    MeanSquaredLogarithmicErrorLossConfig, MseLoss, PoissonInput, PoissonNllLossConfig, QuantileLossConfig,
};

use crate::chart::{Axis, Chart, Ink, Series};

/// The numbers of a tensor.
///
/// # Errors
///
/// If the device does not give them.
pub fn numbers(tensor: Tensor<1>) -> Result<Vec<f64>> {
    tensor.try_into_vec_as::<f64>().map_err(|error| anyhow::anyhow!("numbers cannot be read: {error}"))
}

/// A line.
pub fn series(name: &str, color: usize, xs: &[f64], ys: Vec<f64>) -> Series {
    Series {
        name: name.to_owned(),
        points: xs.iter().copied().zip(ys).collect(),
        ink: Ink::Bright(color),
        joined: true,
    }
}

/// A chart whose axes are divided evenly.
pub fn chart(title: &str, labels: [&'static str; 2], series: Vec<Series>) -> Chart {
    Chart { title: title.to_owned(), labels, axes: [Axis::Linear; 2], series }
}

/// What the curves of one chart are functions of.
struct Topic<'a> {
    title: &'static str,
    /// The number below the chart.
    of: &'static str,
    xs: Vec<f64>,
    device: &'a Device,
    values: Vec<Series>,
    slopes: Vec<Series>,
}

impl<'a> Topic<'a> {
    fn new(title: &'static str, of: &'static str, [from, to]: [f64; 2], device: &'a Device) -> Self {
        let xs = (0..=100).map(|step| from + (to - from) * f64::from(step) / 100.0).collect();
        Self { title, of, xs, device, values: Vec::new(), slopes: Vec::new() }
    }

    /// One more curve, of a loss of many such numbers at once.
    fn curve(&mut self, name: &str, loss: impl Fn(Tensor<1>) -> Tensor<1>) -> Result<()> {
        let x = Tensor::<1>::from_data(self.xs.as_slice(), self.device).require_grad();
        let losses = loss(x.clone());
        let slopes = x.grad(&losses.clone().sum().backward()).context("the loss depends on its input")?;
        let color = self.values.len();
        self.values.push(series(name, color, &self.xs, numbers(losses.inner())?));
        self.slopes.push(series(name, color, &self.xs, numbers(slopes)?));
        Ok(())
    }

    /// One more curve, of a loss of one such number, `[1, 1]`.
    fn curve_of_one(&mut self, name: &str, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> Result<()> {
        self.curve(name, |x| {
            let count = x.dims()[0];
            let one = |place| loss(x.clone().narrow(0, place, 1).reshape([1, 1]));
            Tensor::cat((0..count).map(one).collect(), 0)
        })
    }
}

/// Charts of the losses, three in a row, and below each row their slopes.
///
/// # Errors
///
/// If the device does not give its numbers.
pub fn losses(device: &Device) -> Result<Vec<Chart>> {
    let topics = [
        of_classes(device)?,
        of_yes_and_no(device)?,
        of_errors(device)?,
        of_positive_numbers(device)?,
        of_distances(device)?,
        of_cosines(device)?,
    ];
    let mut charts = Vec::new();
    let mut slopes = Vec::new();
    for (place, topic) in topics.into_iter().enumerate() {
        charts.push(chart(topic.title, [topic.of, "loss"], topic.values));
        slopes.push(chart("their slopes", [topic.of, "slope"], topic.slopes));
        if place % 3 == 2 {
            charts.append(&mut slopes);
        }
    }
    Ok(charts)
}

fn of_classes(device: &Device) -> Result<Topic<'_>> {
    let mut topic = Topic::new("losses of classes", "log-odds of the own class", [-4.0, 4.0], device);
    // Of two classes, the own one ahead by x.
    let of_own = |x: Tensor<1>| Tensor::stack::<2>(vec![x.clone(), x.zeros_like()], 1);
    let own = |x: &Tensor<1>| Tensor::<1, Int>::zeros(x.dims(), &x.device());
    let loss = CrossEntropyLossConfig::new().init(device);
    topic.curve("cross-entropy", |x| loss.forward_no_reduction(of_own(x.clone()), own(&x)))?;
    let loss = FocalLossConfig::new().init(device);
    topic.curve("focal, gamma 2", |x| loss.forward_no_reduction(of_own(x.clone()), own(&x)))?;
    let loss = PolyLossConfig::new().init(device);
    topic.curve("poly, epsilon 1", |x| loss.forward_no_reduction(of_own(x.clone()), own(&x)))?;
    let loss = GeneralizedCrossEntropyLossConfig::new().init(device);
    topic.curve("generalized, q 0.7", |x| loss.forward_no_reduction(of_own(x.clone()), own(&x)))?;
    let loss = MulticlassHingeLossConfig::new().init(device);
    topic.curve("hinge, 2 classes", |x| loss.forward_no_reduction(of_own(x.clone()), own(&x)))?;
    Ok(topic)
}

fn of_yes_and_no(device: &Device) -> Result<Topic<'_>> {
    let mut topic = Topic::new("losses of yes and no", "logit", [-4.0, 4.0], device);
    let (yes, no) = (|x: &Tensor<1>| x.ones_like(), |x: &Tensor<1>| x.zeros_like());
    let loss = BinaryCrossEntropyLossConfig::new().init(device);
    topic.curve("cross-entropy, yes", |x| loss.forward_no_reduction(x.clone(), yes(&x)))?;
    topic.curve("cross-entropy, no", |x| loss.forward_no_reduction(x.clone(), no(&x)))?;
    let loss = BinaryFocalLossConfig::new().init(device);
    topic.curve("focal, yes", |x| loss.forward_no_reduction(x.clone(), yes(&x)))?;
    topic.curve("focal, no", |x| loss.forward_no_reduction(x.clone(), no(&x)))?;
    let loss = AsymmetricLossConfig::new().init(device);
    topic.curve("asymmetric, yes", |x| loss.forward_no_reduction(x.clone(), yes(&x)))?;
    topic.curve("asymmetric, no", |x| loss.forward_no_reduction(x.clone(), no(&x)))?;
    Ok(topic)
}

fn of_errors(device: &Device) -> Result<Topic<'_>> {
    let mut topic = Topic::new("losses of numbers", "prediction - target", [-3.0, 3.0], device);
    let zero = |x: &Tensor<1>| x.zeros_like();
    topic.curve("L2", |x| MseLoss::new().forward_no_reduction(x.clone(), zero(&x)))?;
    let loss = LpLossConfig::l1();
    topic.curve("L1", |x| loss.forward_no_reduction(x.clone(), zero(&x)))?;
    let loss = HuberLossConfig::new(1.0).init();
    topic.curve("Huber, 1", |x| loss.forward_no_reduction(x.clone(), zero(&x)))?;
    let loss = LogCoshLossConfig::new().init(device);
    topic.curve("log-cosh", |x| loss.forward_no_reduction(x.clone(), zero(&x)))?;
    let loss = CharbonnierLossConfig::new().with_epsilon(0.5).init(device);
    topic.curve("Charbonnier, 0.5", |x| loss.forward_no_reduction(x.clone(), zero(&x)))?;
    let loss = QuantileLossConfig::new().with_quantile(0.9).init(device);
    topic.curve("quantile 0.9", |x| loss.forward_no_reduction(x.clone(), zero(&x)))?;
    Ok(topic)
}

fn of_positive_numbers(device: &Device) -> Result<Topic<'_>> {
    let mut topic = Topic::new("losses of positive numbers", "prediction; the target is 1", [0.2, 4.0], device);
    let one = |x: &Tensor<1>| x.ones_like();
    let loss = MeanSquaredLogarithmicErrorLossConfig::new().init(device);
    topic.curve("squared logarithmic", |x| loss.forward_no_reduction(x.clone(), one(&x)))?;
    let loss = MeanAbsolutePercentageErrorLossConfig::new().init(device);
    topic.curve("percentage / 100", |x| loss.forward_no_reduction(x.clone(), one(&x)).mul_scalar(0.01))?;
    let loss = PoissonNllLossConfig::new().with_input(PoissonInput::Rate).init(device);
    topic.curve("Poisson, rate", |x| loss.forward_no_reduction(x.clone(), one(&x)))?;
    Ok(topic)
}

fn of_distances(device: &Device) -> Result<Topic<'_>> {
    let mut topic =
        Topic::new("losses of distances", "distance; the negative of a triplet has 0.7", [0.01, 1.5], device);
    // The negative of a triplet; a positive's is x.
    let other = 0.7;
    let pair = |x: Tensor<1>, is_same: bool| {
        let first = x.unsqueeze_dim::<2>(1);
        let same = Tensor::<1, Int>::full([first.dims()[0]], i64::from(is_same), device).bool();
        Pairs::given(first.zeros_like(), first, same)
    };
    for (form, name) in [(ContrastiveForm::Squared, "squared"), (ContrastiveForm::Hinge, "hinge")] {
        let loss = ContrastiveLossConfig::new().with_form(form).init(device);
        topic.curve(&format!("positive, {name}"), |x| loss.forward_pairs_no_reduction(&pair(x, true)))?;
        topic.curve(&format!("negative, {name}"), |x| loss.forward_pairs_no_reduction(&pair(x, false)))?;
    }
    let loss = MarginLossConfig::new().init(device);
    topic.curve_of_one("margin loss, positive", |x| loss.forward_pairs(&pair(x.squeeze_dim(1), true)))?;
    topic.curve_of_one("margin loss, negative", |x| loss.forward_pairs(&pair(x.squeeze_dim(1), false)))?;
    for (shape, name) in [(TripletShape::Hinge, "triplet, hinge"), (TripletShape::Softplus, "triplet, softplus")] {
        let loss = TripletLossConfig::new().with_shape(shape).init(device);
        topic.curve_of_one(name, |x| {
            let negative = x.clone().detach().mul_scalar(0.0).add_scalar(other);
            loss.forward_pairs(&Pairs::given_triplets(x.zeros_like(), x, negative))
        })?;
    }
    Ok(topic)
}

/// All but multi-similarity times their temperature, or through their scale: they would not fit into one chart. The slope of Circle is its
/// gradient, of which its weights are no part.
fn of_cosines(device: &Device) -> Result<Topic<'_>> {
    let mut topic =
        Topic::new("losses of cosines", "cosine of the positive; that of the negative is 0.3", [-0.5, 0.99], device);
    // An anchor, and references of its own class and of another one.
    let pairs = |x: Tensor<2>| {
        let row = |numbers: [f64; 3]| Tensor::<2>::from_data([numbers], device);
        let height = (x.clone().powi_scalar(2).neg() + 1.0).sqrt();
        let positive = Tensor::cat(vec![x.clone(), height, x.zeros_like()], 1);
        let references = Tensor::cat(vec![positive, row([0.3, 0.0, 0.91_f64.sqrt()])], 0);
        let labels = |labels: &[i64]| Tensor::<1, Int>::from_data(labels, device);
        Pairs::with_references(row([1.0, 0.0, 0.0]), labels(&[0]), (references, labels(&[0, 1])))
    };
    let loss = InfoNceLossConfig::new().init(device);
    topic.curve_of_one("InfoNCE x 0.07", |x| loss.forward_pairs(&pairs(x)).mul_scalar(0.07))?;
    let loss = DecoupledContrastiveLossConfig::new().init(device);
    topic.curve_of_one("decoupled x 0.1", |x| loss.forward_pairs(&pairs(x)).mul_scalar(0.1))?;
    let loss = SigLipLossConfig::new().init(device);
    topic.curve_of_one("SigLIP x 0.1", |x| loss.forward_pairs(&pairs(x)).mul_scalar(0.1))?;
    let loss = CircleLossConfig::new().init(device);
    topic.curve_of_one("Circle / 80", |x| loss.forward_pairs(&pairs(x)).mul_scalar(1.0 / 80.0))?;
    let loss = MultiSimilarityLossConfig::new().init(device);
    topic.curve_of_one("multi-similarity", |x| loss.forward_pairs(&pairs(x)))?;
    Ok(topic)
}
