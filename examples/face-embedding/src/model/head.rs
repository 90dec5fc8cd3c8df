//! The head: a loss that is trained together with the trunk and thrown away afterwards.

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{Linear, LinearConfig};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};
use burn::tensor::{Device, Int, Tensor};
use burn_losses::center::{CenterLoss, CenterLossConfig};
use burn_losses::diagnostics::ClassCosines;
use burn_losses::heads::{AnyHead, AnyRule, Centers, Head as MarginHead, ShardedHead};
use burn_losses::labels::LabelPolicy;

use super::contrastive::ContrastiveHead;
use crate::settings::loss::{LossKind, LossSettings};

/// One of the losses to choose from; its parameters lie under the path `head.`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // A run has one head, so its size does not matter.
pub enum Head {
    /// See [`LossKind::Head`].
    Margin(AnyHead),
    /// The same with its classes on several devices.
    Sharded(ShardedHead<AnyRule>),
    /// See [`LossKind::Softmax`] and [`LossKind::SoftmaxCenter`].
    Softmax(SoftmaxHead),
    /// See [`LossKind::Contrastive`].
    Contrastive(ContrastiveHead),
}

/// What a head makes of a batch.
pub struct HeadOutput {
    /// What is minimised, of shape `[1]`.
    pub loss: Tensor<1>,
    /// Cosines between each embedding and the centers of its own and of the nearest other class, or without centers the other
    /// pictures of the batch; not trained.
    pub cosines: ClassCosines,
}

impl Head {
    /// Builds the head of a loss for so many classes; the seed chooses those that a batch is compared with, where these are not
    /// all.
    ///
    /// # Panics
    ///
    /// If `settings` were not [resolved](LossSettings::resolve) for this loss.
    pub fn new(
        loss: LossKind,
        settings: &LossSettings,
        classes: usize,
        embedding_size: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let setting = |name: &str, value: Option<f64>| {
            value.unwrap_or_else(|| panic!("Head: {name} of {loss} must be resolved first"))
        };
        match loss {
            LossKind::Head(kind) => {
                Self::Margin(settings.head_config(kind, classes, embedding_size, seed).init(device))
            }
            LossKind::Softmax => Self::Softmax(SoftmaxHead::new(classes, embedding_size, device)),
            LossKind::SoftmaxCenter => {
                let rate = setting("center_update_rate", settings.center_update_rate);
                let center = CenterLossConfig::new(classes, embedding_size).with_update_rate(rate);
                Self::Softmax(SoftmaxHead {
                    center: Some(center.init(device)),
                    center_weight: setting("center_weight", settings.center_weight),
                    ..SoftmaxHead::new(classes, embedding_size, device)
                })
            }
            LossKind::Contrastive(kind) => {
                Self::Contrastive(ContrastiveHead::new(kind, settings, classes, embedding_size, device))
            }
        }
    }

    /// The head with its classes on all of these devices, where it can be; as it is otherwise.
    ///
    /// # Panics
    ///
    /// If there are no devices, or more than classes.
    pub(crate) fn spread(self, devices: &[Device]) -> Self {
        let Self::Margin(head) = self else { return self };
        let first = head.centers.weight.id.val();
        let mut sharded = ShardedHead::new(head, devices);
        for (number, shard) in sharded.centers.iter_mut().enumerate() {
            // A checkpoint knows the head in one piece, and what the optimizer keeps is found by the id.
            shard.weight.id = id_of_shard(first, number).into();
        }
        Self::Sharded(sharded)
    }

    /// How many rows each shard of the centers has; none where they are in one piece.
    pub(crate) fn shard_rows(&self) -> Vec<usize> {
        match self {
            Self::Sharded(head) => head.centers.iter().map(|shard| shard.weight.shape()[0]).collect(),
            Self::Margin(_) | Self::Softmax(_) | Self::Contrastive(_) => Vec::new(),
        }
    }

