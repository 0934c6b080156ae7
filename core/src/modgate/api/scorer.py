"""What an operator's own rules say of the backends that a call may go to: filters and scorers.

They are asked within the pick, once a call, so they are short: a loop over what they are shown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, Protocol, TypeVar

import msgspec
from pydantic import BaseModel

from modgate.api.vitals import Vitals
from modgate.units import NOTHING, Units

# A score outside of these is none.
LEAST_SCORE, MOST_SCORE = 0.01, 100.0
# Keys of every `[scorer.*]` section; a filter's or scorer's own have other names.
EVERY_SCORER = frozenset({"kind", "models", "budget", "weight"})


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is to be placed.

    `slo`: its class, '' = none.  `work`: its size as the pick counts it, in the modality's weighted
    units.  `phase`: the one that is judged, and `target_s` what was promised of it.  `requires`:
    what its backend must have; all that are shown have it, or do not say.
    """

    model: str
    modality: str
    tenant: str = ""
    slo: str = ""
    size: Units = NOTHING
    work: float = 0.0
    phase: Literal["first_byte", "total"] = "total"
    target_s: float = 1.0
    requires: tuple[tuple[str, str], ...] = ()


class Candidate(Protocol):
    """A backend as a filter or scorer sees it: as it is now, so keep nothing of it."""

    @property
    def backend(self) -> str:
        """Its name."""
        ...

    @property
    def region(self) -> str:
        """Where it stands; '' = nobody said."""
        ...

    @property
    def hardware(self) -> str:
        """Its hardware class; '' = nobody said."""
        ...

    @property
    def cost_per_hour(self) -> float | None:
        """What it costs to have, in the operator's currency; None = nobody said."""
        ...

    @property
    def offers(self) -> Mapping[str, frozenset[str]]:
        """By kind what calls may require of it; a kind that is absent refuses nothing."""
        ...

    @property
    def slots(self) -> int:
        """Calls that it takes at once."""
        ...

    @property
    def taken(self) -> int:
        """Calls that it has in hand, of all gateways that are known of."""
        ...

    @property
    def work(self) -> float:
        """The work that it has in hand of this model, in the modality's weighted units."""
        ...

    @property
    def vitals(self) -> Vitals:
        """What it says of itself, and its hardware's exporter of it; at most a second old."""
        ...


ConfigT = TypeVar("ConfigT", bound=BaseModel, covariant=True)


class Advising(ABC, Generic[ConfigT]):
    """What filters and scorers share: the host makes one instance a `[scorer.*]` section.

    `modalities`: whose calls it understands, empty = all.  `budget_s`: seconds of an answer; one
    that is late again and again is left out for a while.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[BaseModel]]
    modalities: ClassVar[frozenset[str]] = frozenset()
    budget_s: ClassVar[float] = 0.001

    def __init__(self, config: ConfigT) -> None:
        self.config = config


class Filter(Advising[ConfigT]):
    """Says where calls may go, as advice.

    One that leaves no backend is passed over, and so is one that breaks.  What must hold is a
    policy's `Narrow`, or the caller's regions.
    """

    @abstractmethod
    def keeps(self, call: Placement, candidates: Sequence[Candidate]) -> Sequence[bool]:
        """Whether each of these may take the call, in their order.  Pure, and no I/O."""


class Scorer(Advising[ConfigT]):
    """Says which backends it likes, of those that will be in time, or of all where none will."""

    @abstractmethod
    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> Sequence[float]:
        """What each candidate's predicted time is multiplied by: 1 = nothing, 2 = half as good.

        From 0.01 to 100, in their order.  `seconds`: the predicted time of each.  Pure, and no I/O.
        """


AnyAdviser = Advising[BaseModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAdviser:
    """A filter or scorer as an operator put it to work.

    `kind`: its own name.  `models`: those whose calls it sees.  `weight`: of a scorer's scores, by
    which they are raised: 0 = they count nothing.
    """

    name: str
    kind: str
    config: BaseModel
    models: frozenset[str]
    budget_s: float
    weight: float = 1.0
