"""The engines' side of the wire: sending calls, and fetching files for clients behind a guard."""