    /// What embeddings are compared with, as PyTorch's `Linear` and arcface_torch's heads have it: `weight`,
    /// `[classes, embedding_size]`, with the centers of a class in a row where it has several, and the `bias` of a
    /// linear layer.
    pub(crate) fn to_pytorch(&self) -> Vec<Stored> {
        let module = match self {
            Self::Margin(_) => "centers.",
            Self::Sharded(head) => return Self::Margin(head.unshard(&head.centers[0].weight.device())).to_pytorch(),
            Self::Softmax(_) => "linear.",
            // Those that have some.
            Self::Contrastive(_) => "proxies.",
        };
        let tensors = self.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
        let of_module = |mut tensor: Stored| {
            tensor.name = tensor.name.strip_prefix(module)?.to_string();
            Some(tensor)
        };
        tensors.into_iter().filter_map(of_module).collect()
    }

    /// The loss of a batch, with these shares of the margin and of the scale.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_size]`
    /// - labels: `[batch]`
    pub fn forward(
        &self,
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        margin_share: f64,
        scale_share: f64,
    ) -> HeadOutput {
        match self {
            Self::Margin(head) => of_margin(head, embeddings, labels, margin_share, scale_share),
            Self::Sharded(head) => of_margin(head, embeddings, labels, margin_share, scale_share),
            Self::Softmax(head) => head.forward(embeddings, labels),
            Self::Contrastive(head) => HeadOutput {
                cosines: ClassCosines::in_batch(embeddings.clone(), labels.clone()),
                loss: head.forward(embeddings, labels),
            },
        }
    }
}

/// The id of the centers of a shard, from that of all of them.
pub(crate) fn id_of_shard(whole: u64, number: usize) -> u64 {
    whole.wrapping_add(number as u64)
}

/// The loss of a head, wherever its centers are, with these shares of its margin and its scale.
fn of_margin<C: Centers>(
    head: &MarginHead<AnyRule, C>,
    embeddings: Tensor<2>,
    labels: Tensor<1, Int>,
    margin_share: f64,
    scale_share: f64,
) -> HeadOutput {
    HeadOutput {
        cosines: ClassCosines::with_centers(&head.centers, embeddings.clone(), labels.clone()),
        loss: match [margin_share, scale_share] {
            [1.0, 1.0] => head.forward(embeddings, labels),
            [margin, scale] => head.clone().with_shares(margin, scale).forward(embeddings, labels),
        },
    }
}

/// A linear layer and cross-entropy, with the center loss beside it when it has a weight.
#[derive(Module, Debug)]
pub struct SoftmaxHead {
    linear: Linear,
    cross_entropy: CrossEntropyLoss,
    center: Option<CenterLoss>,
    center_weight: f64,
}

impl SoftmaxHead {
    fn new(classes: usize, embedding_size: usize, device: &Device) -> Self {
        Self {
            linear: LinearConfig::new(embedding_size, classes).init(device),
            cross_entropy: CrossEntropyLossConfig::new().init(device),
            center: None,
            center_weight: 0.0,
        }
    }

    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> HeadOutput {
        // Row `j` of the transposed weight is what class `j` is compared with.
        let classes = self.linear.weight.val().detach().transpose();
        let safe = LabelPolicy::new().sanitise("SoftmaxHead", labels.clone(), classes.dims()[0]);
        let cosines = ClassCosines::with_rows(classes, embeddings.clone(), safe);
        let logits = self.linear.forward(embeddings.clone());
        let mut loss = self.cross_entropy.forward(logits, labels.clone());
        if let Some(center) = &self.center {
            loss = loss + center.forward(embeddings, labels).mul_scalar(self.center_weight);
        }
        HeadOutput { loss, cosines }
    }
}

#[cfg(test)]
mod tests {
    use burn_losses::heads::HeadKind;

    use super::*;

