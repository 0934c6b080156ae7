"""A process that may open no file more."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_file_left() -> Iterator[int]:
    """Until the end of the block; the answer: how many there may be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        yield first_free
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
