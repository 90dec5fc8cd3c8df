use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::AtomicBool;

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Device, Int, Tensor};

use burn_losses_kernels::math::{cast_to, unit_rows, widen};
use burn_losses_kernels::scores::Streaming;

use super::sampling::draws_of_shard;
use crate::fast_path::warn_without_fast_path;
use crate::labels::{ClassLabels, LabelPolicy, SafeLabels};
use crate::optim::RowGradient;
use crate::random::{Draws, first_draw};
use crate::shape::check_shape;

/// Settings of [`ClassCenters`], the same in every head: how the centers start, which labels count, and what a batch is
/// compared with.
///
/// # When to take it
///
/// Only to change one of these; every head has them by default. Where classes are too many to compare with all of them,
/// take a `sample_rate` below 1; otherwise keep 1, which leaves nothing out.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_losses::heads::{ArcFaceConfig, CentersConfig};
///
/// // A tenth of a million classes per step.
/// let centers = CentersConfig::new().with_sample_rate(0.1);
/// let head = ArcFaceConfig::new(1_000_000, 1).with_centers(centers).init(&Device::default());
/// assert_eq!(head.centers.sample_rate(), 0.1);
/// ```
#[derive(Config, Debug)]
pub struct CentersConfig {
    /// How the centers start.
    /// Default: `Initializer::Normal { mean: 0.0, std: 0.01 }`.
    #[config(default = "Initializer::Normal { mean: 0.0, std: 0.01 }")]
    pub initializer: Initializer,
    /// Which labels are ignored, and whether bad ones panic.
    /// Default: `LabelPolicy::new()`.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// The share of the classes that a batch is compared with in training, besides those of its labels; in `(0, 1]`. Below 1 this is
    /// Partial FC, see [`ClassCenters`].
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub sample_rate: f64,
    /// What the classes of a sample follow from, together with the number of draws before.
    /// Default: `0`.
    #[config(default = 0)]
    pub seed: u64,
    /// How the comparison with the classes trades memory for time. It changes no result.
    /// Default: `Streaming::new()`.
    #[config(default = "Streaming::new()")]
    pub streaming: Streaming,
    /// What the gradient of the centers is where a sample of them is drawn: for any optimizer, or for one of
    /// [`optim`](crate::optim), which costs in proportion to the sample.
    /// Default: `RowGradient::Dense`.
    #[config(default = "RowGradient::Dense")]
    pub gradient: RowGradient,
}

impl Default for CentersConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl CentersConfig {
    /// Random centers on `device`, for a head of your own; `loss` names it in messages.
    ///
    /// # Panics
    ///
    /// If `classes` or `embedding_dim` is 0, or a setting is out of its range.
    #[track_caller]
    pub fn init(&self, loss: &'static str, [classes, embedding_dim]: [usize; 2], device: &Device) -> ClassCenters {
        self.init_sub_centers(loss, [classes, 1, embedding_dim], device)
    }

    /// The same with several centers per class.
    ///
    /// # Panics
    ///
    /// As [`init`](Self::init), and if `sub_centers` is 0.
    #[track_caller]
    pub fn init_sub_centers(
        &self,
        loss: &'static str,
        [classes, sub_centers, embedding_dim]: [usize; 3],
        device: &Device,
    ) -> ClassCenters {
        assert!(classes >= 1, "{loss}: classes must be >= 1, got {classes}");
        assert!(sub_centers >= 1, "{loss}: sub_centers must be >= 1, got 0");
        assert!(embedding_dim >= 1, "{loss}: embedding_dim must be >= 1, got {embedding_dim}");
        assert!(self.streaming.block != Some(0), "{loss}: streaming.block must be >= 1, got 0");
        static SAID: AtomicBool = AtomicBool::new(false);
        warn_without_fast_path(loss, device, &SAID);
        let mut centers = ClassCenters {
            weight: self.initializer.init([classes * sub_centers, embedding_dim], device),
            draws: None,
            sub_centers,
            sample_rate: 1.0,
            seed: self.seed,
            loss,
            labels: ClassLabels::new(loss, &self.labels),
            streaming: self.streaming,
            gradient: self.gradient,
        };
        centers.set_sample_rate(self.sample_rate);
        centers
    }
}

