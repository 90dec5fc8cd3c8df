use core::sync::atomic::AtomicBool;

use burn::module::{Initializer, Module, Param, RunningState};
use burn::tensor::{Device, Int, Tensor, assert_shape};

use burn_losses_kernels::logsumexp::Streaming;
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

use crate::fast_path::warn_without_fast_path;
use crate::labels::{ClassLabels, LabelPolicy, SafeLabels};

/// One trained center per class, or several, compared with embeddings by direction only; what every head is made of.
///
/// Where a class has several, its cosine is that of the nearest.
///
/// The weights are free vectors; they are divided by their length whenever they are used, so their length changes
/// nothing but the speed at which they turn.
#[derive(Module, Debug)]
pub struct ClassCenters {
    /// The centers before normalisation, `[classes, embedding_dim]`, or `[classes·sub_centers, embedding_dim]` with those
    /// of class 0 first. Replace it to start from known centers.
    pub weight: Param<Tensor<2>>,
    sub_centers: usize,
    #[module(skip)]
    labels: ClassLabels,
    #[module(skip)]
    pub(crate) streaming: Streaming,
}

impl ClassCenters {
    /// Random centers of `[classes, embedding_dim]`, for a head of your own; `head` names it in messages.
    ///
    /// # Panics
    ///
    /// If `classes` or `embedding_dim` is 0, or the ignored label does not fit 32 bits.
    pub fn new(
        head: &str,
        [classes, embedding_dim]: [usize; 2],
        initializer: &Initializer,
        labels: &LabelPolicy,
        device: &Device,
    ) -> Self {
        assert!(classes >= 1, "{head}: classes must be >= 1, got {classes}");
        assert!(embedding_dim >= 1, "{head}: embedding_dim must be >= 1, got {embedding_dim}");
        static SAID: AtomicBool = AtomicBool::new(false);
        warn_without_fast_path(head, device, &SAID);

        Self {
            weight: initializer.init([classes, embedding_dim], device),
            sub_centers: 1,
            labels: ClassLabels::new(head, labels),
            streaming: Streaming::new(),
        }
    }

    /// The same classes with `sub_centers` new random centers each.
    ///
    /// # Panics
    ///
    /// If `sub_centers` is 0.
    pub fn with_sub_centers(self, sub_centers: usize, initializer: &Initializer) -> Self {
        assert!(sub_centers >= 1, "sub_centers must be >= 1, got 0");
        let size = [self.classes() * sub_centers, self.embedding_dim()];
        Self { weight: initializer.init(size, &self.weight.device()), sub_centers, ..self }
    }

    /// How the comparison with a batch trades memory for time.
    ///
    /// # Panics
    ///
    /// If `streaming.block` is 0.
    pub fn with_streaming(self, streaming: Streaming) -> Self {
        assert!(streaming.block != Some(0), "streaming.block must be >= 1, got 0");
        Self { streaming, ..self }
    }

    /// Other centers with the same settings, `[classes·sub_centers, embedding_dim]`.
    ///
    /// # Panics
    ///
    /// If the embeddings have another length, or a class would have fewer centers than others.
    pub fn with_weight(self, weight: Param<Tensor<2>>) -> Self {
        let [rows, embedding_dim] = weight.shape().dims::<2>();
        assert!(
            rows.is_multiple_of(self.sub_centers),
            "ClassCenters: weight must have {} rows per class",
            self.sub_centers
        );
        assert_eq!(embedding_dim, self.embedding_dim(), "ClassCenters: weight must have columns as before");
        Self { weight, ..self }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.weight.shape().dims::<2>()[0] / self.sub_centers
    }

    /// How many centers a class has.
    pub fn sub_centers(&self) -> usize {
        self.sub_centers
    }

    /// The length of an embedding.
    pub fn embedding_dim(&self) -> usize {
        self.weight.shape().dims::<2>()[1]
    }

