//! Losses of pairs and triplets of embeddings: equal identities close, different ones apart.
//!
//! Labels are identities here: only whether two are equal matters, and a row with a negative label is in no pair.
