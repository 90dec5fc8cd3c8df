//! The head: a loss that is trained together with the trunk and thrown away afterwards.

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{Linear, LinearConfig};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};
use burn::tensor::{Device, Int, Tensor};
use burn_losses::center::{CenterLoss, CenterLossConfig};
use burn_losses::diagnostics::ClassCosines;
use burn_losses::heads::AnyHead;
use burn_losses::labels::LabelPolicy;

use crate::settings::loss::{LossKind, LossSettings};

/// One of the losses to choose from; its parameters lie under the path `head.`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // A run has one head, so its size does not matter.
pub enum Head {
    /// See [`LossKind::Head`].
    Margin(AnyHead),
    /// See [`LossKind::Softmax`] and [`LossKind::SoftmaxCenter`].
    Softmax(SoftmaxHead),
}

/// What a head makes of a batch.
pub struct HeadOutput {
    /// What is minimised, of shape `[1]`.
    pub loss: Tensor<1>,
    /// Cosines between each embedding and the centers of its own and of the nearest other class; not trained.
    pub cosines: ClassCosines,
}

impl Head {
    /// Builds the head of a loss for so many classes.
    ///
    /// # Panics
    ///
    /// If `settings` were not [resolved](LossSettings::resolve) for this loss.
    pub fn new(
        loss: LossKind,
        settings: &LossSettings,
        classes: usize,
        embedding_size: usize,
        device: &Device,
    ) -> Self {
        let setting = |name: &str, value: Option<f64>| {
            value.unwrap_or_else(|| panic!("Head: {name} of {loss} must be resolved first"))
        };
        match loss {
            LossKind::Head(kind) => Self::Margin(settings.head_config(kind, classes, embedding_size).init(device)),
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
        }
    }

    /// What embeddings are compared with, as PyTorch's `Linear` and arcface_torch's heads have it: `weight`,
    /// `[classes, embedding_size]`, with the centers of a class in a row where it has several, and the `bias` of a
    /// linear layer.
    pub(crate) fn to_pytorch(&self) -> Vec<Stored> {
        let module = match self {
            Self::Margin(_) => "centers.",
            Self::Softmax(_) => "linear.",
        };
        let tensors = self.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
        let of_module = |mut tensor: Stored| {
            tensor.name = tensor.name.strip_prefix(module)?.to_string();
            Some(tensor)
        };
        tensors.into_iter().filter_map(of_module).collect()
    }

    /// The loss of a batch.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_size]`
    /// - labels: `[batch]`
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> HeadOutput {
        match self {
            Self::Margin(head) => HeadOutput {
                cosines: ClassCosines::with_centers(&head.centers, embeddings.clone(), labels.clone()),
                loss: head.forward(embeddings, labels),
            },
            Self::Softmax(head) => head.forward(embeddings, labels),
        }
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
