//! The operation as Burn's backends see it, and its gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use alloc::vec;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::ops::{Backward, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Int, Tensor};

use super::super::backend::{Batch, Exclusion, Gradients, Maybe, Plan, ScoreKernels, Term, Wanted};
use super::super::cpu::chunks;
use super::super::known::{Known, is_tracked};
use super::super::{CenterChoice, Normalise};
use super::LogitLoss;
use crate::host::{Host, is_host};
use crate::math::{cast_to, signed};

/// The operation, differentiable in the queries, the keys and the bias.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait LogitLossOps: Backend {
    /// - `batch`: with terms of logits; its `rows` are `of_target`, `of_all` and `of_square`, `[N, 3]`
    /// - `chunk`: how many queries at once
    /// - output: `[1]`
    fn logit_loss(#[extension_type] batch: Batch<Self>, chunk: usize) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl LogitLossOps for $backend {
            fn logit_loss(batch: Batch<Self>, _: usize) -> FloatTensor<Self> {
                let output = <Self as ScoreKernels>::forward(batch.clone()).output;
                chunks::loss_of::<Self>(&batch, &output)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

impl<B: Host + LogitLossOps, C: CheckpointStrategy> LogitLossOps for Autodiff<B, C> {
    fn logit_loss(batch: Batch<Self>, chunk: usize) -> FloatTensor<Self> {
        let Batch { queries, keys, bias, rows, weights, labels, key_labels, plan } = batch;
        let inner = |numbers: Maybe<Self>| -> Maybe<B> {
            numbers.as_option().map(|numbers| numbers.clone().into_primitive()).into()
        };
        let wanted = Wanted {
            queries: is_tracked::<B, C>(&queries),
            keys: is_tracked::<B, C>(&keys),
            bias: bias.as_option().is_some_and(is_tracked::<B, C>),
        };
        // The number of parents is fixed: where there is no bias, something without a gradient stands in.
        let bias_node = match &bias {
            Maybe::Just(bias) => bias.node(),
            Maybe::Nothing => Self::from_inner(queries.clone().into_primitive()).node(),
        };
        let parents = [queries.node(), keys.node(), bias_node];
        let prepared = Backward::<B, 3>::prepare::<C>(Known, parents).compute_bound().stateful();
        let (rows, weights, bias) = (inner(rows), inner(weights), inner(bias));
        let (queries, keys) = (queries.into_primitive(), keys.into_primitive());
        let batch = Batch::<B> { queries, keys, bias, rows, weights, labels, key_labels, plan };
        match prepared {
            OpsKind::Tracked(prepared) => {
                let (loss, Gradients { queries, keys, bias }) = chunks::loss_and_gradients::<B>(&batch, chunk, wanted);
                prepared.finish([queries, keys, bias], loss)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::logit_loss(batch, chunk)),
        }
    }
}

pub(super) fn on_host(
    queries: Tensor<2>,
    keys: Tensor<2>,
    labels: Tensor<1, Int>,
    loss: LogitLoss,
) -> Option<Tensor<1>> {
    let LogitLoss { bias, cap, weights, of_target, of_all, of_square, streaming } = loss;
    let ([batch, dim], [count, _], dtype) = (queries.dims(), keys.dims(), queries.dtype());
    let device = queries.device();
    let fits = matches!(dtype, DType::F32 | DType::F64) && keys.dtype() == dtype && batch > 0 && dim > 0 && count > 0;
    if !fits || !is_host(&device) || keys.device().inner() != device.clone().inner() {
        return None;
    }
    let chunk = chunks::chunk([batch, dim, count], dtype.size(), streaming.kept_bytes)?;
    let constant = |numbers: Tensor<1>| cast_to(numbers, dtype).to_device(&device).detach();
    let rows = Tensor::<1>::stack(vec![of_target, of_all, of_square].into_iter().map(constant).collect(), 1);
    let labels = signed(labels).into_dispatch();
    let plan = Plan {
        exclusion: Exclusion::Target,
        term: Term::Logits { cap },
        normalise: Normalise::Neither,
        sub_centers: 1,
        choice: CenterChoice::Nearest,
        scale: 1.0,
        keep: false,
        block: streaming.block,
    };
    let rows: Tensor<2> = rows;
    let batch = Batch {
        queries: queries.into_dispatch(),
        keys: keys.into_dispatch(),
        bias: bias.map(|bias| cast_to(bias, dtype).into_dispatch()).into(),
        rows: Some(rows.into_dispatch()).into(),
        weights: weights.map(|weights| constant(weights).into_dispatch()).into(),
        labels: labels.clone(),
        key_labels: labels,
        plan,
    };
    Some(Tensor::from_dispatch(<Dispatch as LogitLossOps>::logit_loss(batch, chunk)))
}