/// One trained center per class, or several, compared with embeddings by direction only: what every head is made of.
///
/// Where a class has several centers, its cosine is that of the nearest. The centers are free vectors; they are divided
/// by their length whenever they are used, so their length changes nothing but the speed at which they turn.
///
/// # A sample of the classes
///
/// With a [`sample_rate`](CentersConfig::sample_rate) below 1 a batch is compared with a random sample of the classes
/// (Partial FC):
///
/// ```text
/// sample       = the classes of the batch, and round_up(sample_rate·classes) drawn ones
/// negatives[i] = log(sum over j in sample, j != labels[i], of exp(scale·<x[i], w[j]>))
/// ```
///
/// The margin and the loss stay those of the head. The paper finds no loss of accuracy with a tenth of the classes; the
/// comparison then costs a tenth. The gradient of a class that is not in the sample is 0. By default it is dense, so every
/// optimizer works; but one with momentum or weight decay moves such a class all the same, and every one walks all classes,
/// which is then most of a step. [`RowGradient::Drawn`] and the optimizers of [`optim`](crate::optim) do neither.
///
/// The drawn classes are spread evenly: the classes, turned by a random offset, are cut into as many stretches as are
/// drawn, and one is drawn of each. Every class is drawn with the same probability. Which ones they are follows from
/// `seed` and the number of draws before, on every backend alike; both are state that is saved and loaded with the
/// module, and repeats after 2^24 draws. Nothing is read back from the device. Clones share their draws.
///
/// Without autodiff (`valid()`) nothing is drawn: a validation loss is that of all classes. Nor is it in a head that is frozen,
/// whose loss is that of all classes too, at the cost of all; nor where the sample would not be smaller than all classes, so
/// a rate of 1 compares with all.
///
/// # Source
///
/// An et al.: [Partial FC](https://arxiv.org/abs/2010.05222), 2020, section 3.3; and
/// [An et al. 2022](https://arxiv.org/abs/2203.15565).
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::{ArcFaceConfig, CentersConfig};
///
/// let device = Device::default().autodiff();
/// let centers = CentersConfig::new().with_sample_rate(0.2);
/// let mut head = ArcFaceConfig::new(1000, 4).with_scale(16.0).with_centers(centers).init(&device);
/// let embeddings = Tensor::<2>::ones([3, 4], &device);
/// let gradients = head.forward(embeddings, Tensor::<1, Int>::from_ints([0, 9, 4], &device)).backward();
///
/// let gradient = head.centers.weight.val().grad(&gradients).unwrap();
/// let moved = gradient.abs().sum_dim(1).greater_scalar(0.0).int().sum().into_scalar::<i64>();
/// assert!((200..=203).contains(&moved));
///
/// // More of them from the next epoch on; the centers stay.
/// head.centers.set_sample_rate(0.5);
/// ```
#[doc(alias = "PartialFc")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ClassCenters {
    /// The centers before normalisation, `[classes, embedding_dim]`, or `[classes·sub_centers, embedding_dim]` with those
    /// of class 0 first. Replace it to start from known centers.
    pub weight: Param<Tensor<2>>,
    /// The two halves of the seed and the number of draws, `[3]`; nothing where all classes are compared with.
    pub(crate) draws: Option<Draws>,
    sub_centers: usize,
    sample_rate: f64,
    seed: u64,
    #[module(skip)]
    loss: &'static str,
    #[module(skip)]
    labels: ClassLabels,
    #[module(skip)]
    streaming: Streaming,
    #[module(skip)]
    gradient: RowGradient,
}

/// Where the centers of a head lie: on one device ([`ClassCenters`]), or in blocks on several (a vector of them).
pub trait Centers: Module + ModuleDisplay {
    /// The blocks, in the order of the classes; at least one.
    fn blocks(&self) -> &[ClassCenters];

