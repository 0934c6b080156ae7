"""Between requests and the queue: its rules by the configuration, and what a request owed it."""

from __future__ import annotations

from collections.abc import Mapping

from modgate.draft import Draft
from modgate.fleet.claim import CLASS_WEIGHTS, QueueRules


def rules_of(
    *,
    calls: int,
    body_bytes: int,
    work: float,
    share: float,
    weights: Mapping[str, float],
    patience: Mapping[str, float],
    hold: float,
    adaptive: bool,
) -> QueueRules:
    """How calls wait, by the keys of `[queue]`."""
    return QueueRules(
        calls=calls,
        body_bytes=body_bytes,
        work_s=work,
        share=share,
        weights={**CLASS_WEIGHTS, **weights},
        patience_s=patience,
        hold_s=hold,
        adaptive=adaptive,
    )


def settle_dues(draft: Draft, used: Mapping[str, int], weights: Mapping[str, float]) -> None:
    """A request ended: its tenant is counted what it took, in place of what was supposed.

    `used`: by full name of the unit.  Of a request of which only some calls waited, these owe their
    part.  Side calls of other models stay as they were counted.
    """
    dues = [due for due in draft.dues or () if due.model == draft.model]
    if not dues:
        return
    front = f"{draft.modality}."
    took = sum(each * used.get(front + unit, 0) for unit, each in weights.items())
    counted = sum(due.charge.work for due in dues)
    part = len(dues) / max(len(dues), len(draft.tries))
    if len(dues) == len(draft.tries) == 1:
        first_s, began_s = draft.tries[0].first_s, draft.tries[0].began_s
        if first_s is not None:
            dues[0].tally.service.took(counted, first_s - began_s)
    for due in dues:
        due.charge.settle(due.charge.work / counted * took * part)
