"""Asking the witnesses of a ledger what they saw, from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modgate.api.shipment import Cursor, LedgerSink, SinkDown
from modgate.ledger.anchor import read_anchor
from modgate.ledger.witness import Witness, cursor_of

DEADLINE_S = 20.0


@dataclass(slots=True, eq=False)
class Hearing:
    """Asks sinks, by name, and anchor files.

    `silent`: sentences about those that could not be asked, and why.
    """

    sinks: Mapping[str, LedgerSink]
    anchors: Sequence[Path] = ()
    silent: list[str] = field(default_factory=list)

    def witnesses(self) -> Iterator[Witness]:
        """What everybody saw, sinks one after the other, each within `DEADLINE_S`."""
        for path in self.anchors:
            yield from self._anchored(path)
        for name, sink in self.sinks.items():
            try:
                cursors = asyncio.run(_cursors(sink))
            except SinkDown as error:
                self.silent.append(f"the sink {name} does not answer: {error}")
                continue
            yield from (Witness(name=name, cursor=each) for each in cursors)

    def _anchored(self, path: Path) -> Iterator[Witness]:
        try:
            said = read_anchor(path)
        except ValueError as error:
            self.silent.append(str(error))
            return
        if said is None:
            self.silent.append(f"there is no anchor in {path}")
        else:
            yield Witness(name=str(path), cursor=cursor_of(said))


async def _cursors(sink: LedgerSink) -> Sequence[Cursor]:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await sink.open()
    except SinkDown:
        raise
    except Exception as error:
        raise SinkDown(type(error).__name__) from error
    finally:
        await sink.close()
