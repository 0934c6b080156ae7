"""Limits in native units: levels, reservations, and what a request may hold at once."""