    /// A copy of what a head has measured or drawn, beside these centers; clones share it.
    pub(crate) fn copy_of(&self, state: &RunningState<Tensor<1>>) -> RunningState<Tensor<1>> {
        RunningState::new(state.value().to_device(&self.weight.device().inner()).detach())
    }

    /// The cosine of every embedding with every class.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch, classes]`
    pub fn cosines(&self, embeddings: Tensor<2>) -> Tensor<2> {
        let dtype = embeddings.dtype();
        let [batch, _] = embeddings.dims();
        assert_shape!(embeddings, [batch, self.embedding_dim()]);
        if batch == 0 {
            // A product with an empty batch divides by zero on one backend and returns stale memory on another.
            return Tensor::zeros([0, self.classes()], (&embeddings.device(), dtype));
        }
        let embeddings = widen(embeddings);
        let centers = unit_rows(cast_to(self.weight.val(), embeddings.dtype()));
        let cosines = self.nearest(unit_rows(embeddings).matmul(centers.transpose()));
        cast_to(cosines, dtype)
    }

    /// The cosine of the nearest center of every class, from those of all centers.
    fn nearest(&self, cosines: Tensor<2>) -> Tensor<2> {
        if self.sub_centers == 1 {
            return cosines;
        }
        let [batch, _] = cosines.dims();
        let by_class = cosines.reshape([batch, self.classes(), self.sub_centers]);
        by_class.max_dim(2).reshape([batch, self.classes()])
    }

    /// The rows of the weight that are centers of the given classes: `sub_centers` for each.
    pub(crate) fn rows_of(&self, classes: Tensor<1, Int>) -> Tensor<1, Int> {
        let ([count], sub_centers) = (classes.dims(), self.sub_centers);
        if sub_centers == 1 {
            return classes;
        }
        let shape = [count, sub_centers];
        let each = Tensor::<1, Int>::arange(0..sub_centers as i64, (&classes.device(), classes.dtype()));
        let first = classes.mul_scalar(sub_centers as i64).unsqueeze_dim::<2>(1).expand(shape);
        (first + each.unsqueeze_dim::<2>(0).expand(shape)).reshape([count * sub_centers])
    }

    /// The cosine of every embedding with each center of its own class, `[batch, sub_centers]`.
    pub(crate) fn own_center_cosines(&self, embeddings: Tensor<2>, index: Tensor<1, Int>) -> Tensor<2> {
        let ([batch, dim], sub_centers) = (embeddings.dims(), self.sub_centers);
        let embeddings = widen(embeddings);
        let own = cast_to(self.weight.val().select(0, self.rows_of(index)), embeddings.dtype());
        let own = unit_rows(own).reshape([batch, sub_centers, dim]);
        let embeddings = unit_rows(embeddings).unsqueeze_dim::<3>(1).expand([batch, sub_centers, dim]);
        (embeddings * own).sum_dim(2).squeeze_dim(2)
    }

    /// The cosine of every embedding with its own class, `[batch]`; only the centers of that are looked at.
    pub(crate) fn own_cosines(&self, embeddings: Tensor<2>, index: Tensor<1, Int>) -> Tensor<1> {
        self.own_center_cosines(embeddings, index).max_dim(1).squeeze_dim(1)
    }

    /// How many labels are neither a class nor the ignored one, `[1]`; stays on the device.
    pub(crate) fn count_bad(&self, labels: Tensor<1, Int>) -> Tensor<1, Int> {
        self.labels.count_bad(labels, self.classes())
    }

    /// Checks the shapes of a batch and makes its labels safe.
    #[track_caller]
    pub(crate) fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        self.check_among(self.classes(), embeddings, labels)
    }

    /// As `check`, where these centers are some of `classes`.
    #[track_caller]
    pub(crate) fn check_among(&self, classes: usize, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        let [batch, _] = embeddings.dims();
        assert_shape!(embeddings, [batch, self.embedding_dim()]);
        assert_shape!(labels, [batch]);

        self.labels.check(labels, classes)
    }
}