    /// How many classes there are in all.
    fn classes(&self) -> usize {
        self.blocks().iter().map(|block| block.weight.shape().dims::<2>()[0] / block.sub_centers).sum()
    }
}

/// Rows that stand for classes, one or several each: the centers of a head, or the weight of a linear layer, transposed.
#[derive(Clone, Debug)]
pub struct ClassRows {
    /// `[classes·sub_centers, embedding_dim]`, those of class 0 first.
    pub rows: Tensor<2>,
    /// How many a class has.
    pub sub_centers: usize,
}

impl ClassRows {
    /// `sub_centers` rows for every class.
    ///
    /// # Panics
    ///
    /// If the rows do not divide into so many.
    #[track_caller]
    pub fn new(rows: Tensor<2>, sub_centers: usize) -> Self {
        let [count, _] = rows.dims();
        let divides = sub_centers >= 1 && count.is_multiple_of(sub_centers);
        assert!(divides, "ClassRows: sub_centers must divide the {count} rows, got {sub_centers}");
        Self { rows, sub_centers }
    }
}

/// One row per class.
impl From<Tensor<2>> for ClassRows {
    fn from(rows: Tensor<2>) -> Self {
        Self::new(rows, 1)
    }
}

impl From<&ClassCenters> for ClassRows {
    fn from(centers: &ClassCenters) -> Self {
        Self::new(centers.weight.val(), centers.sub_centers)
    }
}

impl Centers for ClassCenters {
    fn blocks(&self) -> &[ClassCenters] {
        core::slice::from_ref(self)
    }
}

impl Centers for Vec<ClassCenters> {
    fn blocks(&self) -> &[ClassCenters] {
        self
    }
}

impl ClassCenters {
    /// The same settings with other centers, `[classes·sub_centers, embedding_dim]`.
    ///
    /// # Panics
    ///
    /// If the embeddings have another length, or a class would have fewer centers than others.
    #[track_caller]
    pub fn with_weight(self, weight: Param<Tensor<2>>) -> Self {
        let [rows, embedding_dim] = weight.shape().dims::<2>();
        let Self { loss, sub_centers, .. } = self;
        assert!(rows.is_multiple_of(sub_centers), "{loss}: weight must have {sub_centers} rows per class, got {rows}");
        let expected = self.embedding_dim();
        assert_eq!(embedding_dim, expected, "{loss}: weight must have {expected} columns, got {embedding_dim}");
        Self { weight, ..self }
    }

    /// Compares a batch with another share of the classes from now on, in `(0, 1]`: for another epoch, or another phase
    /// of the training. The centers stay as they are, and the draws go on.
    ///
    /// # Panics
    ///
    /// If `sample_rate` is not in `(0, 1]`, or is below 1 with more than 2^30 classes.
    #[track_caller]
    pub fn set_sample_rate(&mut self, sample_rate: f64) {
        let loss = self.loss;
        assert!(sample_rate > 0.0 && sample_rate <= 1.0, "{loss}: sample_rate must be in (0, 1], got {sample_rate}");
        if sample_rate < 1.0 && self.draws.is_none() {
            let classes = self.classes();
            assert!(classes <= 1 << 30, "{loss}: classes must be <= 2^30 for a sample_rate below 1, got {classes}");
            self.draws = Some(first_draw(self.seed, &self.weight.device()));
        }
        self.sample_rate = sample_rate;
    }

    /// How the comparison with a batch trades memory for time.
    ///
    /// # Panics
    ///
    /// If `streaming.block` is 0.
    #[track_caller]
    pub fn set_streaming(&mut self, streaming: Streaming) {
        assert!(streaming.block != Some(0), "{}: streaming.block must be >= 1, got 0", self.loss);
        self.streaming = streaming;
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        Centers::classes(self)
    }

    /// How many centers a class has.
    pub fn sub_centers(&self) -> usize {
        self.sub_centers
    }

    /// The length of an embedding.
    pub fn embedding_dim(&self) -> usize {
        self.weight.shape().dims::<2>()[1]
    }

