//! Losses of embeddings and trained proxies.

use burn::module::Param;
use burn_losses::proxy::{
    NormalizedSoftmaxLossConfig, ProxyAnchorLossConfig, ProxyNcaLossConfig, SoftTripleLossConfig,
};

use super::{Call, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
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
        let new = || call.config($config::new(classes, embedding_dim)).init(call.device);
        let mut loss = new();
        loss.$field.weight = Param::from_tensor(call.parameter("weights"));
        let loss = call.module(loss, new);
        let embeddings = call.leaf("embeddings");
        let losses = if call.how.reduced {
            loss.forward(embeddings.clone(), call.labels())
        } else {
            loss.forward_no_reduction(embeddings.clone(), call.labels())
        };
        Run::new(losses, [("embeddings", embeddings), ("weights", loss.$field.weight.val())])
    }};
}

const PROXIES: &[Input] = &[Input::rows("embeddings"), Input::classes("weights")];

/// One row per loss.
pub(super) const ROWS: &[Row] = &[
    Row {
        loss: "ProxyNcaLoss",
        family: "proxy",
        kind: Kind::Proxy,
        inputs: PROXIES,
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{"scale": 1.0}"#),
            Sample::new(r#"{"scale": 1e4}"#),
            Sample::new(r#"{"scale": 1.0, "denominator": "OtherProxies"}"#),
            Sample::new(r#"{"scale": 1e4, "denominator": "OtherProxies"}"#),
        ],
        run: |call| run!(call, ProxyNcaLossConfig, proxies),
        naive: naive::proxy::nca,
        steepness: Steepness::Scaled(|case| 2.0 * case.number("scale")),
        labels: Labels::Classes,
        deviation: "the own proxy is in the denominator by default, as in pytorch-metric-learning; not so in the paper",
    },
    Row {
        loss: "ProxyAnchorLoss",
        family: "proxy",
        kind: Kind::Proxy,
        inputs: PROXIES,
        losses: Losses::PerClass,
        samples: &[
            Sample::but(
                r#"{"alpha": 32.0, "margin": 0.1}"#,
                &[
                    (Law::OneClass, "a proxy pulls its rows without another proxy, too"),
                    (Law::NanStays, "the loss of a class is one of all rows"),
                ],
            ),
            Sample::but(
                r#"{"alpha": 1e4, "margin": 0.2}"#,
                &[
                    (Law::OneClass, "a proxy pulls its rows without another proxy, too"),
                    (Law::NanStays, "the loss of a class is one of all rows"),
                ],
            ),
        ],
        run: |call| run!(call, ProxyAnchorLossConfig, proxies),
        naive: naive::proxy::anchor,
        // A class that is in the batch counts for those that are not.
        steepness: Steepness::Scaled(|case| 2.0 * case.number("alpha")),
        labels: Labels::Classes,
        deviation: "",
    },
    Row {
        loss: "SoftTripleLoss",
        family: "proxy",
        kind: Kind::Proxy,
        inputs: PROXIES,
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{"centers_per_class": 2, "scale": 20.0, "gamma": 0.1, "margin": 0.01}"#),
            Sample::new(r#"{"centers_per_class": 2, "scale": 1e4, "gamma": 1e-4, "margin": 0.01}"#),
        ],
        run: |call| run!(call, SoftTripleLossConfig, centers),
        naive: naive::proxy::soft_triple,
        steepness: Steepness::Scaled(|case| case.number("scale") / case.number("gamma").min(1.0)),
        labels: Labels::Classes,
        deviation: "",
    },
    Row {
        loss: "SoftTripleForward",
        family: "proxy",
        kind: Kind::Proxy,
        inputs: PROXIES,
        losses: Losses::One,
        samples: &[Sample::but(
            r#"{"centers_per_class": 2, "scale": 20.0, "gamma": 0.1, "margin": 0.01, "regularizer_weight": 0.2}"#,
            &[
                (Law::OneClass, "the regularizer is of the centers, not of the batch"),
                (Law::NoLabel, "the regularizer is of the centers, not of the batch"),
                (Law::EmptyBatch, "the regularizer is of the centers, not of the batch"),
                (Law::NanStays, "it is one number for the batch"),
                (Law::Reduction, "it is what `forward` returns: the reduced losses and the regularizer"),
            ],
        )],
        run: soft_triple_forward,
        naive: naive::proxy::soft_triple_forward,
        steepness: Steepness::Scaled(|case| case.number("scale") / case.number("gamma").min(1.0)),
        labels: Labels::Classes,
        deviation: "",
    },
    Row {
        loss: "NormalizedSoftmaxLoss",
        family: "proxy",
        kind: Kind::Proxy,
        inputs: PROXIES,
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{"temperature": 0.5}"#),
            Sample::new(r#"{"temperature": 0.01}"#),
            Sample::new(r#"{"temperature": 1e-4}"#),
        ],
        run: |call| run!(call, NormalizedSoftmaxLossConfig, proxies),
        naive: naive::proxy::normalized_softmax,
        steepness: Steepness::Scaled(|case| 1.0 / case.number("temperature")),
        labels: Labels::Classes,
        deviation: "",
    },
];

fn soft_triple_forward(call: &Call<'_>) -> Run {
    let (classes, embedding_dim) = sizes(call);
    let new = || call.config(SoftTripleLossConfig::new(classes, embedding_dim)).init(call.device);
    let mut loss = new();
    loss.centers.weight = Param::from_tensor(call.parameter("weights"));
    let loss = call.module(loss, new);
    let embeddings = call.leaf("embeddings");
    let value = loss.forward(embeddings.clone(), call.labels());
    Run::new(value, [("embeddings", embeddings), ("weights", loss.centers.weight.val())])
}
