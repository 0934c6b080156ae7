"""Text generation for modgate."""
