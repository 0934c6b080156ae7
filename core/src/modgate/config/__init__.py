"""The configuration file: decoded strictly, linked to what exists, every mistake told at once."""
