use alloc::vec::Vec;

use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Bool, DType, Int, Tensor};

use burn_losses_kernels::math::{cast_to, widen};
use burn_losses_kernels::scores::Scale;

use super::comparison::{CenterChoice, Comparison, cosines};
use super::rule::{Batch, MarginRule, Target};
use super::{Centers, ClassCenters};
use crate::embedding_loss::EmbeddingLoss;
use crate::labels::{SafeLabels, silence};
use crate::reduction::{EmbeddingReduction, zero_of};

/// An angular-margin head: class centers, and a margin rule that says which head it is.
///
/// With unit embeddings `x`, unit class centers `w` and labels `y`:
///
/// ```text
/// target[i]    = <x[i], w[y[i]]>
/// negatives[i] = log(sum over j != y[i] of exp(scale·<x[i], w[j]>))
/// loss[i]      = softplus(negatives[i] - scale·margin(target[i]))
///              = -log softmax of the scaled cosines at y[i], the one of the label replaced by margin(target[i])
/// ```
///
/// The margin sees one number per sample, never the `[batch, classes]` scores: those are streamed over blocks of classes,
/// on every backend whose feature is on in this crate. Embeddings and centers are divided by their length inside; an
/// embedding of length 0 has cosine 0 with everything. Labels that are ignored or out of range give their row loss 0 and
/// gradient 0, see [`labels`](crate::labels).
///
/// [`ArcFace`](super::ArcFace), [`CosFace`](super::CosFace) and all others are names of this type with a rule.
/// The fields are public: a margin, a scale or the centers may be changed between two epochs, and the rest stays as it
/// is.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::ArcFaceConfig;
///
/// let device = Device::default().autodiff();
/// let mut head = ArcFaceConfig::new(10, 4).with_margin(0.2).init(&device);
/// let labels = Tensor::<1, Int>::from_ints([0, 9], &device);
/// let loss = head.forward(Tensor::ones([2, 4], &device), labels.clone());
///
/// // A larger margin for the next epoch; the centers stay.
/// head.rule.margin = 0.5;
/// let harder = head.forward(Tensor::ones([2, 4], &device), labels);
/// assert!(harder.into_scalar::<f32>() > loss.into_scalar::<f32>());
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Head<R: MarginRule, C: Centers = ClassCenters> {
    /// The trained class centers.
    pub centers: C,
    /// The margin and what belongs to it, with the settings of the head.
    pub rule: R,
    /// How the losses of a batch become one number.
    #[module(skip)]
    pub reduction: EmbeddingReduction,
}

impl<R: MarginRule, C: Centers> Head<R, C> {
    /// A head of these centers and this rule.
    ///
    /// # Panics
    ///
    /// If a setting of the rule is out of its range.
    #[track_caller]
    pub fn with_rule(centers: C, rule: R, reduction: EmbeddingReduction) -> Self {
        let head = Self { centers, rule, reduction };
        head.check_settings();
        head
    }

    /// The head with a share of its margin and of its scale, for schedules that let one or both rise; a clone has the centers and
    /// the state of the head in common with it. A head with two margins gets that share of both.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_losses::heads::ArcFaceConfig;
    ///
    /// let device = Device::default();
    /// let head = ArcFaceConfig::new(10, 4).with_margin(0.5).init(&device);
    /// # let (embeddings, labels) = (Tensor::ones([2, 4], &device), Tensor::<1, Int>::from_ints([0, 9], &device));
    /// // In the first tenth of the steps the margin goes from 0 to what it is.
    /// for step in [0.0_f64, 40.0, 100.0, 700.0] {
    ///     let share = (step / 100.0).min(1.0);
    ///     let now = head.clone().with_shares(share, 1.0);
    ///     assert_eq!(now.rule.margin, 0.5 * share);
    ///     let loss = now.forward(embeddings.clone(), labels.clone());
    ///     # assert!(loss.into_scalar::<f32>().is_finite());
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// If a share is negative or not finite, or is not 1 of a head without such a setting: `NormFace`, `SphereFace`, `MagFace`
    /// and `AdaCos` have no margin to share, and `AdaCos`, `SphereFace2` and `UniFace` no scale.
    #[track_caller]
    pub fn with_shares(mut self, margin: f64, scale: f64) -> Self {
        let name = self.rule.name();
        let of = |setting: &str, share: f64, numbers: Vec<&mut f64>| {
            assert!(
                (0.0..f64::INFINITY).contains(&share),
                "{name}: the share of the {setting} must be >= 0, got {share}"
            );
            assert!(share == 1.0 || !numbers.is_empty(), "{name}: has no {setting} to take a share of, got {share}");
            numbers.into_iter().for_each(|number| *number *= share);
        };
        of("margin", margin, self.rule.margins_mut());
        of("scale", scale, self.rule.scale_mut().into_iter().collect());
        self
    }

