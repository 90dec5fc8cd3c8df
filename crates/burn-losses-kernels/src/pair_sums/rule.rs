/// What a pair of one kind costs, by what its distance is beyond a margin.
///
/// ```text
/// loss = factor·max(excess, 0)                factor·max(excess, 0)²  if squared
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PairCost {
    /// The distance from which on a positive pair costs, and up to which a negative one does; finite.
    pub margin: f64,
    /// What the loss is multiplied with; finite.
    pub factor: f64,
    /// Whether the excess is squared.
    pub squared: bool,
}

/// What all pairs cost.
///
/// ```text
/// excess of a positive = d - margin                    with d² for d if of_squares
/// excess of a negative = margin - d
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PairRule {
    /// Whether margins are on the squares of distances.
    pub of_squares: bool,
    /// What positive pairs cost.
    pub positive: PairCost,
    /// What negative pairs cost.
    pub negative: PairCost,
}
