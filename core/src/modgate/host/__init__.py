"""Finding, loading and asking plugins; every message names who is meant."""
