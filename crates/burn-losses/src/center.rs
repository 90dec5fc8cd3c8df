//! Center loss and the update of its centers.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor};

use crate::EmbeddingLoss;
use crate::identities::one_of_each;
use crate::labels::{ClassLabels, LabelPolicy, SafeLabels, silence};
use crate::module::inherent_forward;
use crate::optim::RowGradient;
use crate::reduction::{EmbeddingReduction, zero_of};
use crate::shape::check_shape;
use crate::state::State;
use burn_losses_kernels::drawn_rows::drawn_rows;
use burn_losses_kernels::elements::{Element, sums_of_rows};
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
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub update_rate: f64,
    /// How the centers move.
    /// Default: `CenterMode::Updated`.
    #[config(default = "CenterMode::Updated")]
    pub mode: CenterMode,
    /// How the centers start.
    /// Default: `Initializer::Zeros`.
    #[config(default = "Initializer::Zeros")]
    pub initializer: Initializer,
    /// How the losses of a batch become one number. The paper sums them; a mean does not depend on the batch size.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
    /// Which labels are ignored, and whether bad ones panic.
    /// Default: `LabelPolicy::new()`.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// What the gradient of trained centers is: for any optimizer, or for one of [`optim`](crate::optim), which costs in
    /// proportion to the batch, and one integer per class.
    /// Default: `RowGradient::Dense`.
    #[config(default = "RowGradient::Dense")]
    pub gradient: RowGradient,
}

impl CenterLossConfig {
    /// Builds the loss with its centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> CenterLoss {
        let Self { classes, embedding_dim, update_rate, .. } = *self;
        assert!(classes >= 1, "CenterLoss: classes must be >= 1, got {classes}");
        assert!(embedding_dim >= 1, "CenterLoss: embedding_dim must be >= 1, got {embedding_dim}");
        assert!((0.0..=1.0).contains(&update_rate), "CenterLoss: update_rate must be in [0, 1], got {update_rate}");
        let labels = ClassLabels::new("CenterLoss", &self.labels);

        let centers = self.initializer.init::<2, _>([classes, embedding_dim], device);
        let centers = match self.mode {
            CenterMode::Updated => Centers::Updated(State::new(centers.val())),
            CenterMode::Trained => Centers::Trained(centers),
        };
        CenterLoss { centers, update_rate, reduction: self.reduction, labels, gradient: self.gradient }
    }
}

/// The centers, in the two ways they can be held: as state that is saved and not trained, or as a parameter.
#[derive(Module, Debug)]
enum Centers {
    Updated(State<Tensor<2>>),
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
/// compact, the other loss keeps the classes apart. The paper sums the losses of a batch; here the mean is the default,
/// so that the weight does not depend on the batch size.
///
/// The centers are [`State`]: saved and loaded with the module, moved by `to_device`, read by
/// [`centers`](Self::centers), shared by clones, and updated by every forward on an autodiff device (never in evaluation,
/// nor when the module is frozen). Rows with a NaN or an infinite number, and rows without a class, change no center. An
/// update takes time and memory in proportion to the batch, whatever the number of classes, unless the centers it writes
/// to are held elsewhere: by a clone of the tensor, or a copy for evaluation. It is computed in `f32` where the centers
/// are in half precision.
///
/// Threads may train clones at the same time: the update of each is added in full, computed from the centers that its
/// forward has seen.
///
/// # When to take it
///
/// Beside a cross-entropy, for classes that should be tight as well as apart. A head with a margin, such as
/// [`ArcFace`](crate::heads::ArcFace), does both by itself.
///
/// # Source
///
/// Wen, Zhang, Li, Qiao: [A Discriminative Feature Learning Approach for Deep Face
/// Recognition](https://ydwen.github.io/papers/WenECCV16.pdf), 2016, section 3.2, equations 2 to 4.
///
/// # Example
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
    #[module(skip)]
    reduction: EmbeddingReduction,
    #[module(skip)]
    labels: ClassLabels,
    #[module(skip)]
    gradient: RowGradient,
}

inherent_forward!(CenterLoss);

impl EmbeddingLoss for CenterLoss {
    /// Of the rows that have a class, 0 when none has; then moves the centers, if in training.
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return zero_of(embeddings, self.centers());
        }
        let losses = self.losses(embeddings, labels.clone());

        cast_to(self.reduction.apply_valid(losses, labels.valid), dtype)
    }

    /// The loss of every row, 0 if it has no class; then moves the centers, if in training.
    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);

        cast_to(self.losses(embeddings, labels), dtype)
    }
}

impl CenterLoss {
    /// Where the centers are, `[classes, embedding_dim]`.
    pub fn centers(&self) -> Tensor<2> {
        match &self.centers {
            Centers::Updated(state) => state.value(),
            Centers::Trained(parameter) => parameter.val(),
        }
    }

