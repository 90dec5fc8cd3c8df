//! Losses of predictions and targets: numbers that should equal numbers.
