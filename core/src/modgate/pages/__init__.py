"""The pages of the public listener that belong to no plugin."""
