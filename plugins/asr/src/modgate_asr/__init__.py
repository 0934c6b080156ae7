"""Speech recognition for modgate."""
