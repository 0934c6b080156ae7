"""Reranking for modgate."""