    /// The module with its centers at `centers`, `[classes, embedding_dim]`.
    ///
    /// # Panics
    ///
    /// If the shape differs.
    #[track_caller]
    pub fn with_centers(self, centers: Tensor<2>) -> Self {
        let [classes, embedding_dim] = self.centers().dims();
        check_shape("CenterLoss", "centers", centers.dims(), [classes, embedding_dim]);
        let centers = match self.centers {
            Centers::Updated(state) => Centers::Updated(state.copy_with(|_| centers)),
            Centers::Trained(_) => Centers::Trained(Param::from_tensor(centers)),
        };
        Self { centers, ..self }
    }

    #[track_caller]
    fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        let [classes, embedding_dim] = self.centers().dims();
        let [batch, _] = embeddings.dims();
        check_shape("CenterLoss", "embeddings", embeddings.dims(), [batch, embedding_dim]);
        check_shape("CenterLoss", "labels", labels.dims(), [batch]);

        self.labels.check(labels, classes)
    }

    fn losses(&self, embeddings: Tensor<2>, SafeLabels { index, valid }: SafeLabels) -> Tensor<1> {
        let [batch, _] = embeddings.dims();
        if batch == 0 {
            return embeddings.reshape([0]);
        }
        let embeddings = silence(widen(embeddings), valid.clone());
        let own = silence(self.centers_of(index.clone(), &valid, &embeddings), valid.clone());
        let half_square = Element::Penalty { absolute: 0.0, square: 1.0 };
        let losses = sums_of_rows(embeddings.clone(), own.clone(), half_square);

        if let Centers::Updated(state) = &self.centers
            && state.moves_on(&embeddings.device())
        {
            // A row so far away that its loss is infinite would take the center there.
            let counted = valid.without_autodiff().bool_and(losses.clone().without_autodiff().is_finite());
            let difference = embeddings.without_autodiff() - own.without_autodiff();
            self.update(state, difference, index.without_autodiff(), counted);
        }
        losses
    }

    /// The center of every row, on the device and in the precision of `embeddings`.
    fn centers_of(&self, index: Tensor<1, Int>, valid: &Tensor<1, Bool>, embeddings: &Tensor<2>) -> Tensor<2> {
        // Clones on other devices may have taken the shared centers along; the rows come back, not all of them.
        let centers = self.centers();
        let (home, device) = (embeddings.device(), centers.device());
        let rows = match (&self.centers, self.gradient) {
            (Centers::Trained(_), RowGradient::Drawn) => {
                // A class that several rows have gets its gradient in one of them; rows without a class are one more.
                let ([classes, _], [batch]) = (centers.dims(), index.dims());
                let class = index.clone().mask_fill(valid.clone().bool_not(), classes as i64);
                let one = one_of_each(class, classes + 1);
                let places = Tensor::<1, Int>::arange(0..batch as i64, (&one.device(), one.dtype()));
                let counted = one.clone().equal(places).bool_and(valid.clone());
                let [index, one] = [index, one].map(|places| places.to_device(&device));
                drawn_rows(centers, index, counted.to_device(&device)).select(0, one)
            }
            _ => centers.select(0, index.to_device(&device)),
        };
        cast_to(rows.to_device(&home), embeddings.dtype())
    }

    /// Moves the centers of the classes in the batch, given `embeddings - centers` of every row and which rows count.
    fn update(&self, state: &State<Tensor<2>>, difference: Tensor<2>, index: Tensor<1, Int>, counted: Tensor<1, Bool>) {
        let [batch, dim] = difference.dims();
        let [classes, _] = self.centers().dims();
        let (device, dtype) = (&difference.device(), difference.dtype());

        // The rows of a class are summed in one of them, so that a center in half precision is rounded once; those that do
        // not count in a row behind the last.
        let one_of_class = one_of_each(index.clone(), classes).mask_fill(counted.bool_not(), batch as i64);
        let ones = Tensor::<1>::ones([batch], (device, dtype));
        let count = Tensor::<1>::ones([batch + 1], (device, dtype)).select_assign(
            0,
            one_of_class.clone(),
            ones,
            IndexingUpdateOp::Add,
        );
        // Adding -0.0 leaves every number as it is, to the bit.
        let sum = Tensor::<2>::full([batch + 1, dim], -0.0, (device, dtype)).select_assign(
            0,
            one_of_class,
            difference,
            IndexingUpdateOp::Add,
        );
        let shares = count.narrow(0, 0, batch).recip().mul_scalar(self.update_rate).unsqueeze_dim::<2>(1);
        let steps = sum.narrow(0, 0, batch) * shares.expand([batch, dim]);

        state.update_in_place(|centers| {
            let device = centers.device();
            let steps = cast_to(steps.to_device(&device), centers.dtype());
            centers.select_assign(0, index.to_device(&device), steps, IndexingUpdateOp::Add)
        });
    }
}
