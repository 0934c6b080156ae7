"""A seeded simulation in which policies of selection are compared."""
