"""What is promised to calls: the targets of their SLO class and modality, as terms of a pick.

Everything that does not depend on the call is worked out once for each class and modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modgate.api.modality import AnyModality
from modgate.api.plan import Call
from modgate.api.select import Target
from modgate.fleet.affinity import key_of
from modgate.fleet.expected import Expected
from modgate.fleet.terms import Explores, Phase, Step, Terms, Unmet
from modgate.units import Units

Targets = Mapping[str, Mapping[str, Mapping[str, Target]]]
BEST_EFFORT: tuple[Step, ...] = ("best_effort",)
LATE = 2.0  # times its target: as late as a call is served before something else is tried
NOTHING: Mapping[str, float] = {}
LEAST_S = 1e-3
UNSEEN = 200.0  # of a unit that is learned, as long as no call was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Of one SLO class and modality.

    `learned`: units that a call's size bounds and does not tell, short name to full.  `said`: the
    phases for which the class has targets of its own.
    """

    slo: str
    first_byte: Target | None
    total: Target
    between: Target | None
    serial: bool
    learned: Mapping[str, str]
    weights: Mapping[str, float]
    unmet: Unmet
    away: bool
    late: float
    sooner: float
    explores: Explores
    said: frozenset[str]

    def terms(
        self, call: Call, seen: Mapping[str, float], affinity: int | None
    ) -> tuple[float, Terms]:
        """A call's work and what is promised to it; `seen`: what calls take, by full name."""
        phase: Phase = "total"
        target = self.total
        if call.reply != "whole" and self.first_byte is not None:
            phase, target = "first_byte", self.first_byte
        serial = self.serial and phase == "first_byte"
        between, between_s = self.between if call.reply != "whole" else None, 0.0
        if between is not None:
            between_s = between.seconds(call.size) if between.per_unit else between.base_s
        work = written = 0.0
        seconds, weights, per_unit = target.base_s, self.weights, target.per_unit
        longest = seconds
        for name, bound in call.size.items():
            count: float = bound
            weight = weights.get(name, 0.0)
            if name in self.learned:
                count = min(count, seen.get(self.learned[name], UNSEEN))
                written += weight * count
            work += weight * count
            if name in per_unit:
                seconds += per_unit[name] * count
                longest += per_unit[name] * bound
        return work, Terms(
            slo=self.slo,
            phase=phase,
            serial=serial,
            target_s=seconds or LEAST_S,
            longest_s=longest or LEAST_S,
            between_s=between_s,
            between_objective=between.objective if between is not None else target.objective,
            read=work - written if serial else 0.0,
            affinity=affinity,
            explores=self.explores,
            objective=target.objective,
            unmet=self.unmet,
            away=self.away,
            late=self.late,
            sooner=self.sooner,
            said=phase in self.said,
        )


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
        self._goals: dict[tuple[str, str], Goal] = {}
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
        goal = self._of(slo, modality)
        expected = self._expected.get(model)
        affinity = None if call.affinity is None else key_of(tenant, model, call.affinity)
        return goal.terms(call, expected.counts if expected else NOTHING, affinity)

    def target(
        self, size: Units, *, stream: bool, modality: AnyModality, slo: str
    ) -> tuple[Phase, float]:
        """The phase that is judged of a call of this size, and its target at most, in seconds.

        For people, where nothing was chosen and so nothing was promised.
        """
        goal = self._of(slo, modality)
        if stream and goal.first_byte is not None:
            return "first_byte", goal.first_byte.seconds(size)
        return "total", goal.total.seconds(size)

    def _of(self, slo: str, modality: AnyModality) -> Goal:
        if slo not in self._targets:
            slo = ""  # nothing is promised to it, so nothing is counted for it alone
        goal = self._goals.get((slo, modality.name))
        if goal is None:
            goal = self._goals[slo, modality.name] = self._goal(slo, modality)
        return goal

    def _goal(self, slo: str, modality: AnyModality) -> Goal:
        own = self._targets.get(slo, {}).get(modality.name, {})
        phases = {**modality.phases, **own}
        steps = self._unmet.get(slo, BEST_EFFORT)
        unmet = last_of(steps)
        away = "fallback" in steps
        before = steps[: steps.index("fallback")] if away else ()
        return Goal(
            slo=slo,
            first_byte=phases.get("first_byte"),
            total=phases.get("total", modality.deadlines["total"]),
            between=phases.get("between"),
            serial="first_byte" in modality.serial,
            learned={u.name: f"{modality.name}.{u.name}" for u in modality.units if u.learned},
            weights=modality.weights,
            unmet=unmet,
            away=away,
            late=LATE if "best_effort" in steps else 0.0,
            sooner=LATE if "best_effort" in before else 0.0,
            explores="first" if not slo else "late" if unmet == "best_effort" else "never",
            said=frozenset(own),
        )


def last_of(steps: Sequence[Step]) -> Unmet:
    """What happens in the end; a call that waits in vain is refused anyway."""
    last = "queue" if "queue" in steps else steps[-1]
    assert last != "fallback", "it says what happens where there is none"
    return last
