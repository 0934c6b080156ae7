"""What is promised to calls: the targets of their SLO class and modality, as terms of a pick.

Everything that does not depend on the call is worked out once for each class and modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modgate.api.modality import AnyModality
from modgate.api.plan import Call
from modgate.api.select import Target
from modgate.fleet.affinity import key_of
from modgate.fleet.expected import Expected
from modgate.fleet.terms import Explores, Phase, Terms, Unmet
from modgate.units import Units

Targets = Mapping[str, Mapping[str, Mapping[str, Target]]]
BEST_EFFORT: Unmet = "best_effort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Of one SLO class and modality.

    `learned`: units that a call's size bounds and does not tell, short name to full.
    """

    slo: str
    first_byte: Target | None
    total: Target
    between_s: float
    serial: bool
    learned: Mapping[str, str]
    weights: Mapping[str, float]
    unmet: Unmet
    explores: Explores

    def terms(self, call: Call, size: Units, affinity: int | None) -> Terms:
        """What is promised to a call of this size."""
        phase: Phase = "total"
        target = self.total
        if call.reply != "whole" and self.first_byte is not None:
            phase, target = "first_byte", self.first_byte
        serial = self.serial and phase == "first_byte"
        read = 0.0
        if serial:
            for name, count in size.items():
                if name not in self.learned:
                    read += self.weights.get(name, 0.0) * count
        return Terms(
            slo=self.slo,
            phase=phase,
            serial=serial,
            target_s=target.seconds(size) or 1e-3,
            between_s=self.between_s if phase == "first_byte" else 0.0,
            read=read,
            affinity=affinity,
            explores=self.explores,
            objective=target.objective,
            unmet=self.unmet,
        )


class Goals:
    """Of one snapshot.

    `targets`: by SLO class, modality and phase; what a class does not say is as the modality has
    it.  `unmet`: by class, what happens to a call whose promise nobody will keep.
    """

    def __init__(
        self, targets: Targets, unmet: Mapping[str, Unmet], expected: Mapping[str, Expected]
    ) -> None:
        self._targets = targets
        self._unmet = unmet
        self._expected = expected
        self._goals: dict[tuple[str, str], Goal] = {}

    def terms(
        self, call: Call, *, model: str, modality: AnyModality, tenant: str, slo: str
    ) -> tuple[float, Terms]:
        """A call's work and what is promised to it.

        Of what its size only bounds, as much counts as calls of this model were seen to take.
        """
        goal = self._goals.get((slo, modality.name))
        if goal is None:
            goal = self._goals[slo, modality.name] = self._goal(slo, modality)
        size = call.size
        if goal.learned and (seen := self._expected.get(model)) is not None:
            size = seen.of(size, goal.learned)
        affinity = None if call.affinity is None else key_of(tenant, model, call.affinity)
        return size.work(goal.weights), goal.terms(call, size, affinity)

    def _goal(self, slo: str, modality: AnyModality) -> Goal:
        own = self._targets.get(slo, {}).get(modality.name, {})
        phases = {**modality.phases, **own}
        unmet = self._unmet.get(slo, BEST_EFFORT)
        return Goal(
            slo=slo,
            first_byte=phases.get("first_byte"),
            total=phases.get("total", modality.deadlines["total"]),
            between_s=phases["between"].base_s if "between" in phases else 0.0,
            serial="first_byte" in modality.serial,
            learned={u.name: f"{modality.name}.{u.name}" for u in modality.units if u.learned},
            weights=modality.weights,
            unmet=unmet,
            explores="first" if not slo else "late" if unmet == BEST_EFFORT else "never",
        )
