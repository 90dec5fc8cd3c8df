//! All tests that run on every backend, in one binary.

#![allow(missing_docs)]
#![recursion_limit = "256"]

mod any_head;
mod center;
mod classification;
mod coming_from;
mod config;
mod diagnostics;
mod distances;
mod drawn_rows;
mod elements;
mod every_head;
mod golden;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod gradients;
mod hostile;
mod labels;
mod laws;
mod linear_cross_entropy;
mod linear_distillation;
mod log_odds;
mod margin_adaptive;
mod margin_plain;
mod margin_rivals;
mod margin_rules;
mod memory;
mod metrics;
mod mining;
mod negatives_elsewhere;
mod optim;
mod pair_sums;
mod pairwise;
mod partial_fc;
mod proxy;
mod regression;
mod regularization;
mod row_groups;
mod sampled_vocabulary;
mod sampling;
mod scores;
mod sharded;
mod soft_targets;
mod softmax_pairs;
mod sparse_distillation;
mod state;
mod tokens;
mod triplets;

/// The backends of the features, and flex, if it is none of them: what is on several devices is on this one, too.
fn backends_and_flex() -> Vec<parity::Backend> {
    let mut all = parity::backends();
    if all.iter().all(|backend| backend.name != "flex") {
        all.push(parity::Backend {
            name: "flex".to_owned(),
            device: burn::tensor::Device::flex().autodiff(),
            dtype: burn::tensor::DType::F32,
            exactness: parity::Exactness::Single,
        });
    }
    all
}