    fn head(kind: HeadKind, margin: f64, cosine_margin: f64) -> AnyHead {
        let kind = LossKind::Head(kind);
        let cosine_margin = LossSettings::defaults(kind).cosine_margin.map(|_| cosine_margin);
        let settings = LossSettings { margin: Some(margin), cosine_margin, ..LossSettings::default() };
        let settings = settings.resolve(kind).expect("in range");
        // In evaluation: a head that draws its margins does not.
        match Head::new(kind, &settings, 5, 4, 0, &Device::flex()) {
            Head::Margin(head) => head,
            Head::Sharded(_) | Head::Softmax(_) | Head::Contrastive(_) => panic!("{kind} has no margin"),
        }
    }

    fn loss(head: AnyHead, share: f64) -> f64 {
        let numbers: Vec<f32> = (0..24).map(|place| (place as f32 * 1.7).sin()).collect();
        let embeddings = Tensor::<1>::from_data(numbers.as_slice(), &Device::flex()).reshape([6, 4]);
        let labels = Tensor::from_ints([0, 1, 2, 3, 4, 0], &Device::flex());
        Head::Margin(head).forward(embeddings, labels, share, 1.0).loss.into_scalar()
    }

    /// A quarter of a scale is the scale of a quarter, in every head whose settings take one that rises.
    #[test]
    fn every_scale_can_rise() {
        let numbers: Vec<f32> = (0..24).map(|place| (place as f32 * 1.7).sin()).collect();
        let embeddings = Tensor::<1>::from_data(numbers.as_slice(), &Device::flex()).reshape([6, 4]);
        let labels = Tensor::from_ints([0, 1, 2, 3, 4, 0], &Device::flex());
        let loss = |head: AnyHead, share: f64| -> f64 {
            Head::Margin(head).forward(embeddings.clone(), labels.clone(), 1.0, share).loss.into_scalar()
        };
        let mut rising = 0;
        for kind in HeadKind::ALL {
            let of = |scale: f64| {
                let settings = LossSettings { scale: Some(scale), ..LossSettings::default() };
                let settings = settings.resolve(LossKind::Head(kind)).ok()?;
                match Head::new(LossKind::Head(kind), &settings, 5, 4, 0, &Device::flex()) {
                    Head::Margin(head) => Some(head),
                    Head::Sharded(_) | Head::Softmax(_) | Head::Contrastive(_) => panic!("{kind} is a head"),
                }
            };
            if !LossKind::Head(kind).has_rising_scale() {
                assert!(matches!(kind, HeadKind::AdaCos | HeadKind::SphereFace2 | HeadKind::UniFace), "{kind}");
                continue;
            }
            rising += 1;
            let (whole, mut quarter) = (of(32.0).expect("it has one"), of(8.0).expect("it has one"));
            quarter.centers.weight = whole.centers.weight.clone();
            let [whole, shared, quarter] =
                [(whole.clone(), 1.0), (whole, 0.25), (quarter, 1.0)].map(|(head, share)| loss(head, share));
            assert_eq!(shared, quarter, "{kind}");
            assert!((whole - quarter).abs() > 1e-3, "{kind}: {whole}, {quarter}");
        }
        assert_eq!(rising, 11);
    }

    /// A quarter of a margin is the margin of a quarter, in every head whose settings have one.
    #[test]
    fn every_margin_can_rise() {
        let mut with_margin = 0;
        for kind in HeadKind::ALL {
            if LossSettings::defaults(LossKind::Head(kind)).margin.is_none() {
                continue;
            }
            with_margin += 1;
            let (whole, mut quarter) = (head(kind, 0.4, 0.2), head(kind, 0.1, 0.05));
            quarter.centers.weight = whole.centers.weight.clone();
            // Its threshold starts by the whole margin.
            if let (AnyRule::SphereFace2(quarter), AnyRule::SphereFace2(whole)) = (&mut quarter.rule, &whole.rule) {
                quarter.bias = whole.bias.clone();
            }
            let [whole, shared, quarter] =
                [(whole.clone(), 1.0), (whole, 0.25), (quarter, 1.0)].map(|(head, share)| loss(head, share));
            assert_eq!(shared, quarter, "{kind}");
            assert!((whole - quarter).abs() > 1e-3, "{kind}: {whole}, {quarter}");
        }
        assert_eq!(with_margin, 10);
    }
}
