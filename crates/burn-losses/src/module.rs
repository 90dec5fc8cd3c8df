//! What modules and configs of losses are beside their formula.

/// Configs in which nothing is required have a default.
macro_rules! default_is_new {
    ($($config:ty),+ $(,)?) => {$(
        impl Default for $config {
            fn default() -> Self {
                Self::new()
            }
        }
    )+};
}

/// Losses are printed in one line, as Burn's own are.
macro_rules! one_line {
    ($($loss:ty),+ $(,)?) => {$(
        impl burn::module::ModuleDisplay for $loss {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new().with_new_line_after_attribute(false).optional()
            }
        }
    )+};
}

/// What a loss of embeddings does, without a trait that has to be imported.
macro_rules! inherent_forward {
    ($($loss:ty),+ $(,)?) => {$(
        impl $loss {
            /// The loss of a batch as one number, as [`EmbeddingLoss::forward`](crate::EmbeddingLoss::forward) says.
            #[track_caller]
            pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                crate::EmbeddingLoss::forward(self, embeddings, labels)
            }

            /// The loss of every row, as
            /// [`EmbeddingLoss::forward_no_reduction`](crate::EmbeddingLoss::forward_no_reduction) says.
            #[track_caller]
            pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                crate::EmbeddingLoss::forward_no_reduction(self, embeddings, labels)
            }
        }
    )+};
}

pub(crate) use {default_is_new, inherent_forward, one_line};