    /// The loss of a batch; a mean is over the rows that have a class, and 0 when none has.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`, of any length
    /// - labels: `[batch]`, in `0..classes`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, a setting is out of its range, or by the [`LabelPolicy`](crate::labels::LabelPolicy).
    #[track_caller]
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            let zero = |centers: &ClassCenters| zero_of(embeddings.clone(), centers.weight.val());
            return self.blocks().iter().map(zero).reduce(|sum, zero| sum + zero).expect("a head has centers");
        }
        let losses = self.losses(embeddings, labels.clone());

        cast_to(self.reduction.apply_valid(losses, labels.valid), dtype)
    }

    /// The loss of every row.
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
    #[track_caller]
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return embeddings.reshape([0]);
        }
        cast_to(self.losses(embeddings, labels), dtype)
    }

    /// Scaled cosines without a margin: the scores to predict a class with.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// If the embeddings have another length than the centers, or a setting is out of its range.
    #[track_caller]
    pub fn logits(&self, embeddings: Tensor<2>) -> Tensor<2> {
        self.check_settings();
        let [batch, _] = embeddings.dims();
        let cosines = cosines(self.blocks(), embeddings);
        // An elementwise operation on an empty matrix overflows in Burn's GPU backends.
        if batch == 0 { cosines } else { times(cosines, &self.scale()) }
    }

    /// Scaled cosines with the margin on the class of the label, for a cross-entropy of your own. Rows without a class
    /// are 0.
    ///
    /// It moves no state: what a rule draws or measures is as the latest forward left it. The other classes are as in
    /// [`logits`](Self::logits), and no [`penalty`](MarginRule::penalty) is in them: where a rule has its own
    /// [`negatives`](MarginRule::negatives) or [`loss`](MarginRule::loss), their cross-entropy is not the loss.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    #[track_caller]
    pub fn margin_logits(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        let ([batch, _], classes) = (embeddings.dims(), self.centers.classes());
        if batch == 0 {
            return self.logits(embeddings);
        }
        let valid = labels.valid.clone();
        let embeddings = widen(silence(embeddings, valid.clone()));
        let cosine = Comparison::with_all(self.blocks(), &embeddings, &labels.index_or_none()).target_cosines();
        let target = self.rule.target(&Target::new(cosine, valid.clone(), embeddings.clone()));
        let replaced = is_target(labels.index, classes).bool_and(valid.unsqueeze_dim::<2>(1).expand([batch, classes]));
        let target = target.unsqueeze_dim::<2>(1).expand([batch, classes]);
        let cosines = cosines(self.blocks(), embeddings).mask_where(replaced, target);

        cast_to(times(cosines, &self.scale()), dtype)
    }

    /// The cosine of every embedding with the center of its label, without a margin: what training is about, and worth
    /// printing as an angle. 0 for rows without a class.
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
    #[track_caller]
    pub fn target_cosine(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return embeddings.reshape([0]);
        }
        let embeddings = silence(embeddings, labels.valid.clone());
        cast_to(Comparison::with_all(self.blocks(), &embeddings, &labels.index_or_none()).target_cosines(), dtype)
    }

    /// What the cosines are multiplied with: a number, or one that the rule measures, on its device.
    pub fn scale(&self) -> Scale {
        match self.rule.scale_factor() {
            None => self.rule.scale().into(),
            Some(factor) => {
                // In the precision of the centers before it is multiplied, or `f64` would see a rounded number.
                let dtype = match self.blocks()[0].weight.val().dtype() {
                    DType::F16 | DType::BF16 => DType::F32,
                    dtype => dtype,
                };
                cast_to(factor, dtype).mul_scalar(self.rule.scale()).into()
            }
        }
    }

    fn blocks(&self) -> &[ClassCenters] {
        self.centers.blocks()
    }

    #[track_caller]
    fn check_settings(&self) {
        let (name, scale) = (self.rule.name(), self.rule.scale());
        // Beyond it, cosines that differ by a rounding error are worlds apart.
        assert!((1e-6..=1e6).contains(&scale), "{name}: scale must be in [1e-6, 1e6], got {scale}");
        self.rule.check();
    }

    /// Checks settings and shapes, and makes the labels safe.
    #[track_caller]
    fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        self.check_settings();
        self.blocks()[0].check_among(self.centers.classes(), embeddings, labels)
    }

    /// The losses of at least one row; 0 where it has no class.
    fn losses(&self, embeddings: Tensor<2>, labels: SafeLabels) -> Tensor<1> {
        let valid = labels.valid.clone();
        let embeddings = silence(embeddings, valid.clone());
        // A sample of the classes must not hold class 0 for the sake of a row without a class.
        let index = labels.index_or_none();
        let comparison = Comparison::new(self.blocks(), &embeddings, &index);
        let offset = self.rule.offset().map(widen);
        let batch = Batch::new(&comparison, &embeddings, valid.clone(), offset.clone());
        if embeddings.device().is_autodiff() {
            self.rule.observe(&batch);
        }
        let (scale, terms) = (self.scale(), self.rule.negatives(&batch));
        let scores = comparison.scores(&scale, &terms, CenterChoice::Nearest);

        let target = Target::new(scores.target_cosine, valid.clone(), embeddings);
        let scaled = times(self.rule.target(&target), &scale);
        let scaled = match offset {
            None => scaled,
            Some(offset) => scaled.clone() + cast_to(offset.to_device(&scaled.device()), scaled.dtype()),
        };
        let losses = self.rule.loss(scores.negatives, scaled);
        let losses = match self.rule.penalty(&target) {
            None => losses,
            Some(penalty) => losses + penalty,
        };
        losses.mask_fill(valid.bool_not(), 0.0)
    }
}

