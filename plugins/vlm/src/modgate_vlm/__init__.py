"""Image understanding for modgate."""
