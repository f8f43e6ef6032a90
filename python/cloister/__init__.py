"""cloister: private clustering and data generation from embeddings."""
