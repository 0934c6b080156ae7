"""Text recognition for modgate."""
