"""Telling that this process has no file or socket left, so that no engine is blamed for it."""

from __future__ import annotations

import errno
import os

OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})


def out_of_files(error: OSError) -> bool:
    """Whether something failed for want of a file or socket, be it told so or not.

    A resolver that can open none says that there is no such name.
    """
    return error.errno in OUT_OF_FILES or not _one_more()


def _one_more() -> bool:
    try:
        os.close(os.dup(0))
    except OSError as error:
        return error.errno not in OUT_OF_FILES
    return True
