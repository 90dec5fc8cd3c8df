/// Settings of gradient descent.
#[derive(Clone, Copy, Debug)]
pub struct SgdRule {
    /// How much of the velocity stays; in `[0, 1)`.
    pub momentum: f64,
    /// Whether the step looks ahead by one more momentum.
    pub nesterov: bool,
    /// How much of the weights is added to the gradient; at least 0.
    pub weight_decay: f64,
}

/// Settings of AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamWRule {
    /// How much of the mean of the gradients stays; in `[0, 1)`.
    pub beta_1: f64,
    /// How much of the mean of the squares stays; in `[0, 1)`.
    pub beta_2: f64,
    /// What is added to the root of the mean of the squares; above 0.
    pub epsilon: f64,
    /// How much of the weights is taken off, times the learning rate; at least 0.
    pub weight_decay: f64,
}
