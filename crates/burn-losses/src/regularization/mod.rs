//! What keeps parameters, embeddings and class weights small, sparse or alike: `loss = data_loss + strength·penalty`.
