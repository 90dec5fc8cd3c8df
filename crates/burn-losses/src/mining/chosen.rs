use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::pair_sums::masks_of_labels;

/// Which anchors and references are a pair, as two masks of `[anchors, references]`.
///
/// A mask has the same shape whatever is in the batch, so choosing pairs needs no read-back from the device.
#[derive(Clone, Debug)]
pub struct PairMasks {
    /// Where anchor and reference have the same identity and are not the same row.
    pub positive: Tensor<2, Bool>,
    /// Where they have different identities. What is in both masks is a negative pair to the contrastive loss.
    pub negative: Tensor<2, Bool>,
}

impl PairMasks {
    /// All pairs of a batch with itself, but for rows with themselves.
    ///
    /// # Shapes
    ///
    /// - labels: `[batch]`; a row with a negative label is in no pair
    /// - masks: `[batch, batch]`
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_losses::mining::PairMasks;
    ///
    /// let pairs = PairMasks::in_batch(Tensor::<1, Int>::from_ints([3, 3, 5, -1], &Device::default()));
    /// let count = |mask: Tensor<2, burn::tensor::Bool>| mask.int().sum().into_scalar::<i64>();
    /// assert_eq!((count(pairs.positive), count(pairs.negative)), (2, 4));
    /// ```
    pub fn in_batch(labels: Tensor<1, Int>) -> Self {
        Self::by_labels(labels.clone(), labels, true)
    }

    /// All pairs of a batch with other rows, such as those of a memory.
    ///
    /// # Shapes
    ///
    /// - labels: `[anchors]`; a row with a negative label is in no pair
    /// - reference_labels: `[references]`, likewise
    /// - masks: `[anchors, references]`
    pub fn between(labels: Tensor<1, Int>, reference_labels: Tensor<1, Int>) -> Self {
        Self::by_labels(labels, reference_labels, false)
    }

    fn by_labels(labels: Tensor<1, Int>, reference_labels: Tensor<1, Int>, in_batch: bool) -> Self {
        let shape = [labels.dims()[0], reference_labels.dims()[0]];
        if shape.contains(&0) {
            let nothing = Tensor::<2, Bool>::empty(shape, &labels.device());
            return Self { positive: nothing.clone(), negative: nothing };
        }
        let [positive, negative] = masks_of_labels(labels, reference_labels, in_batch);
        Self { positive, negative }
    }

    /// Every triplet: an anchor with each of its positives and each of its negatives.
    ///
    /// # Shapes
    ///
    /// - output: `anchors·references²` entries, those of an anchor one after the other
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_losses::mining::PairMasks;
    ///
    /// let pairs = PairMasks::in_batch(Tensor::<1, Int>::from_ints([3, 3, 5, -1], &Device::default()));
    /// // Rows 0 and 1 are each other's positive, and row 2 is the negative of both.
    /// assert_eq!(pairs.triplets().valid.int().sum().into_scalar::<i64>(), 2);
    /// ```
    pub fn triplets(&self) -> Triplets {
        let [anchors, references] = self.positive.dims();
        if anchors == 0 || references == 0 {
            let (device, none) = (self.positive.device(), Tensor::<1, Int>::zeros([0], &self.positive.device()));
            let valid = Tensor::<1, Bool>::empty([0], &device);
            return Triplets { anchor: none.clone(), positive: none.clone(), negative: none, valid };
        }
        Triplets::among_all(self.cube())
    }

    /// No pair at all.
    pub(crate) fn none([anchors, references]: [usize; 2], device: &Device) -> Self {
        let nothing = Tensor::<2, Bool>::full([anchors, references], false, device);
        Self { positive: nothing.clone(), negative: nothing }
    }

    /// Only the pairs of these anchors and these references.
    pub(crate) fn among(self, anchors: Tensor<1, Bool>, references: Tensor<1, Bool>) -> Self {
        let shape = self.positive.dims();
        if shape.contains(&0) {
            return self;
        }
        let both = anchors.unsqueeze_dim::<2>(1).expand(shape).bool_and(references.unsqueeze_dim::<2>(0).expand(shape));
        Self { positive: self.positive.bool_and(both.clone()), negative: self.negative.bool_and(both) }
    }

    /// Where `[anchor, positive, negative]` is a triplet.
    pub(super) fn cube(&self) -> Tensor<3, Bool> {
        let [anchors, references] = self.positive.dims();
        let shape = [anchors, references, references];
        let positive = self.positive.clone().unsqueeze_dim::<3>(2).expand(shape);
        let negative = self.negative.clone().unsqueeze_dim::<3>(1).expand(shape);

        positive.bool_and(negative)
    }
}

