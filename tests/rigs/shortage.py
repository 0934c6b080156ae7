"""A process that may open no file more."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD = 3  # streams; a limit is of a file's number, and others may be closed meanwhile


@contextmanager
def no_file_left() -> Iterator[int]:
    """Until the end of the block, whatever is open; the answer: how many there may be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (STANDARD, before[1]))
    try:
        yield STANDARD
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
