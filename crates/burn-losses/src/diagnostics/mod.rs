//! What a trainer wants to see beside the loss.