/// Anchors with a positive and a negative each, as row numbers; one entry per triplet.
///
/// Entries that are not `valid` point somewhere harmless and count for nothing, so that a miner needs no read-back from
/// the device to say how many triplets it found.
#[derive(Clone, Debug)]
pub struct Triplets {
    /// The row of the anchor, `[triplets]`.
    pub anchor: Tensor<1, Int>,
    /// The row of a reference with the same identity, `[triplets]`.
    pub positive: Tensor<1, Int>,
    /// The row of a reference with another identity, `[triplets]`.
    pub negative: Tensor<1, Int>,
    /// Whether the entry is a triplet, `[triplets]`.
    pub valid: Tensor<1, Bool>,
}

impl Triplets {
    /// Every combination of an anchor and two references, with those that are triplets marked.
    pub(super) fn among_all(valid: Tensor<3, Bool>) -> Self {
        let shape = valid.dims();
        let (count, device) = (shape.iter().product::<usize>(), valid.device());
        let numbers = |dim: usize| {
            let mut own = [1; 3];
            own[dim] = shape[dim];
            let numbers = Tensor::<1, Int>::arange(0..shape[dim] as i64, &device);
            numbers.reshape(own).expand(shape).reshape([count])
        };
        Self { anchor: numbers(0), positive: numbers(1), negative: numbers(2), valid: valid.reshape([count]) }
    }

    /// One negative for every anchor and positive, `[anchors, references]` both.
    pub(super) fn of_pairs(negative: Tensor<2, Int>, valid: Tensor<2, Bool>) -> Self {
        let [anchors, references] = valid.dims();
        let shape = [anchors, references];
        let (count, options) = (anchors * references, (&negative.device(), negative.dtype()));
        let anchor = Tensor::<1, Int>::arange(0..anchors as i64, options).unsqueeze_dim::<2>(1).expand(shape);
        let positive = Tensor::<1, Int>::arange(0..references as i64, options).unsqueeze_dim::<2>(0).expand(shape);

        Self {
            anchor: anchor.reshape([count]),
            positive: positive.reshape([count]),
            negative: negative.reshape([count]),
            valid: valid.reshape([count]),
        }
    }

    /// The same triplets, of which only those of rows that are there are valid.
    pub(crate) fn inside(self, [anchors, references]: [usize; 2]) -> Self {
        let Self { anchor, positive, negative, valid } = self;
        let mut valid = valid;
        for (column, rows) in [(&anchor, anchors), (&positive, references), (&negative, references)] {
            let there = column.clone().greater_equal_scalar(0).bool_and(column.clone().lower_scalar(rows as i64));
            valid = valid.bool_and(there);
        }
        let nowhere = valid.clone().bool_not();
        let safe = |column: Tensor<1, Int>| column.mask_fill(nowhere.clone(), 0);
        Self { anchor: safe(anchor), positive: safe(positive), negative: safe(negative), valid }
    }

    /// The same triplets, of which only those of these rows are valid. All must be of rows that are there.
    pub(crate) fn among(self, anchors: &Tensor<1, Bool>, references: &Tensor<1, Bool>) -> Self {
        let of = |known: &Tensor<1, Bool>, column: &Tensor<1, Int>| {
            known.clone().int().select(0, column.clone()).greater_scalar(0)
        };
        let valid = of(anchors, &self.anchor).bool_and(of(references, &self.positive));
        Self { valid: self.valid.bool_and(valid).bool_and(of(references, &self.negative)), ..self }
    }

    /// The pairs that the triplets are of, each once. All must be of rows that are there.
    pub(crate) fn pairs(&self, [anchors, references]: [usize; 2]) -> PairMasks {
        let count = self.valid.clone().int();
        let mask = |column: &Tensor<1, Int>| {
            let place = self.anchor.clone().mul_scalar(references as i64) + column.clone();
            let none = Tensor::<1, Int>::zeros([anchors * references], (&count.device(), count.dtype()));
            let found = none.select_assign(0, place, count.clone(), IndexingUpdateOp::Add).greater_scalar(0);
            found.reshape([anchors, references])
        };
        PairMasks { positive: mask(&self.positive), negative: mask(&self.negative) }
    }

    /// The same triplets on another device, or beside its autodiff.
    pub(super) fn on_device(self, device: &Device) -> Self {
        Self {
            anchor: self.anchor.to_device(device),
            positive: self.positive.to_device(device),
            negative: self.negative.to_device(device),
            valid: self.valid.to_device(device),
        }
    }
}
