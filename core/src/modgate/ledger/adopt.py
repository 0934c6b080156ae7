"""Recovering the chains beside the gateway's own: who wrote them may have been killed."""

from __future__ import annotations

from pathlib import Path

from modgate.api.secret import Secret
from modgate.clock import Clock
from modgate.ledger.chain_lock import ChainLocked
from modgate.ledger.segments import workers
from modgate.ledger.writer import Ledger


def end_what_others_left(directory: Path, key: Secret, clock: Clock, *, own: str) -> int:
    """Recover every chain but `own` that no living worker writes; its open requests are billed.

    The answer is how many requests those were.  Tampered as `Ledger` raises it.
    """
    ended = 0
    for worker in workers(directory):
        if worker == own:
            continue
        try:
            left = Ledger(directory, key, clock, worker=worker)
        except ChainLocked:
            continue
        ended += left.recovered
        left.close()
    return ended
