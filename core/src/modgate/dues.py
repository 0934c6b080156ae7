"""What a request that waited owes the queue, put right when it ends."""

from __future__ import annotations

from collections.abc import Mapping

from modgate.draft import Draft
from modgate.prices.rating import shares


def settle_dues(draft: Draft, used: Mapping[str, int], weights: Mapping[str, float]) -> None:
    """A request ended: its tenant is counted what it took, in place of what was supposed.

    `used`: by full name of the unit.  Of a request of which only some calls waited, these owe their
    part.  Calls of other models stay as they were counted.
    """
    dues = [due for due in draft.dues or () if due.model == draft.model]
    if not dues:
        return
    front, own = f"{draft.modality}.", shares(draft.model, used, draft.tries)[""]
    took = sum(each * own.get(front + unit, 0) for unit, each in weights.items())
    counted = sum(due.charge.work for due in dues)
    tries = [tried for tried in draft.tries if tried.model == draft.model]
    part = len(dues) / max(len(dues), len(tries))
    if len(dues) == len(tries) == 1:
        first_s, began_s = tries[0].first_s, tries[0].began_s
        if first_s is not None:
            dues[0].tally.service.took(counted, first_s - began_s)
    for due in dues:
        due.charge.settle(due.charge.work / counted * took * part)
