"""Processes that decode what clients send: a hostile file can wedge only one of them."""
