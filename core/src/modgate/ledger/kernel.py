"""Handing bytes to the kernel without letting go of the interpreter.

The copy into the page cache takes a microsecond or two.  `os.write` gives the interpreter lock away
around it, which wakes every thread that waits for that lock, to find it taken again: with a thread
that syncs and one that ships, that was dearer than the frame.  The result is the same.
"""

from __future__ import annotations

import ctypes
import os

_write = ctypes.PyDLL(None, use_errno=True).write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write.restype = ctypes.c_ssize_t


def put(fd: int, content: bytes) -> int:
    """`os.write` to a file; OSError as there."""
    written: int = _write(fd, content, len(content))
    if written < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return written
