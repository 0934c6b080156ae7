"""Whole numbers of a modality's own units: what is limited, metered, priced and billed."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from math import ceil
from typing import TypeVar, overload

T = TypeVar("T")
_new = object.__new__

# Of a unit in one request: exact in JSON and in every store, and a ledger row holds many.
COUNT_AT_MOST = 2**53 - 1
REQUESTS, BYTES_IN, BYTES_OUT = "requests", "bytes_in", "bytes_out"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit that a modality declares.

    `scale`: how many of the unit make one of what is shown outside (`audio_ms` has scale 1000 and
    is shown as `audio_seconds`).  `part_of`: the unit that this one is inside of.  `learned`:
    nobody knows beforehand how much of it a request needs; a limit may reserve less than the bound,
    and take debt.
    """

    name: str
    meaning: str
    shown: str = ""
    scale: int = 1
    part_of: str | None = None
    learned: bool = False

    @property
    def public(self) -> str:
        """The name used outside: config, headers, errors, metrics."""
        return self.shown or self.name

    def outside(self, count: int) -> str:
        """A count as it is shown outside: `12345` of `audio_ms` is `12.345` audio seconds."""
        if self.scale == 1:
            return str(count)
        digits = len(str(self.scale - 1))
        return f"{count / self.scale:.{digits}f}".rstrip("0").rstrip(".")

    def inside(self, shown: float) -> int:
        """A shown amount as whole units, rounded up."""
        return ceil(round(shown * self.scale, 6))


EVERYWHERE = (
    Unit(REQUESTS, "requests that were admitted"),
    Unit(BYTES_IN, "bytes of request bodies", learned=True),
    Unit(BYTES_OUT, "bytes of reply bodies", learned=True),
)


class Units(Mapping[str, int]):
    """An immutable count of units by their short name; it adds, and takes the larger of each.

    `modality` is empty until the core binds it (a plugin writes `Units(pages=3)`, the core knows
    whose pages).
    """

    __slots__ = ("_counts", "modality")

    def __init__(
        self, counts: Mapping[str, int] | None = None, /, modality: str = "", **more: int
    ) -> None:
        """Raise ValueError for a count that is negative or not a whole number: a plugin's fault."""
        merged = {**counts, **more} if counts else more
        for name, count in merged.items():
            if type(count) is not int or count < 0:
                raise ValueError(f"units: {name} must be a whole number of at least 0")
        self._counts = merged
        self.modality = modality

    @staticmethod
    def _made(counts: dict[str, int], modality: str) -> Units:
        """Of counts that are known to be right: arithmetic on the hot path checks nothing again."""
        made = _new(Units)
        made._counts = counts
        made.modality = modality
        return made

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    @overload
    def get(self, name: str, default: None = None, /) -> int | None: ...
    @overload
    def get(self, name: str, default: int | T, /) -> int | T: ...
    def get(self, name: str, default: object = None, /) -> object:
        """The count of a unit; the same as the mapping's own, without a lookup that raises."""
        return self._counts.get(name, default)

    def items(self) -> ItemsView[str, int]:
        """The counts by name."""
        return self._counts.items()

    def values(self) -> ValuesView[int]:
        """The counts."""
        return self._counts.values()

    def __bool__(self) -> bool:
        """Whether anything is counted."""
        return any(self._counts.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={count}" for name, count in self._counts.items())
        return f"Units({inside})"

    def __hash__(self) -> int:
        return hash(frozenset(self._counts.items()))

    def __add__(self, other: Mapping[str, int]) -> Units:
        merged = dict(self._counts)
        for name, count in other.items():
            merged[name] = merged.get(name, 0) + count
        return Units._made(merged, self.modality)

    def most(self, other: Mapping[str, int]) -> Units:
        """Per unit the larger of the two."""
        merged = dict(self._counts)
        for name, count in other.items():
            if count > merged.get(name, 0):
                merged[name] = count
        return Units._made(merged, self.modality)

    def beyond(self, other: Mapping[str, int]) -> Units:
        """What these exceed `other` by; never below 0."""
        merged = {name: max(0, count - other.get(name, 0)) for name, count in self._counts.items()}
        return Units._made(merged, self.modality)

    def of(self, modality: str) -> Units:
        """The same counts, bound to a modality."""
        return self if self.modality == modality else Units._made(self._counts, modality)

    def full(self) -> dict[str, int]:
        """Counts by full name, as limits, prices, metrics and the ledger spell them.

        `llm.input_tokens`.
        """
        return {f"{self.modality}.{name}": count for name, count in self._counts.items()}

    def named(self, modality: str) -> Units:
        """The same counts by the full names that they have in a modality."""
        counts = {f"{modality}.{name}": count for name, count in self._counts.items()}
        return Units._made(counts, "")

    def work(self, weights: Mapping[str, float]) -> float:
        """Scheduling work: the weighted sum of the units that have a weight."""
        work = 0.0
        for name, count in self._counts.items():
            work += weights.get(name, 0.0) * count
        return work


NOTHING = Units()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """Every unit of the enabled modalities, by full name.

    `shown`: the form of each name that is used outside.  `declared`: those that plugins count; the
    core counts the others.  `currency`: what money is counted in, where it is.
    """

    units: Mapping[str, Unit] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    currency: str = ""

    @staticmethod
    def of(declared: Mapping[str, tuple[Unit, ...]]) -> UnitTable:
        """Build from modality name -> declared units; the units of every modality are added."""
        table: dict[str, Unit] = {}
        for modality, units in declared.items():
            for unit in (*units, *EVERYWHERE):
                table[f"{modality}.{unit.name}"] = unit
        shown = {full: f"{full.partition('.')[0]}.{unit.public}" for full, unit in table.items()}
        own = (f"{modality}.{unit.name}" for modality, units in declared.items() for unit in units)
        return UnitTable(units=table, shown=shown, declared=frozenset(own))

    def public(self, full: str) -> str:
        """The shown form of a full name: `asr.audio_ms` -> `asr.audio_seconds`."""
        return self.shown.get(full, full)

    def resolve(self, written: str) -> list[str]:
        """The full names that an operator's `asr.audio_seconds` or `*.requests` means.

        Empty = unknown.
        """
        modality, _, name = written.partition(".")
        found = []
        for full, unit in self.units.items():
            owner = full.partition(".")[0]
            if unit.public == name and modality in ("*", owner):
                found.append(full)
        return found
