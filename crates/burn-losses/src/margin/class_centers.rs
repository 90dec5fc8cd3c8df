use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor, assert_shape};

use burn_losses_kernels::logsumexp::Streaming;
use burn_losses_kernels::norm::unit_rows;
use burn_losses_kernels::precision::{cast_to, widen};

use crate::labels::{LabelPolicy, SafeLabels};

/// One trained center per class, compared with embeddings by direction only; what every head is made of.
///
/// The weights are free vectors; they are divided by their length whenever they are used, so their length changes
/// nothing but the speed at which they turn.
#[derive(Module, Debug)]
pub struct ClassCenters {
    /// The centers before normalisation, `[classes, embedding_dim]`. Replace it to start from known centers.
    pub weight: Param<Tensor<2>>,
    #[module(skip)]
    labels: LabelPolicy,
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
        labels.validate(head);

        Self {
            weight: initializer.init([classes, embedding_dim], device),
            labels: labels.clone(),
            streaming: Streaming::new(),
        }
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

    /// Other centers with the same settings, `[classes, embedding_dim]`.
    ///
    /// # Panics
    ///
    /// If the embeddings have another length.
    pub fn with_weight(self, weight: Param<Tensor<2>>) -> Self {
        let [_, embedding_dim] = weight.shape().dims::<2>();
        assert_eq!(embedding_dim, self.embedding_dim(), "ClassCenters: weight must have columns as before");
        Self { weight, ..self }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.weight.shape().dims::<2>()[0]
    }

    /// The length of an embedding.
    pub fn embedding_dim(&self) -> usize {
        self.weight.shape().dims::<2>()[1]
    }

    /// The cosine of every embedding with every center.
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
        cast_to(unit_rows(embeddings).matmul(centers.transpose()), dtype)
    }

    /// The cosine of every embedding with the center of its own class, `[batch]`; only these centers are looked at.
    pub(crate) fn own_cosines(&self, embeddings: Tensor<2>, index: Tensor<1, Int>) -> Tensor<1> {
        let embeddings = widen(embeddings);
        let own = cast_to(self.weight.val().select(0, index), embeddings.dtype());
        (unit_rows(embeddings) * unit_rows(own)).sum_dim(1).squeeze_dim(1)
    }

    /// The label that means "no class".
    pub(crate) fn ignore_label(&self) -> Option<i64> {
        self.labels.ignore_label
    }

    /// Checks the shapes of a batch and makes its labels safe.
    pub(crate) fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        self.check_among(self.classes(), embeddings, labels)
    }

    /// As `check`, where these centers are some of `classes`.
    pub(crate) fn check_among(&self, classes: usize, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        let [batch, _] = embeddings.dims();
        assert_shape!(embeddings, [batch, self.embedding_dim()]);
        assert_shape!(labels, [batch]);

        self.labels.sanitise(labels, classes)
    }
}
