"""Between requests and the queue: its rules by the configuration, and what a request owed it."""

from __future__ import annotations

from collections.abc import Mapping

from modgate.config.schema_queue import QueueSection
from modgate.draft import Draft
from modgate.fleet.claim import CLASS_WEIGHTS, QueueRules


def rules_of(section: QueueSection) -> QueueRules:
    """How calls wait."""
    return QueueRules(
        calls=section.calls,
        body_bytes=section.bytes,
        work_s=section.work,
        share=section.share,
        weights={**CLASS_WEIGHTS, **section.weights},
        patience_s=section.patience,
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
            dues[0].tally.took(counted, first_s - began_s)
    for due in dues:
        due.charge.settle(due.charge.work / counted * took * part)
