//! Center loss and the update of its centers.

use burn::config::Config;
use burn::module::{Flag, Initializer, Module, Param, RunningState};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, assert_shape};

use crate::labels::{ClassLabels, LabelPolicy, SafeLabels};
use crate::reduction::{EmbeddingReduction, zero_of};
use burn_losses_kernels::math::{cast_to, widen};

/// How the centers of a [`CenterLoss`] move.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum CenterMode {
    /// By the rule of the paper, in every forward on an autodiff device; the optimizer never sees them.
    Updated,
    /// By the optimizer, as an ordinary parameter; `update_rate` is not used.
    Trained,
}

/// Settings of [`CenterLoss`].
#[derive(Config, Debug)]
pub struct CenterLossConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// How far the centers move in one update (the paper's alpha); in `[0, 1]`. Independent of the learning rate and
    /// of the weight this loss has beside others.
    #[config(default = 0.5)]
    pub update_rate: f64,
    /// How the centers move.
    #[config(default = "CenterMode::Updated")]
    pub mode: CenterMode,
    /// How the centers start.
    #[config(default = "Initializer::Zeros")]
    pub initializer: Initializer,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl CenterLossConfig {
    /// Builds the loss with its centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> CenterLoss {
        let Self { classes, embedding_dim, update_rate, .. } = *self;
        assert!(classes >= 1, "CenterLoss: classes must be >= 1, got {classes}");
        assert!(embedding_dim >= 1, "CenterLoss: embedding_dim must be >= 1, got {embedding_dim}");
        assert!((0.0..=1.0).contains(&update_rate), "CenterLoss: update_rate must be in [0, 1], got {update_rate}");
        let labels = ClassLabels::new("CenterLoss", &self.labels);

        let centers = self.initializer.init::<2, _>([classes, embedding_dim], device);
        let centers = match self.mode {
            CenterMode::Updated => Centers::Updated(RunningState::new(centers.val().detach())),
            CenterMode::Trained => Centers::Trained(centers),
        };
        CenterLoss { centers, update_rate, training: Param::from_bool(true), labels }
    }
}

/// The centers, in the two ways they can be held: as state that is saved and not trained, or as a parameter.
#[derive(Module, Debug)]
enum Centers {
    Updated(RunningState<Tensor<2>>),
    Trained(Param<Tensor<2>>),
}

/// Pulls every embedding to the center of its class, which follows its embeddings.
///
/// ```text
/// loss[i]    = 1/2·‖embeddings[i] - centers[labels[i]]‖²
/// delta[j]   = sum over i with labels[i] = j of (centers[j] - embeddings[i]) / (1 + count[j])
/// centers[j] = centers[j] - update_rate·delta[j]
/// ```
///
/// Used beside a classification loss, with a small weight (the paper: 0.003): it makes the embeddings of a class
/// compact, the other loss keeps the classes apart. The paper sums the losses of a batch; [`forward`](Self::forward)
/// takes their mean, so that the weight does not depend on the batch size.
///
/// The centers are state: saved and loaded with the module, moved by `to_device`, read by [`centers`](Self::centers),
/// and updated by every forward on an autodiff device (never in evaluation, nor when the module is frozen). Rows with a
/// NaN or an infinite number, and rows without a class, change no center. Memory is that of the centers and of one
/// batch; no tensor of `[batch, classes]` is made.
///
/// Clones of a module share its centers, as they share every running state in Burn: an update, a loaded record or a
/// move to another device reaches all of them; `valid()` takes a copy. Threads that train clones at the same time
/// overwrite each other's updates: train on one.
///
/// # Source
///
/// Wen, Zhang, Li, Qiao: [A Discriminative Feature Learning Approach for Deep Face
/// Recognition](https://ydwen.github.io/papers/WenECCV16.pdf), 2016, section 3.2, equations 2 to 4.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::center::CenterLossConfig;
///
/// let device = Device::default().autodiff();
/// let center_loss = CenterLossConfig::new(3, 2).init(&device);
/// let embeddings = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 4.0]], &device).require_grad();
/// let labels = Tensor::<1, Int>::from_ints([0, 2], &device);
///
/// // The centers start at zero: (1/2·4 + 1/2·16) / 2.
/// assert_eq!(center_loss.forward(embeddings, labels).into_scalar::<f32>(), 5.0);
/// // Each class had one row, so its center moved by 1/2·1/(1 + 1) of the way.
/// let centers = center_loss.centers().try_into_vec_as::<f32>().unwrap();
/// assert_eq!(centers, [0.5, 0.0, 0.0, 0.0, 0.0, 1.0]);
/// ```
#[derive(Module, Debug)]
pub struct CenterLoss {
    centers: Centers,
    update_rate: f64,
    /// Whether a forward may move the centers; `freeze` turns it off.
    training: Param<Flag>,
    #[module(skip)]
    labels: ClassLabels,
}

