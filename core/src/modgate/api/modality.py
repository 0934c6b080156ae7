"""A modality: what a plugin declares, and where it shapes requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel

from modgate.api.json import Json
from modgate.api.model import ModelFacts, StandIn
from modgate.api.need import MIB, Need
from modgate.api.plan import Call, Plan
from modgate.api.relay import Event, Usage
from modgate.api.request import Request
from modgate.api.select import Target
from modgate.units import Unit, Units

Shape = Callable[[Request], "Plan | Generator[Need, Json, Plan]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How calls of several requests share one trip: pure functions in the home wire.

    `key(call)`: calls of equal keys may share; None = never.  `merge(calls)` makes one call,
    `split(calls, event)` gives each its own whole reply, in order.  `count(call)`: items of a call;
    a trip holds at most `most` of them.
    """

    key: Callable[[Call], Hashable | None]
    merge: Callable[[Sequence[Call]], Call]
    split: Callable[[Sequence[Call], Event], Sequence[Event]]
    count: Callable[[Call], int]
    most: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path that clients call.

    `surfaces`: by name; on a path with several, that of the SDK which says who it is, else the
    first that claims the body.  `body`: `json` or `form`.  `at_most`: bytes of the body.
    `model_optional`: the wire lets the model be absent (then the modality's `default_model`).
    `schema`: a msgspec struct or pydantic type of the body, and `summary`, for `/openapi.json`.
    `operation`: what receipts and traces call it, by default the modality's name.  `kind` says
    whether a reply may be a stream and binds nothing: each reply opens as its relay's `head` says.
    """

    path: str
    shape: Shape
    surfaces: tuple[str, ...] = ("openai",)
    body: Literal["json", "form"] = "json"
    at_most: int = 8 * MIB
    kind: Literal["unary", "stream"] = "unary"
    model_optional: bool = False
    batch: Batching | None = None
    schema: type | None = None
    summary: str = ""
    operation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A request with what an engine answers to it: feeds the contract kit, the docs, `modgate try`
    and the benchmark.

    Exactly one of `json` and `form` (name -> text, or (file name, bytes)).  `upstream`: per call,
    in call order, the engine's reply in the home wire: `bytes` = whole body, a list = SSE data or
    chunks.  `answers`: what the Needs of `shape` are answered, in order.  `reply`: the whole reply
    as JSON, or None = do not compare.  `usage`: the bill.
    """

    path: str
    model: str = "m"
    json: Mapping[str, Json] | None = None
    form: Mapping[str, str | tuple[str, bytes]] | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    answers: Sequence[Json] = ()
    upstream: Sequence[bytes | Sequence[bytes]] = ()
    reply: Json = None
    usage: Units | None = None
    exact: bool = True


ConfigT = TypeVar("ConfigT", bound=BaseModel)


class Modality(ABC, Generic[ConfigT]):
    """A plugin's class: the host makes one instance per snapshot, cheaply and without I/O.

    `units`, `weights` (unit -> scheduling work), `phases` (default targets of a silver class),
    `serial` (phases that an engine works off one call after the other, whatever its slots),
    `deadlines` (when the gateway gives up: `first_byte` and `total`, affine like targets).
    `gateway_counts`: units that the gateway measures itself, for which reserve >= usage.
    `stand_in`: what a model must share with one that answers in its place; None: none may.
    """

    name: ClassVar[str]
    units: ClassVar[tuple[Unit, ...]]
    weights: ClassVar[Mapping[str, float]]
    phases: ClassVar[Mapping[str, Target]] = {"total": Target(base_s=1.0)}
    serial: ClassVar[frozenset[str]] = frozenset()
    deadlines: ClassVar[Mapping[str, Target]] = {
        "first_byte": Target(base_s=60.0),
        "total": Target(base_s=600.0),
    }
    gateway_counts: ClassVar[frozenset[str]] = frozenset()
    config_type: ClassVar[type[BaseModel]]
    model_type: ClassVar[type[ModelFacts]] = ModelFacts
    samples: ClassVar[Sequence[Sample]] = ()
    stand_in: ClassVar[StandIn | None] = None

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def endpoints(self) -> Iterable[Endpoint]:
        """The paths this modality answers."""

    def count(self, call: Call, event: Event) -> Usage:
        """What a side call (`Ask`) did cost; by default its size, as an estimate."""
        del event
        return Usage(call.size, exact=False, by="estimate")


AnyModality = Modality[Any]  # each modality has a config type of its own
