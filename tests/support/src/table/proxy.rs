//! Losses of embeddings and trained proxies.

use burn::module::Param;
use burn_losses::EmbeddingLoss;
use burn_losses::proxy::{
    NormalizedSoftmaxLossConfig, ProxyAnchorLossConfig, ProxyNcaLossConfig, SoftTripleLossConfig,
};

use super::{Call, Labels, Row, Run, Steepness};
use crate::naive;

/// The classes and the embedding length that a case sets.
fn sizes(call: &Call<'_>) -> (usize, usize) {
    (call.case.number("classes") as usize, call.sizes("weights")[1])
}

/// Runs a loss with a field of trained rows.
macro_rules! run {
    ($call:expr, $config:ident, $field:ident) => {{
        let call = $call;
        let (classes, embedding_dim) = sizes(call);
        let mut loss = call.config($config::new(classes, embedding_dim)).init(call.device);
        loss.$field.weight = Param::from_tensor(call.leaf("weights"));
        let embeddings = call.leaf("embeddings");
        let losses = loss.forward_no_reduction(embeddings.clone(), call.labels());
        Run::new(losses, [("embeddings", embeddings), ("weights", loss.$field.weight.val())])
    }};
}

/// One row per loss.
pub(super) const ROWS: &[Row] = &[
    Row {
        loss: "ProxyNcaLoss",
        family: "proxy",
        run: |call| run!(call, ProxyNcaLossConfig, proxies),
        naive: naive::proxy::nca,
        steepness: Steepness::Scaled(|case| 2.0 * case.number("scale")),
        labels: Labels::Classes,
        deviation: "the own proxy is in the denominator by default, as in pytorch-metric-learning; not so in the paper",
    },
    Row {
        loss: "ProxyAnchorLoss",
        family: "proxy",
        run: |call| run!(call, ProxyAnchorLossConfig, proxies),
        naive: naive::proxy::anchor,
        // A class that is in the batch counts for those that are not.
        steepness: Steepness::Scaled(|case| 2.0 * case.number("alpha")),
        // Classes, but a loss per class and not per row: `proxy.rs` tests them.
        labels: Labels::None,
        deviation: "",
    },
    Row {
        loss: "SoftTripleLoss",
        family: "proxy",
        run: |call| run!(call, SoftTripleLossConfig, centers),
        naive: naive::proxy::soft_triple,
        steepness: Steepness::Scaled(|case| case.number("scale") / case.number("gamma").min(1.0)),
        labels: Labels::Classes,
        deviation: "",
    },
    Row {
        loss: "SoftTripleForward",
        family: "proxy",
        run: soft_triple_forward,
        naive: naive::proxy::soft_triple_forward,
        steepness: Steepness::Scaled(|case| case.number("scale") / case.number("gamma").min(1.0)),
        // One number with a regularizer, which no label silences.
        labels: Labels::None,
        deviation: "",
    },
    Row {
        loss: "NormalizedSoftmaxLoss",
        family: "proxy",
        run: |call| run!(call, NormalizedSoftmaxLossConfig, proxies),
        naive: naive::proxy::normalized_softmax,
        steepness: Steepness::Scaled(|case| 1.0 / case.number("temperature")),
        labels: Labels::Classes,
        deviation: "",
    },
];

fn soft_triple_forward(call: &Call<'_>) -> Run {
    let (classes, embedding_dim) = sizes(call);
    let mut loss = call.config(SoftTripleLossConfig::new(classes, embedding_dim)).init(call.device);
    loss.centers.weight = Param::from_tensor(call.leaf("weights"));
    let embeddings = call.leaf("embeddings");
    let value = loss.forward(embeddings.clone(), call.labels());
    Run::new(value, [("embeddings", embeddings), ("weights", loss.centers.weight.val())])
}
