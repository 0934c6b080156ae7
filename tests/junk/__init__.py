"""Bad input, by name: what must come back for it, and the measure of what it left behind.

Shared by `tests/e2e/test_bad_input*.py` and `bench/junk.py`.
"""