impl<R: MarginRule, C: Centers> EmbeddingLoss for Head<R, C> {
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward(embeddings, labels)
    }

    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward_no_reduction(embeddings, labels)
    }
}

/// In one line: the name of the head, its size and the settings of its rule.
impl<R: MarginRule, C: Centers> ModuleDisplay for Head<R, C> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let rule = self.rule.custom_content(content.clone()).or_else(|| self.rule.content(content.clone()))?;
        let [first, rest @ ..] = self.blocks() else { return None };
        let mut content = content.set_top_level_type(self.rule.name()).add("classes", &self.centers.classes());
        content = content.add("embedding_dim", &first.embedding_dim());
        if first.sub_centers() > 1 {
            content = content.add("sub_centers", &first.sub_centers());
        }
        if first.sample_rate() < 1.0 {
            content = content.add("sample_rate", &first.sample_rate());
        }
        if !rest.is_empty() {
            content = content.add("shards", &self.blocks().len());
        }
        content.attributes.extend(rule.attributes);
        content.optional()
    }
}

/// Numbers multiplied with a scale.
fn times<const D: usize>(numbers: Tensor<D>, scale: &Scale) -> Tensor<D> {
    match scale {
        Scale::Constant(scale) => numbers.mul_scalar(*scale),
        Scale::Tensor(scale) => {
            let shape = numbers.dims();
            let scale = cast_to(scale.clone().to_device(&numbers.device()), numbers.dtype());
            numbers * scale.reshape([1; D]).expand(shape)
        }
    }
}

/// Where a class is that of the label, `[batch, classes]`.
fn is_target(index: Tensor<1, Int>, classes: usize) -> Tensor<2, Bool> {
    let [batch] = index.dims();
    let all = Tensor::<1, Int>::arange(0..classes as i64, (&index.device(), index.dtype()));
    let all = all.unsqueeze_dim::<2>(0).expand([batch, classes]);

    all.equal(index.unsqueeze_dim::<2>(1).expand([batch, classes]))
}
