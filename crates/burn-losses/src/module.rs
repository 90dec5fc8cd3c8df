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

/// What a miner does, without a trait that has to be imported.
macro_rules! inherent_mine {
    ($($miner:ty),+ $(,)?) => {$(
        impl $miner {
            /// The same rows, of which fewer pairs count, or triplets: as [`Miner::mine`](crate::mining::Miner::mine) says.
            #[track_caller]
            pub fn mine(&self, pairs: &crate::pairs::Pairs) -> crate::pairs::Pairs {
                crate::mining::Miner::mine(self, pairs)
            }
        }
    )+};
}

/// What a penalty of parameters does, without a trait that has to be imported.
macro_rules! inherent_penalty {
    ($($penalty:ty),+ $(,)?) => {$(
        impl $penalty {
            /// The penalty of all chosen parameters of a module, as
            /// [`ParameterPenalty::forward`](crate::regularization::ParameterPenalty::forward) says.
            pub fn forward<M: burn::module::Module>(&self, module: &M) -> burn::tensor::Tensor<1> {
                crate::regularization::ParameterPenalty::forward(self, module)
            }
        }
    )+};
}

/// What a step of shrinkage does, without a trait that has to be imported.
macro_rules! inherent_step {
    ($($step:ty),+ $(,)?) => {$(
        impl $step {
            /// The module with its chosen parameters shrunk, as
            /// [`ShrinkageStep::step`](crate::regularization::ShrinkageStep::step) says.
            #[must_use]
            pub fn step<M: burn::module::Module>(&self, learning_rate: f64, module: M) -> M {
                crate::regularization::ShrinkageStep::step(self, learning_rate, module)
            }
        }
    )+};
}

/// What a plan of batches does, without a trait that has to be imported.
macro_rules! inherent_epoch {
    ($($plan:ty),+ $(,)?) => {$(
        impl $plan {
            /// The batches of an epoch, as [`BatchPlan::epoch`](crate::sampling::BatchPlan::epoch) says.
            pub fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
                crate::sampling::BatchPlan::epoch(self, epoch)
            }
        }
    )+};
}

pub(crate) use {
    default_is_new, inherent_epoch, inherent_forward, inherent_mine, inherent_penalty, inherent_step, one_line,
};
