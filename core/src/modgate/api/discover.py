"""Finding engines: a discoverer is a generator that says what it must ask, and what it found.

It does no I/O: the core asks for it, so a test calls it like a function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel

from modgate.api.authenticator import Document
from modgate.api.secret import Secret
from modgate.api.select import Backend
from modgate.api.shipment import must_fit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One engine as a discoverer sees it.

    `uid`: what it stays the same by, among those of its discoverer; statistics and calls in hand
    are kept by it.  `draining`: it is going away: no new calls while another is there.  What is
    None is as its `[[discover]]` says; `serves` may name models of that only.
    """

    uid: str
    url: str
    name: str = ""
    draining: bool = False
    region: str | None = None
    hardware: str | None = None
    slots: int | None = None
    serves: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """An exception for what is of another type, or that no row can hold: it would be in the way
        of each reload, or of each sink."""
        texts = (self.uid, self.url, self.name, self.region or "", self.hardware or "")
        serves = {} if self.serves is None else self.serves
        must_fit_rows("".join((*texts, *serves.keys(), *serves.values())))
        index(self.slots or 0)


class Away(Exception):
    """What was asked could not be had; thrown into the generator.  Its text may be logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """A document of a server that the operator named; the answer is a `Document`, of any status.

    `token`: a file with a bearer token, read anew for each; `ca`: PEM file of the only authorities
    that its certificate may be of.
    """

    url: str
    token: Path | None = None
    ca: Path | None = None
    at_most: int = 32 << 20
    within_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Get):
    """A reply that comes line by line: status 200 answers `Line`, any other a `Document`.

    `within_s` is for all of it; `line_at_most` bytes are in a line.
    """

    line_at_most: int = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """The next line of the open `Watch`: `Line`, or None when it has ended in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, without its end; b"" right after the head, before the first."""

    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A file; the answer is a `Document` with status 200."""

    path: Path
    at_most: int = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """A name; the answer is `Names`: addresses, or the targets of its SRV records."""

    name: str
    kind: Literal["address", "srv"] = "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class SrvTarget:
    """Where an SRV record leads; the lowest `priority` is meant first."""

    host: str
    port: int
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a name leads to, and for how many seconds that may be believed."""

    addresses: Sequence[str] = ()
    targets: Sequence[SrvTarget] = ()
    ttl_s: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait; no answer."""

    for_s: float

    def __post_init__(self) -> None:
        """ValueError for what is no time: it would stop the clock of everybody."""
        if not isfinite(self.for_s):
            raise ValueError("a pause is a number of seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All engines that there are from now on; no answer."""

    instances: Sequence[Instance]

    def __post_init__(self) -> None:
        """TypeError for what is no Instance."""
        for each in self.instances:
            if not isinstance(each, Instance):
                raise TypeError(f"an engine that is found is an Instance, no {type(each).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What is known may be old: the set stays, the operator is told once; no answer."""

    reason: str


Want = Get | Watch | More | Read | Resolve | Pause | Found | Lost
Told = Document | Line | Names | None
T = TypeVar("T")
Finding = Generator[Want, Told, T]

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Number = Callable[[], float]


class Discoverer(ABC, Generic[ConfigT]):
    """A plugin's class: the host makes one instance for each `[[discover]]` whose kind is its name.

    `config_type` is a frozen model, equal where it says the same: then a reload lets it run on.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[BaseModel]]

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def discover(self, now: Number, rng: Number) -> Finding[None]:
        """Find engines for as long as the gateway runs.

        `now`: monotonic seconds; `rng`: 0 up to 1.  Pure between two yields.  Each round must yield
        a `Pause` or something that waits.  Returning means that the last `Found` holds for ever.
        """


AnyDiscoverer = Discoverer[Any]  # each has a config type of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Who is told that calls wait for an engine to be found: `ca` is a PEM file, or ""."""

    url: str
    key: Secret | None = None
    ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredDiscoverer:
    """A discoverer as an operator put it to work.

    `kind`: the discoverer's own name.  `template`: what its engines are but for name and url.
    `named`: models of which nobody knows that an engine with another name for them serves the same.
    `wake`: who makes an engine when there is none.
    """

    name: str
    kind: str
    config: BaseModel
    template: Backend
    named: frozenset[str] = frozenset()
    wake: Wake | None = None
