"""What is foreseen of a call: its work, its promise, and how long it may wait and take.

All of it follows from the goals of its SLO class, the timeouts, and how the engines stand.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

from modgate.fleet.claim import LEAST_WORK, Claim, Ends
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.outlook import answers_elsewhere, soonest_s
from modgate.fleet.pick import Wanted
from modgate.fleet.terms import Terms
from modgate.goals import Goals
from modgate.order import Order
from modgate.retry import EXTRA
from modgate.timeouts import Timeouts, silence_s

REFUSAL_S = 0.02  # left to tell a call that waited in vain of the queue, not of a late engine


class Foresight:
    """Foresees calls for who leases, sends and retries them."""

    def __init__(self, *, fleet: Fleet, goals: Goals, timeouts: Timeouts) -> None:
        self._fleet = fleet
        self._goals = goals
        self._timeouts = timeouts

    def foresee(self, order: Order, wanted: Wanted) -> None:
        """Fill in the call's work, and what is promised to it where that matters now."""
        if self._fleet.has_choice(order.model.name):
            self.promise(order, wanted, order.model.name)
        elif self._fleet.rules.adaptive and order.caller.policy.slo:
            wanted.work, wanted.watched = self._terms(order, order.model.name)
        else:
            wanted.work = self.work(order)

    def claim(self, order: Order, work: float = LEAST_WORK, key: Hashable | None = None) -> Claim:
        """What a queue must know of the call; worked out only where it has to wait."""
        draft, policy = order.draft, order.caller.policy
        leaves_s = inf if draft.begun else draft.heard_s + silence_s(draft.request_headers)
        left_s: dict[Ends, float] = {
            "timeouts": self._timeouts.first_s(order.modality.name, order.call),
            "patience": self._fleet.rules.patience_s.get(policy.slo, inf),
            "request": min(draft.due_s, leaves_s) - draft.elapsed() - REFUSAL_S,
        }
        now, ends = self._fleet.now(), min(left_s, key=left_s.__getitem__)
        return Claim(
            tenant=order.caller.tenant,
            slo=policy.slo,
            weight=policy.weight,
            request=draft.request_id,
            modality=order.modality.name,
            work=max(work, LEAST_WORK),
            body_bytes=order.call.body.held_bytes,
            since=now,
            until=now + left_s[ends],
            ends=ends,
            begun=draft.begun,
            key=key,
        )

    def promise(self, order: Order, wanted: Wanted, model: str) -> None:
        """Fill in the call's work and its promise, if it goes to this model."""
        wanted.work, wanted.terms = self._terms(order, model)
        if wanted.terms.unmet == "refuse" and order.draft.begun:
            wanted.terms.unmet = "best_effort"  # what was done would be billed for nothing
        wanted.tenant, wanted.size = order.caller.tenant, order.call.size

    def _terms(self, order: Order, model: str) -> tuple[float, Terms]:
        return self._goals.terms(
            order.call,
            model=model,
            modality=order.modality,
            tenant=order.caller.tenant,
            slo=order.caller.policy.slo,
        )

    def work(self, order: Order) -> float:
        """The work of a call that is promised nothing."""
        return self._goals.work(order.call, model=order.model.name, modality=order.modality)

    def attempt_s(self, order: Order, lease: Lease) -> float:
        """How long one attempt may take, so that time is left to try another engine.

        The promise or the configuration says so.  A call that no other engine would answer, or that
        will not be retried, has all the time of its phase.
        """
        timeouts, name, size = self._timeouts, order.modality.name, order.call.size
        whole_s, patience_s = timeouts.first_s(name, order.call), lease.patience_s
        if name in timeouts.attempts and order.call.reply == "whole":
            patience_s = min(patience_s, timeouts.seconds(name, "attempt", size))
        if patience_s >= whole_s or order.attempts >= EXTRA or "late" in order.failures:
            return whole_s
        pool, now = self._fleet.pools.get(order.model.name), self._fleet.now()
        elsewhere = answers_elsewhere(pool, order.new_wanted(), lease.backend.name, now)
        return patience_s if elsewhere else whole_s

    def needs_s(self, order: Order) -> float:
        """The predicted seconds of the call at the best engine that has not failed it."""
        wanted, model = order.new_wanted(), order.model.name
        self.promise(order, wanted, model)
        return soonest_s(self._fleet.pools.get(model), wanted)
