"""Features: spectrograms, and embeddings with the networks that make them."""
