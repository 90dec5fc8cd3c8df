//! Losses that compare embeddings with a few trained vectors per class, the proxies, instead of with each other.