impl CenterLoss {
    /// The mean loss of the rows that have a class, 0 when none has; then moves the centers, if in training.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`].
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return zero_of(embeddings, self.centers());
        }
        let losses = self.losses(embeddings, labels.clone());

        cast_to(EmbeddingReduction::Mean.apply_valid(losses, labels.valid), dtype)
    }

    /// The loss of every row; then moves the centers, if in training.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);

        cast_to(self.losses(embeddings, labels), dtype)
    }

    /// Where the centers are, `[classes, embedding_dim]`.
    pub fn centers(&self) -> Tensor<2> {
        match &self.centers {
            // Every update is synced at once, so this is the latest.
            // What is read of a state may be in one backward only, unless it is detached.
            Centers::Updated(state) => state.value().detach(),
            Centers::Trained(parameter) => parameter.val(),
        }
    }

    /// The module with its centers at `centers`, `[classes, embedding_dim]`.
    ///
    /// # Panics
    ///
    /// If the shape differs.
    pub fn with_centers(self, centers: Tensor<2>) -> Self {
        let [classes, embedding_dim] = self.centers().dims();
        assert_shape!(centers, [classes, embedding_dim]);
        let centers = match self.centers {
            Centers::Updated(_) => Centers::Updated(RunningState::new(centers.detach())),
            Centers::Trained(_) => Centers::Trained(Param::from_tensor(centers)),
        };
        Self { centers, ..self }
    }

    fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        let [classes, embedding_dim] = self.centers().dims();
        let [batch, _] = embeddings.dims();
        assert_shape!(embeddings, [batch, embedding_dim]);
        assert_shape!(labels, [batch]);

        self.labels.check(labels, classes)
    }

    fn losses(&self, embeddings: Tensor<2>, SafeLabels { index, valid }: SafeLabels) -> Tensor<1> {
        let [batch, dim] = embeddings.dims();
        if batch == 0 {
            return embeddings.reshape([0]);
        }
        let embeddings = widen(embeddings);
        let training = embeddings.device().is_autodiff() && self.training.is_enabled();
        // Clones on other devices may have taken the shared centers along.
        let centers = cast_to(self.centers().to_device(&embeddings.device()), embeddings.dtype());
        let masked = valid.clone().bool_not().unsqueeze_dim::<2>(1).expand([batch, dim]);
        let difference = (embeddings - centers.select(0, index.clone())).mask_fill(masked, 0.0);

        if let (true, Centers::Updated(state)) = (training, &self.centers) {
            self.update(state, difference.clone().detach(), SafeLabels { index, valid });
        }
        difference.square().sum_dim(1).mul_scalar(0.5).squeeze_dim(1)
    }

    /// Moves the centers of the classes in the batch, given `embeddings - centers` of every row.
    fn update(&self, state: &RunningState<Tensor<2>>, difference: Tensor<2>, labels: SafeLabels) {
        let [batch, dim] = difference.dims();
        let centers = state.value().to_device(&difference.device()).detach();
        let [classes, _] = centers.dims();
        let difference = cast_to(difference, centers.dtype());
        // A row so far away that its loss is infinite would take the center there.
        let finite = difference.clone().square().sum_dim(1).is_finite().squeeze_dim::<1>(1);
        let left_out = labels.valid.bool_and(finite).bool_not();

        let ones = Tensor::<1>::ones([batch], (&centers.device(), centers.dtype()));
        let counts = Tensor::<1>::zeros([classes], (&centers.device(), centers.dtype())).select_assign(
            0,
            labels.index.clone(),
            ones.mask_fill(left_out.clone(), 0.0),
            IndexingUpdateOp::Add,
        );
        let own_count = counts.select(0, labels.index.clone());
        let rate = own_count.add_scalar(1.0).recip().mul_scalar(self.update_rate).unsqueeze_dim::<2>(1);
        // Adding -0.0 leaves every number as it is, to the bit.
        let left_out = left_out.unsqueeze_dim::<2>(1).expand([batch, dim]);
        let steps = (difference * rate).mask_fill(left_out, -0.0);

        state.update(centers.select_assign(0, labels.index, steps, IndexingUpdateOp::Add));
        // Without this the new centers would be queued, and a record saved now would hold the old ones.
        state.value_sync();
    }
}
