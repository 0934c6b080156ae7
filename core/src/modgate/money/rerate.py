"""Putting bills right after a price was wrong: a difference is posted, and no row is changed.

What is owed by the book that corrects the first one, less what the first one said, less what was
posted before: posting twice posts nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modgate.api.price import BUDGET
from modgate.ledger.records import Adjusted, Ended
from modgate.money.invoice import Tariff, used_of

REASON = "price"


@dataclass(slots=True)
class Posted:
    """What a request's corrections come to: how many there are, and micro-units."""

    sequence: int = 0
    micro: int = 0


def posted(made: Iterable[Adjusted]) -> dict[str, Posted]:
    """By request; corrections of other things than prices count for the sequence only."""
    found: dict[str, Posted] = {}
    for each in made:
        line = found.setdefault(each.id, Posted())
        line.sequence = max(line.sequence, each.sequence)
        line.micro += each.units.get(BUDGET, 0)
    return found


def differences(
    rows: Iterable[Ended], known: dict[str, Posted], tariff: Tariff, now: float
) -> Iterator[Adjusted]:
    """The corrections that rows need on top of those that are `known`."""
    for row in rows:
        before = known.get(row.id, Posted())
        first = tariff.rated(row)
        last = tariff.corrected(row) or first
        owed = last.micro - first.micro - before.micro
        if owed == 0:
            continue
        yield Adjusted(
            id=row.id,
            sequence=before.sequence + 1,
            wall=now,
            reason=REASON,
            tenant=row.tenant,
            key_id=row.key_id,
            model=row.model,
            modality=row.modality,
            note=f"by {last.book} in place of {first.book}",
            units={BUDGET: owed},
            currency=last.currency,
            began=row.wall,
            region=used_of(row).region,
            regions=row.regions,
        )
