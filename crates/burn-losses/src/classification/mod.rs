//! Losses of logits and targets: what a classifier is trained with.
//!
//! Logits are unnormalised scores. Targets are classes (`Tensor<1, Int>`) or one probability per class.
