"""The order in which calls that wait for one model are served: by turns of classes and tenants.

Every class, and in it every tenant, has a counter of the work that it was given, divided by its
weight.  Next is the class with the least, in it the tenant with the least, and of that one the
request whose turn it is.  Who comes to wait is lifted to those that wait: being idle saves nothing
up.  What was served while nobody waited owes nothing, so a call that need not wait is not counted.

A pure structure: it knows no clock, no task and no backend; O(log n) in tenants.

Source: virtual token counters (Sheng et al., OSDI 2024); algorithms.md 2.2 and Appendix B (`VTC`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Generic, Literal

from modgate.fleet.ranked import Ranked
from modgate.fleet.turns import Turns, W

REBASE = 1e12
IDLE_AT_MOST = 1024  # tenants of a class whose counters are kept while nothing of theirs waits
IDLE_CLASSES_AT_MOST = 64  # likewise
LOOK_AT_MOST = 256  # wants that differ, and for which no slot is free

Took = Literal["taken", "blocked", "gone"]


class _Class(Generic[W]):
    """The tenants of one SLO class.

    `served`: the class's counter, `last`: a tenant's when it was served last.  `order`: of tenants
    that wait; `waiting`: the sum of their weights.  `idle`: the others, the longest idle first.
    """

    __slots__ = ("idle", "last", "order", "served", "tenants", "waiting", "weight")

    def __init__(self) -> None:
        self.weight = 1.0
        self.served = 0.0
        self.last = 0.0
        self.order = Ranked()
        self.waiting = 0.0
        self.tenants: dict[str, Turns[W]] = {}
        self.idle: OrderedDict[str, None] = OrderedDict()


class Charge(Generic[W]):
    """What a served call was counted for, until it is known what it took."""

    __slots__ = ("_class", "_tenant", "work")

    def __init__(self, of: _Class[W], tenant: Turns[W], work: float) -> None:
        self._class = of
        self._tenant = tenant
        self.work = work

    def settle(self, actual: float) -> None:
        """It took so much; a second time changes nothing more."""
        tenant, of, more = self._tenant, self._class, actual - self.work
        self.work = actual
        tenant.served += more / tenant.weight
        of.served += more / of.weight
        if tenant.calls and more:
            of.order.set(tenant.tenant, tenant.served, tenant.work)


class FairQueue(Generic[W]):
    """Calls that wait for one model.  `_idle`: classes of which none waits, the longest idle first;
    a reload may name others each time."""

    def __init__(self) -> None:
        self.calls = 0
        self._classes: dict[str, _Class[W]] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._last = 0.0
        self._shapes: dict[Hashable, int] = {}

    def push(self, item: W, class_weight: float) -> None:
        """It waits, behind its tenant's others."""
        claim = item.claim
        of = self._classes.get(claim.slo)
        if of is None:
            of = self._classes[claim.slo] = _Class()
        if not len(of.order):
            of.served = self._lifted(of.served)
            self._idle.pop(claim.slo, None)
        of.weight = class_weight
        tenant = of.tenants.get(claim.tenant)
        if tenant is None:
            tenant = of.tenants[claim.tenant] = Turns(claim.tenant)
        if not tenant.calls:
            least = of.order.least()
            floor = of.last if least is None else of.order.value(least)
            tenant.served = max(tenant.served, floor)
            tenant.weight = claim.weight
            of.waiting += claim.weight
            of.idle.pop(claim.tenant, None)
        tenant.push(item)
        if tenant.calls == 1:
            of.order.set(claim.tenant, tenant.served, tenant.work)
        self.calls += 1
        self._shapes[item.shape] = self._shapes.get(item.shape, 0) + 1

    def _lifted(self, served: float) -> float:
        others = [of.served for of in self._classes.values() if len(of.order)]
        return max(served, min(others) if others else self._last)

    def remove(self, item: W) -> None:
        """It waits no more, and is not counted; one that does not wait changes nothing."""
        self._out(item, served=False)

    def _out(self, item: W, *, served: bool) -> None:
        claim = item.claim
        of = self._classes[claim.slo]
        tenant = of.tenants[claim.tenant]
        tenant.remove(item, served=served)
        self.calls -= 1
        self._shapes[item.shape] -= 1
        if not self._shapes[item.shape]:
            del self._shapes[item.shape]
        if not tenant.calls:
            of.order.discard(claim.tenant)
            of.waiting = of.waiting - tenant.weight if len(of.order) else 0.0
            of.idle[claim.tenant] = None
            if len(of.idle) > IDLE_AT_MOST:
                del of.tenants[of.idle.popitem(last=False)[0]]
            if not len(of.order):
                self._idle[claim.slo] = None
                if len(self._idle) > IDLE_CLASSES_AT_MOST:
                    del self._classes[self._idle.popitem(last=False)[0]]

    def taken(self, item: W) -> Charge[W]:
        """It is served now, whoever's turn it is: it is counted."""
        claim = item.claim
        of = self._classes[claim.slo]
        tenant = of.tenants[claim.tenant]
        self._last, of.last = of.served, tenant.served
        of.served += claim.work / of.weight
        tenant.served += claim.work / tenant.weight
        self._out(item, served=True)
        if tenant.calls:
            of.order.set(claim.tenant, tenant.served, tenant.work)
        if of.last > REBASE:
            _rebase(of)
        if self._last > REBASE:
            self._rebase()
        return Charge(of, tenant, claim.work)

    def serve(
        self, take: Callable[[W], Took], blocked: set[Hashable]
    ) -> tuple[W, Charge[W]] | None:
        """The next one that `take` gives what it waits for; None when it has nothing for anybody.

        `take` answers `gone` for one that is not to be served any more: it is out, and not counted.
        `blocked`: shapes for which it had nothing; those that are found are added.
        """
        while len(blocked) < LOOK_AT_MOST:
            item = self._next(blocked)
            if item is None:
                break
            match take(item):
                case "taken":
                    return item, self.taken(item)
                case "blocked":
                    blocked.add(item.shape)
                case "gone":
                    self.remove(item)
        return None

    def _next(self, blocked: set[Hashable]) -> W | None:
        if self._shapes.keys() <= blocked:
            return None
        waiting = [of for of in self._classes.values() if len(of.order)]
        for of in sorted(waiting, key=lambda each: each.served):
            tenants = of.tenants
            name = of.order.first(partial(_waits, tenants, blocked))
            if name is not None:
                return tenants[name].first(blocked)
        return None

    def share(self, slo: str, tenant: str, weights: tuple[float, float]) -> float:
        """Of what the pool does, the part that a tenant has while all wait that wait now.

        `weights`: of its class and its own, should none of its calls wait.
        """
        of = self._classes.get(slo)
        classes = sum(each.weight for each in self._classes.values() if len(each.order))
        if of is None or not len(of.order):
            return weights[0] / (classes + weights[0])
        own = of.tenants.get(tenant)
        waits = own is not None and own.calls > 0
        weight = own.weight if own is not None and waits else weights[1]
        all_ = of.waiting if waits else of.waiting + weight
        return of.weight / classes * weight / all_

    def waits(self, slo: str, tenant: str) -> bool:
        """Whether a tenant has a call that waits, in this class."""
        of = self._classes.get(slo)
        return of is not None and tenant in of.order

    def ahead(self, slo: str, tenant: str) -> float:
        """The work of a tenant's calls that wait, in this class."""
        of = self._classes.get(slo)
        own = of.tenants.get(tenant) if of is not None else None
        return own.work if own is not None else 0.0

    def last_of(self, tenant: str, *, begun: bool = True) -> W | None:
        """Which of a tenant's calls is to go if one must: of its lightest class.

        `begun`: one of a request that was worked on may be it, if there is no other; else None.
        """
        waiting = [of for of in self._classes.values() if tenant in of.order]
        for of in sorted(waiting, key=lambda each: each.weight):
            last = of.tenants[tenant].last(begun=begun)
            if last is not None:
                return last
        return None

    def _rebase(self) -> None:
        self._last -= REBASE
        for of in self._classes.values():
            of.served -= REBASE


def _waits(tenants: Mapping[str, Turns[W]], blocked: set[Hashable], name: str) -> bool:
    return tenants[name].waits(blocked)


def _rebase(of: _Class[W]) -> None:
    """The same order in smaller numbers, before they are too large to count in."""
    of.last -= REBASE
    for tenant in of.tenants.values():
        tenant.served -= REBASE
        if tenant.calls:
            of.order.set(tenant.tenant, tenant.served, tenant.work)
