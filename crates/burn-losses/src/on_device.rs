//! What a comparison takes along to another device.

use burn::tensor::{Device, Tensor};
use burn_losses_kernels::scores::{Logits, Reweighting, Scale, Terms};

/// The tensor where it is to be, untouched when it is there already.
pub(crate) fn on<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    if tensor.device().inner() == device.clone().inner() { tensor } else { tensor.to_device(device) }
}

pub(crate) fn scale_on(scale: &Scale, device: &Device) -> Scale {
    match scale {
        Scale::Constant(scale) => Scale::Constant(*scale),
        Scale::Tensor(scale) => Scale::Tensor(scale.clone().to_device(device)),
    }
}

pub(crate) fn terms_on(terms: &Terms, device: &Device) -> Terms {
    match terms.clone() {
        Terms::Reweighted(Reweighting { threshold, quadratic, linear, constant }) => {
            let [threshold, linear, constant] = [threshold, linear, constant].map(|part| part.to_device(device));
            Terms::Reweighted(Reweighting { threshold, quadratic, linear, constant })
        }
        Terms::Softplus { offset, curve } => Terms::Softplus { offset: offset.to_device(device), curve },
        Terms::Logits(Logits { cap, weights }) => {
            Terms::Logits(Logits { cap, weights: weights.map(|weights| weights.to_device(device)) })
        }
        terms @ (Terms::Exp | Terms::SelfPaced { .. }) => terms,
    }
}
