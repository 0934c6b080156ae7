"""How large the calls of a receipt were, in the units that goals and engines are asked in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modgate.api.modality import AnyModality
from modgate.sim.receipts import Past, PastCall
from modgate.sim.speeds import Sample
from modgate.units import Units

GAP_S = 1e-6  # an event that came before the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """What one call of a request needed: an equal part, because no receipt tells which call had
    what.

    `bound`: what the gateway knew when the request came.  `whole`: what all of it took in the end.
    `read`, `written`, `work`: weighted units of one call.
    """

    bound: Units
    whole: Units
    read: float
    written: float
    work: float


def size_of(past: Past, modality: AnyModality) -> Sized:
    """Of a request's calls."""
    learned = {unit.name for unit in modality.units if unit.learned}
    known = {unit.name for unit in modality.units}
    counts = {name: n for name, n in past.counts.items() if name in known}
    many = len(past.calls)
    bounds = {name: past.reserved.get(name, n) for name, n in counts.items()}
    weights = modality.weights
    work = sum(weights.get(name, 0.0) * n for name, n in counts.items()) / many
    written = sum(weights.get(name, 0.0) * counts.get(name, 0) for name in learned) / many
    return Sized(
        bound=Units(_parts(bounds, many)),
        whole=Units(counts),
        read=work - written,
        written=written,
        work=work,
    )


def _parts(counts: Mapping[str, int], many: int) -> dict[str, int]:
    return {name: -(-n // many) for name, n in counts.items()}


def sample_of(past: Past, call: PastCall, size: Sized) -> Sample:
    """A call that was answered, with the work of all calls that shared its trip."""
    return Sample(
        began=past.at + call.began_s,
        first=past.at + call.first_s,
        ended=past.at + call.ended_s,
        read=size.read * call.members,
        written=size.written * call.members,
        work=size.work * call.members,
        streams=past.stream and call.ended_s - call.first_s > GAP_S,
    )
