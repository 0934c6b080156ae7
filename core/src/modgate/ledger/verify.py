"""Proving that a ledger is what its writers wrote: every byte, every segment, nothing cut off."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modgate.api.secret import Secret
from modgate.ledger.chain_reader import Broken, ChainReader
from modgate.ledger.identity import CORRECTIONS, name_of
from modgate.ledger.segments import workers
from modgate.ledger.witness import Witness, holds


@dataclass(slots=True, eq=False)
class Report:
    """What was found.

    `segments`, `frames`: how many were read.
    `dropped`: how many segments the gateway wrote down that it dropped.
    `unfinished`: bytes at the end that are being written, or that a crash cut and no start has
    removed yet.
    `seen`: how many witnesses told of writers that are here.
    `elsewhere`: the writers of other gateways, which a shared sink knows, too.
    `problems`: sentences to read.  None: the ledger is whole, as far as the witnesses go.
    """

    segments: int = 0
    frames: int = 0
    dropped: int = 0
    unfinished: int = 0
    seen: int = 0
    elsewhere: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, chain: ChainReader) -> None:
        """Count what was read of a chain."""
        self.segments += chain.segments
        self.frames += chain.frames
        self.dropped += chain.dropped
        self.unfinished += chain.unfinished


def verify(
    directory: Path, key: Secret, witnesses: Sequence[Witness] = (), *, first: int = 1
) -> Report:
    """Read every frame of every chain, and compare with what the witnesses saw.

    `first`: segments before that number were moved away on purpose, so they are not missed.
    """
    report = Report()
    names: dict[str, str] = {}
    for worker in workers(directory):
        chain = ChainReader(directory, worker, key, first=first)
        try:
            deque(chain.read(), maxlen=0)
        except Broken as error:
            report.problems.append(str(error))
        report.add(chain)
        names |= dict.fromkeys(chain.writers, worker)
    for witness in witnesses:
        _compare(directory, witness, names, report)
    return report


def _compare(directory: Path, witness: Witness, names: dict[str, str], report: Report) -> None:
    """Compare the directory with what one witness saw of one writer."""
    seen = witness.cursor
    where = f"{witness.name} saw segment {seen.segment} of {seen.writer} up to byte {seen.offset}"
    worker = names.get(seen.writer)
    if worker is None:
        own = {name_of(each) for each in names}
        own |= {f"{name}-{CORRECTIONS}" for name in own}
        if name_of(seen.writer) in own or not names:
            report.problems.append(f"{where}: none of that writer's segments is here")
        else:
            report.elsewhere.append(seen.writer)
        return
    report.seen += 1
    if not holds(directory, worker, seen):
        report.problems.append(f"{where}: it does not end there with that head: the end was cut")
