"""Modalities made for tests: one that is clean, and the same with planted bugs."""
