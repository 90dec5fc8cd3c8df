//! The operation as Burn's backends see it, and its gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use alloc::vec::Vec;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{DType, Tensor};

use super::super::cpu::cosine_sums as host;
use super::{CosineSums, Scale, Sides};
use crate::host::{Host, is_host};
use crate::math::cast_to;

/// Two sides, and how they are compared.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct TwoSides<B: Backend> {
    /// `[N, D]` in `f32` or `f64`, `N >= 1`, `D >= 1`.
    pub(crate) first: FloatTensor<B>,
    /// `[M, D]` in the same type, `M >= 1`.
    pub(crate) second: FloatTensor<B>,
    /// `[1]` in the same type.
    pub(crate) scale: FloatTensor<B>,
    /// `[N]`.
    pub(crate) labels: IntTensor<B>,
    /// `[M]`.
    pub(crate) other_labels: IntTensor<B>,
    /// Each longer than the one before.
    pub(crate) lengths: Vec<usize>,
}

/// The operation, differentiable in both sides and the scale.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait CosineSumOps: Backend {
    /// `[lengths, N + M + min(N, M)]`: of each length the sums of the first side, those of the second, and the cosines of rows with
    /// their partners.
    fn cosine_sums(#[extension_type] sides: TwoSides<Self>) -> FloatTensor<Self>;
}

#[cfg(feature = "flex")]
impl CosineSumOps for burn::backend::Flex {
    fn cosine_sums(sides: TwoSides<Self>) -> FloatTensor<Self> {
        host::forward::<Self>(&sides)
    }
}

#[cfg(feature = "ndarray")]
impl CosineSumOps for burn::backend::NdArray {
    fn cosine_sums(sides: TwoSides<Self>) -> FloatTensor<Self> {
        host::forward::<Self>(&sides)
    }
}

#[derive(Debug)]
struct BothSides;

/// What the forward pass keeps: what it is differentiated by as nodes of the graph, and what is small.
#[derive(Clone, Debug)]
struct State<B: Backend> {
    nodes: [NodeId; 3],
    labels: [IntTensor<B>; 2],
    lengths: Vec<usize>,
    sums: FloatTensor<B>,
}

impl<B: Host> Backward<B, 3> for BothSides {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { nodes, labels: [labels, other_labels], lengths, sums } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let [first, second, scale] = nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let sides = TwoSides { first, second, scale, labels, other_labels, lengths };
        let wanted = [0, 1].map(|side| ops.parents[side].is_some());
        let gradients = host::backward::<B>(&sides, &sums, &gradient, wanted);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: Host + CosineSumOps, C: CheckpointStrategy> CosineSumOps for Autodiff<B, C> {
    fn cosine_sums(sides: TwoSides<Self>) -> FloatTensor<Self> {
        let TwoSides { first, second, scale, labels, other_labels, lengths } = sides;
        let parents = [first.node(), second.node(), scale.node()];
        let inner = |first: FloatTensor<Self>, second: FloatTensor<Self>, scale: FloatTensor<Self>| TwoSides::<B> {
            first: first.into_primitive(),
            second: second.into_primitive(),
            scale: scale.into_primitive(),
            labels: labels.clone(),
            other_labels: other_labels.clone(),
            lengths: lengths.clone(),
        };
        match BothSides.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&first), prep.checkpoint(&second), prep.checkpoint(&scale)];
                let sums = B::cosine_sums(inner(first, second, scale));
                let state = State { nodes, labels: [labels, other_labels], lengths, sums: sums.clone() };
                prep.finish(state, sums)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cosine_sums(inner(first, second, scale))),
        }
    }
}

/// `None` where this is no way to compute them: where tensors are not memory of this process or on two devices, or there is nothing to
/// compare.
pub(super) fn on_host(sides: &Sides, lengths: &[usize], both: bool, scale: &Scale) -> Option<Vec<CosineSums>> {
    let Sides { first, second, labels: [labels, other_labels] } = sides;
    let ([rows, _], [others, _], dtype, device) = (first.dims(), second.dims(), first.dtype(), first.device());
    let fits = matches!(dtype, DType::F32 | DType::F64) && second.dtype() == dtype && rows > 0 && others > 0;
    if !fits || lengths.is_empty() || !is_host(&device) || second.device() != device {
        return None;
    }
    let mut ascending = lengths.to_vec();
    ascending.sort_unstable();
    ascending.dedup();
    let scale = match scale {
        Scale::Constant(scale) => Tensor::from_data([*scale], (&device, dtype)),
        Scale::Tensor(scale) => cast_to(scale.clone(), dtype),
    };
    let sums = Tensor::<2>::from_dispatch(<Dispatch as CosineSumOps>::cosine_sums(TwoSides {
        first: first.clone().into_dispatch(),
        second: second.clone().into_dispatch(),
        scale: scale.into_dispatch(),
        labels: labels.clone().into_dispatch(),
        other_labels: other_labels.clone().into_dispatch(),
        lengths: ascending.clone(),
    }));
    let of_length = |length: &usize| {
        let place = ascending.binary_search(length).expect("it is one of them");
        let part = |start, count| sums.clone().slice([place..place + 1, start..start + count]).reshape([count]);
        let own = part(rows + others, rows.min(others));
        CosineSums { first: part(0, rows), second: both.then(|| part(rows, others)), own }
    };
    Some(lengths.iter().map(of_length).collect())
}
