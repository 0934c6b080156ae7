"""Telling whoever keeps numbers of an engine that it changed.

An engine changes several times between two picks.  Only the first change after a look costs more
than asking whether somebody looked.
"""

from __future__ import annotations

from weakref import ref


class Changes:
    """One engine's: its slots, its health and how it stands for models share it.

    `looked`: somebody did since it changed last; who changes it often asks before telling.
    """

    __slots__ = ("_rows", "looked")

    def __init__(self) -> None:
        self.looked = False
        self._rows: list[tuple[ref[set[int]], int]] = []

    def watch(self, stale: set[int], row: int) -> None:
        """From now on this row is among the stale ones after a change, as long as the set lives."""
        self._rows = [each for each in self._rows if each[0]() is not None]
        self._rows.append((ref(stale), row))

    def tell(self) -> None:
        """It changed."""
        if self.looked:
            self.looked = False
            for watching, row in self._rows:
                stale = watching()
                if stale is not None:
                    stale.add(row)
