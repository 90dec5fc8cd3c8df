//! The operation on the memory of a backend's tensors.

use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use half::{bf16, f16};

use super::super::backend::{Batch, Gradients, Results, Wanted};
use super::Inputs;
use super::block::Block;
use crate::host::{Host, Key, Real, tensor};

/// The inputs in their types.
impl<'a, T: Real + Key<T>, K: Key<T>> Inputs<'a, T, K> {
    fn new<H: Host>(batch: &'a Batch<H>) -> Self {
        let Batch { queries, keys, bias, rows, weights, labels, key_labels, plan } = batch;
        let (shape, count) = (queries.shape(), keys.shape()[0] / plan.sub_centers);
        let [batch, dim] = [shape[0], shape[1]];
        let mut of_queries = Block::new(batch, dim);
        of_queries.load(&H::strided::<T>(queries), 0, batch, plan.normalise.queries());
        let per_key = |numbers: &FloatTensor<H>| {
            let column = H::float_reshape(numbers.clone(), [count, 1].into());
            H::strided::<T>(&column).rows(count, 1)
        };
        let in_units =
            |bias: &FloatTensor<H>| per_key(bias).into_iter().map(|number| number / T::of(plan.scale)).collect();
        let columns = |rows: &FloatTensor<H>| H::strided::<T>(rows).columns(batch, rows.shape()[1]);
        let reads_key_labels = plan.exclusion.reads_key_labels();
        Self {
            queries: of_queries,
            turned: Vec::new(),
            batch,
            dim,
            keys: H::strided::<K>(keys),
            count,
            bias: bias.as_option().map(in_units).unwrap_or_default(),
            rows: rows.as_option().map(columns).unwrap_or_default(),
            weights: weights.as_option().map(per_key).unwrap_or_default(),
            labels: H::integers(labels.clone()),
            key_labels: if reads_key_labels { H::integers(key_labels.clone()) } else { Vec::new() },
            plan: *plan,
        }
    }
}

/// Calls a function for the types of the queries and the keys.
macro_rules! in_types {
    ($batch:expr, $function:ident($($argument:expr),*)) => {
        match ($batch.queries.dtype(), $batch.keys.dtype()) {
            (DType::F32, DType::F32) => $function::<H, f32, f32>($($argument),*),
            (DType::F64, DType::F64) => $function::<H, f64, f64>($($argument),*),
            (DType::F32, DType::F16) => $function::<H, f32, f16>($($argument),*),
            (DType::F32, DType::BF16) => $function::<H, f32, bf16>($($argument),*),
            types => unreachable!("{types:?} were made to agree"),
        }
    };
}

pub(in super::super) fn forward<H: Host>(batch: Batch<H>) -> Results<H> {
    in_types!(batch, forward_as(&batch))
}

pub(in super::super) fn backward<H: Host>(
    batch: Batch<H>,
    results: Results<H>,
    gradient: FloatTensor<H>,
    wanted: Wanted,
) -> Gradients<H> {
    in_types!(batch, backward_as(&batch, &results, &gradient, wanted))
}

fn forward_as<H: Host, T: Real + Key<T>, K: Key<T>>(batch: &Batch<H>) -> Results<H> {
    let inputs = Inputs::<T, K>::new(batch).turned();
    let (output, kept) = super::forward_all(&inputs);
    let (device, kept_length) = (batch.queries.device(), kept.len());
    let shape = [inputs.batch, inputs.plan.term.columns()];
    Results { output: tensor::<H, _>(output, shape, &device), kept: tensor::<H, _>(kept, [kept_length], &device) }
}

fn backward_as<H: Host, T: Real + Key<T>, K: Key<T>>(
    batch: &Batch<H>,
    results: &Results<H>,
    gradient: &FloatTensor<H>,
    wanted: Wanted,
) -> Gradients<H> {
    let inputs = Inputs::<T, K>::new(batch);
    // Kept scores are not computed again.
    let inputs = if inputs.plan.keep { inputs } else { inputs.turned() };
    let columns = inputs.plan.term.columns();
    let output = H::strided::<T>(&results.output).rows(inputs.batch, columns);
    let gradient = H::strided::<T>(gradient).rows(inputs.batch, columns);
    let kept = H::strided::<T>(&results.kept).numbers;
    let (queries, keys, bias) = super::backward_all(&inputs, &output, &kept, &gradient, wanted);
    let device = batch.queries.device();
    let shape = |wanted: bool, of: &FloatTensor<H>| if wanted { of.shape() } else { Shape::from([1]) };
    let bias_length = bias.len();
    Gradients {
        queries: tensor::<H, _>(queries, shape(wanted.queries, &batch.queries), &device),
        keys: tensor::<H, _>(keys, shape(wanted.keys, &batch.keys), &device),
        bias: tensor::<H, _>(bias, [bias_length], &device),
    }
}
