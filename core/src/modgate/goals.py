"""What is promised to calls: the targets of their SLO class and modality, as terms of a pick.

Everything that does not depend on the call is worked out once for each class and modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modgate.api.modality import AnyModality
from modgate.api.plan import Call
from modgate.api.select import Target, Targets
from modgate.fleet.affinity import key_of
from modgate.fleet.expected import Expected
from modgate.fleet.terms import Common, Phase, Step, Terms, Unmet
from modgate.units import Units

BEST_EFFORT: tuple[Step, ...] = ("best_effort",)
LATE = 2.0  # times its target: as late as a call is served before something else is tried
NOTHING: Mapping[str, float] = {}
LEAST_S = 1e-3
UNSEEN = 200.0  # of a unit that is learned, as long as no call was seen


class Counted(NamedTuple):
    """One unit of a call's size: what it weighs, and the seconds that each is given.

    `learned`: the unit's full name where a size bounds it and does not tell, else ''.
    """

    weight: float
    learned: str
    each_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Of one SLO class and modality, in the phase that is judged first.

    `between`: of the gaps of a stream.  `units`: those that weigh something or are given time, by
    short name.
    """

    common: Common
    target: Target
    between: Target | None
    units: Mapping[str, Counted]

    def terms(
        self, call: Call, seen: Mapping[str, float], affinity: int | None
    ) -> tuple[float, Terms]:
        """A call's work and what is promised to it; `seen`: what calls take, by full name."""
        units, between, between_s = self.units, self.between, 0.0
        if between is not None:
            between_s = between.seconds(call.size) if between.per_unit else between.base_s
        work = written = 0.0
        seconds = longest = self.target.base_s
        for name, bound in call.size.items():
            if name not in units:
                continue
            weight, learned, each_s = units[name]
            count: float = bound
            if learned:
                count = min(count, seen.get(learned, UNSEEN))
                written += weight * count
            work += weight * count
            seconds += each_s * count
            longest += each_s * bound
        read = work - written if self.common.serial else 0.0
        own = seconds or LEAST_S, longest or LEAST_S, between_s, read, affinity
        return work, Terms(*self.common, *own)


class Goals:
    """Of one snapshot.

    `targets`: by SLO class, modality and phase; what a class does not say is as the modality has
    it.  `unmet`: by class, what happens in turn to a call whose promise nobody will keep.
    """

    def __init__(
        self,
        targets: Targets,
        unmet: Mapping[str, Sequence[Step]],
        expected: Mapping[str, Expected],
    ) -> None:
        self._targets = targets
        self._unmet = unmet
        self._expected = expected
        self._goals: dict[tuple[str, str], tuple[Goal, Goal]] = {}
        self._works: dict[str, dict[str, tuple[float, str]]] = {}

    def work(self, call: Call, *, model: str, modality: AnyModality) -> float:
        """A call's work where nothing is promised."""
        counted = self._works.get(modality.name)
        if counted is None:
            learned = {u.name for u in modality.units if u.learned}
            counted = self._works[modality.name] = {
                name: (weight, f"{modality.name}.{name}" if name in learned else "")
                for name, weight in modality.weights.items()
            }
        expected = self._expected.get(model)
        seen = expected.counts if expected is not None else NOTHING
        work = 0.0
        for name, bound in call.size.items():
            if name in counted:
                weight, full = counted[name]
                work += weight * (min(bound, seen.get(full, UNSEEN)) if full else bound)
        return work

    def terms(
        self, call: Call, *, model: str, modality: AnyModality, tenant: str, slo: str
    ) -> tuple[float, Terms]:
        """A call's work and what is promised to it.

        Of what its size only bounds, as much counts as calls of this model were seen to take.
        """
        whole, stream = self._of(slo, modality)
        goal = whole if call.reply == "whole" else stream
        expected = self._expected.get(model)
        affinity = None if call.affinity is None else key_of(tenant, model, call.affinity)
        return goal.terms(call, expected.counts if expected else NOTHING, affinity)

    def target(
        self, size: Units, *, stream: bool, modality: AnyModality, slo: str
    ) -> tuple[Phase, float]:
        """The phase that is judged of a call of this size, and its target at most, in seconds.

        For people, where nothing was chosen and so nothing was promised.
        """
        goal = self._of(slo, modality)[stream]
        return goal.common.phase, goal.target.seconds(size)

    def _of(self, slo: str, modality: AnyModality) -> tuple[Goal, Goal]:
        """Of calls whose replies come whole, and of others."""
        if slo not in self._targets:
            slo = ""  # nothing is promised to it, so nothing is counted for it alone
        goals = self._goals.get((slo, modality.name))
        if goals is None:
            whole = self._goal(slo, modality, stream=False)
            goals = whole, self._goal(slo, modality, stream=True)
            self._goals[slo, modality.name] = goals
        return goals

    def _goal(self, slo: str, modality: AnyModality, *, stream: bool) -> Goal:
        own = self._targets.get(slo, {}).get(modality.name, {})
        phases = {"total": modality.deadlines["total"], **modality.phases, **own}
        phase: Phase = "first_byte" if stream and "first_byte" in phases else "total"
        target, between = phases[phase], phases.get("between") if stream else None
        steps = self._unmet.get(slo, BEST_EFFORT)
        unmet = last_of(steps)
        away = "fallback" in steps
        before = steps[: steps.index("fallback")] if away else ()
        common = Common(
            slo=slo,
            phase=phase,
            serial=phase == "first_byte" and phase in modality.serial,
            explores="first" if not slo else "late" if unmet == "best_effort" else "never",
            objective=target.objective,
            between_objective=(between or target).objective,
            unmet=unmet,
            away=away,
            late=LATE if "best_effort" in steps else 0.0,
            sooner=LATE if "best_effort" in before else 0.0,
            said=phase in own,
        )
        learned = {u.name: f"{modality.name}.{u.name}" for u in modality.units if u.learned}
        units = {
            name: Counted(
                modality.weights.get(name, 0.0),
                learned.get(name, ""),
                target.per_unit.get(name, 0.0),
            )
            for name in {*modality.weights, *learned, *target.per_unit}
        }
        return Goal(common=common, target=target, between=between, units=units)


def last_of(steps: Sequence[Step]) -> Unmet:
    """What happens in the end; a call that waits in vain is refused anyway."""
    last = "queue" if "queue" in steps else steps[-1]
    assert last != "fallback", "it says what happens where there is none"
    return last
