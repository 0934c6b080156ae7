"""By what a file is known to be another one, or to have been written since."""

from __future__ import annotations

from pathlib import Path

Mark = tuple[int, ...]


def mark_of(path: Path) -> Mark:
    """() when it is not there.

    Not its time alone: it may be set, and a link may lead to another file of the same age.
    """
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