    /// The share of the classes that a batch is compared with in training.
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate
    }

    /// How the comparison with a batch trades memory for time.
    pub fn streaming(&self) -> Streaming {
        self.streaming
    }

    /// What the gradient of the centers is where a sample of them is drawn.
    pub fn gradient(&self) -> RowGradient {
        self.gradient
    }

    /// The cosine of every embedding with every class.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// If the embeddings have another length than the centers.
    #[track_caller]
    pub fn cosines(&self, embeddings: Tensor<2>) -> Tensor<2> {
        let dtype = embeddings.dtype();
        let batch = self.check_embeddings(&embeddings);
        if batch == 0 {
            // A product with an empty batch divides by zero on one backend and returns stale memory on another.
            return Tensor::zeros([0, self.classes()], (&embeddings.device(), dtype));
        }
        let embeddings = widen(embeddings);
        let centers = unit_rows(cast_to(self.weight.val(), embeddings.dtype()));
        let cosines = nearest_of_class(unit_rows(embeddings).matmul(centers.transpose()), self.sub_centers);
        cast_to(cosines, dtype)
    }

    /// How many labels are neither a class nor the ignored one, where these centers are some of `classes`, `[1]`; stays on
    /// the device.
    pub(crate) fn count_bad(&self, labels: Tensor<1, Int>, classes: usize) -> Tensor<1, Int> {
        self.labels.count_bad(labels, classes)
    }

    /// Checks the shapes of a batch and makes its labels safe.
    #[track_caller]
    pub(crate) fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        self.check_among(self.classes(), embeddings, labels)
    }

    /// As `check`, where these centers are some of `classes`.
    #[track_caller]
    pub(crate) fn check_among(&self, classes: usize, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        let batch = self.check_embeddings(embeddings);
        check_shape(self.loss, "labels", labels.dims(), [batch]);

        self.labels.check(labels, classes)
    }

    /// How many embeddings there are, if they have the right length.
    #[track_caller]
    fn check_embeddings(&self, embeddings: &Tensor<2>) -> usize {
        let [batch, _] = embeddings.dims();
        check_shape(self.loss, "embeddings", embeddings.dims(), [batch, self.embedding_dim()]);
        batch
    }

    /// Some of the classes as a shard of this number on a device: new parameters, frozen if these are.
    pub(crate) fn block(&self, classes: Range<usize>, device: &Device, number: usize) -> Self {
        let (start, rows) = (classes.start * self.sub_centers, classes.len() * self.sub_centers);
        let weight = self.weight.val().detach().narrow(0, start, rows).to_device(device).detach();
        self.with_block(weight, device, number)
    }

    /// Blocks of the classes put together again on a device.
    pub(crate) fn joined(blocks: &[Self], device: &Device) -> Self {
        let weights = blocks.iter().map(|block| block.weight.val().detach().to_device(device).detach());
        blocks[0].with_block(Tensor::cat(weights.collect(), 0), device, 0)
    }

    fn with_block(&self, weight: Tensor<2>, device: &Device, number: usize) -> Self {
        let weight = Param::from_tensor(weight).set_require_grad(self.weight.is_require_grad());
        let draws = self.draws.as_ref().map(|draws| draws_of_shard(draws, number, device));
        Self { weight, draws, ..self.clone() }
    }
}

/// The cosine of the nearest center of every class, from those of all centers.
///
/// # Shapes
///
/// - cosines: `[batch, classes·sub_centers]`
/// - output: `[batch, classes]`
pub(crate) fn nearest_of_class(cosines: Tensor<2>, sub_centers: usize) -> Tensor<2> {
    if sub_centers == 1 {
        return cosines;
    }
    let [batch, rows] = cosines.dims();
    let classes = rows / sub_centers;
    cosines.reshape([batch, classes, sub_centers]).max_dim(2).reshape([batch, classes])
}

impl ModuleDisplay for ClassCenters {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("classes", &self.classes())
            .add("sub_centers", &self.sub_centers)
            .add("embedding_dim", &self.embedding_dim())
            .add("sample_rate", &self.sample_rate)
            .optional()
    }
}
