"""Narrowing what a request may have: by construction never more than before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from modgate.api.auth import Caller
from modgate.api.json import Json
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.policy import Narrow
from modgate.api.select import Target, Targets
from modgate.errors import PluginFault

Requires = tuple[tuple[str, str], ...]


def narrowed_caller(caller: Caller, narrow: Narrow, targets: Targets) -> Caller:
    """The caller as the rest of the request knows it: its regions are cut, its class is lowered."""
    policy = caller.policy
    regions, slo = policy.regions, policy.slo
    if narrow.regions is not None:
        regions = narrow.regions if regions is None else regions & narrow.regions
    if narrow.slo is not None:
        if narrow.slo and narrow.slo not in targets:
            raise PluginFault(f"a policy named the SLO class '{narrow.slo}', which is not there")
        slo = narrow.slo if at_most(narrow.slo, slo, targets) else slo
    return replace(caller, policy=replace(policy, regions=regions, slo=slo))


def at_most(lower: str, upper: str, targets: Targets) -> bool:
    """Whether a class promises nothing that `upper` does not: in no phase sooner, or more often."""
    ours, theirs = targets.get(lower, {}), targets.get(upper, {})
    return all(
        phase in theirs.get(modality, {}) and _no_better(target, theirs[modality][phase])
        for modality, phases in ours.items()
        for phase, target in phases.items()
    )


def _no_better(lower: Target, upper: Target) -> bool:
    units = lower.per_unit.keys() | upper.per_unit.keys()
    return (
        lower.base_s >= upper.base_s
        and lower.objective <= upper.objective
        and all(lower.per_unit.get(name, 0) >= upper.per_unit.get(name, 0) for name in units)
    )


def narrowed_plan(plan: Plan, requires: Requires) -> Plan:
    """The plan whose calls, drawn or to be drawn, require this, too."""
    if not requires:
        return plan
    calls = plan.calls
    if isinstance(calls, Drawn):
        to_call = calls.to_call

        def requiring(index: int, piece: Json) -> Call | None:
            call = to_call(index, piece)
            return None if call is None else _requiring(call, requires)

        return replace(plan, calls=replace(calls, to_call=requiring))
    if isinstance(calls, tuple | list):  # a plan without a reserve must keep them countable
        return replace(plan, calls=tuple(_requiring(call, requires) for call in calls))
    return replace(plan, calls=_each(calls, requires))


def _each(calls: Iterable[Call], requires: Requires) -> Iterable[Call]:
    return (_requiring(call, requires) for call in calls)


def _requiring(call: Call, requires: Requires) -> Call:
    more = tuple(each for each in requires if each not in call.requires)
    return replace(call, requires=(*call.requires, *more))
