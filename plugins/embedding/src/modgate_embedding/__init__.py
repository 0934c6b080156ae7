"""Embeddings for modgate."""
