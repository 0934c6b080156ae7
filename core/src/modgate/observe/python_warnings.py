"""Python's own warnings as lines of the log: which, and where; once for each place.

Left alone they go to standard error as text, and what warns of a client's header puts the header
into it.  So their text is withheld, as that of an exception is (tracebacks.py).  Python keeps every
text that it showed, for ever, unless it is told to show all of them always.
"""

from __future__ import annotations

import logging
import warnings
from typing import TextIO

log = logging.getLogger(__name__)


class PythonWarnings:
    """Takes the warnings from when it is made to `close`."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, int]] = set()  # at most one of each place in the code
        self._before = warnings.showwarning
        warnings.showwarning = self._warned
        warnings.simplefilter("always", append=True)  # behind those that ignore some

    def _warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """In place of `warnings.showwarning`."""
        place = (category.__name__, filename, lineno)
        if place not in self._told:
            self._told.add(place)
            words = {"warning": place[0], "at": f"{filename}:{lineno}"}
            log.warning("a library warns", extra=words)

    def close(self) -> None:
        """They are shown as before."""
        warnings.showwarning = self._before
