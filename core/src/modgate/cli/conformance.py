"""The contract of what a plugin brought, rule by rule, without its tests beside it.

Needs modgate[testing].  Its rules are methods; here they are called one by one, so that what comes
out is a verdict and no report of a test runner.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import modgate
from modgate.api.dialect import Dialect
from modgate.api.modality import AnyModality
from modgate.api.plan import Call
from modgate.faults import RAISED
from modgate.host.load import Loaded
from modgate.testing import Contract
from modgate.testing.contract import rules
from modgate.testing.rules_dialect import DialectRules
from modgate.testing.rules_transcript import TranscriptRules

OURS = Path(modgate.__file__).parent
CAUSES_AT_MOST = 5
TRANSCRIPTS = "transcripts lie beside an author's own contract"
ENGINE = "`engine(call)` of an author's own contract plays the engine"


class _Unplayed(Exception):
    """A rule wants what only an author's own contract has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one rule, and why."""

    rule: str
    state: Literal["holds", "broken", "not checked"]
    why: str = ""


def contracts(loaded: Loaded, plugin: str) -> Iterator[tuple[str, type[Contract], list[str]]]:
    """For each modality that a plugin brings or spells: what it is, its contract, and the rules."""
    for name, modality in loaded.modalities.items():
        brings = loaded.owners[name].name == plugin
        dialects = [
            kind
            for (spelled, family), kind in loaded.dialects.items()
            if spelled == name and (spelled, family) in loaded.speakers
            if loaded.speakers[spelled, family].name == plugin
        ]
        if brings:
            yield f"modality {name}", _contract(loaded, modality, dialects), rules()
        elif dialects:
            theirs = [rule for rule in rules() if hasattr(DialectRules, rule)]
            yield f"dialects of {name}", _contract(loaded, modality, dialects), theirs


def _contract(loaded: Loaded, modality: AnyModality, spoken: list[type[Dialect]]) -> type[Contract]:
    kind, configured = type(modality), modality.config

    class Installed(Contract):
        """As it is configured, with whatever surfaces there are."""

        modality = kind
        dialects = spoken
        surfaces = tuple(map(type, loaded.surfaces.values()))

        def built(self) -> AnyModality:
            return kind(configured)

        def engine(self, call: Call) -> bytes:
            raise _Unplayed(ENGINE)

    return Installed


def verdicts(contract: type[Contract], names: list[str]) -> Iterator[Verdict]:
    """What comes of each rule, one after the other."""
    for name in names:
        if hasattr(TranscriptRules, name):
            if any(kind.family != "home" for kind in contract.dialects):
                yield Verdict(rule=name, state="not checked", why=TRANSCRIPTS)
            continue
        with TemporaryDirectory() as folder:
            rule = getattr(contract(), name)
            try:
                rule(*([Path(folder)] if inspect.signature(rule).parameters else ()))
            except _Unplayed as unplayed:
                yield Verdict(rule=name, state="not checked", why=str(unplayed))
            except KeyboardInterrupt:
                raise
            except RAISED as error:
                yield Verdict(rule=name, state="broken", why="\n".join(_chain(error)))
            else:
                yield Verdict(rule=name, state="holds")


def _chain(error: BaseException) -> Iterator[str]:
    """An error and what it came of, each with the plugin's own line where it was raised."""
    here: BaseException | None = error
    for _ in range(CAUSES_AT_MOST):
        if isinstance(here, BaseExceptionGroup):
            here = here.exceptions[0]
        if here is None:
            return
        kind = "" if isinstance(here, AssertionError) else f"{type(here).__name__}: "
        yield f"{kind}{here}{_place(here)}"
        here = here.__cause__


def _place(error: BaseException) -> str:
    """Where in the plugin it was raised; nowhere when a rule itself said it."""
    frames = traceback.extract_tb(error.__traceback__)
    last = Path(frames[-1].filename) if frames else OURS
    if isinstance(error, AssertionError) and last.is_relative_to(OURS):
        return ""
    theirs = [frame for frame in frames if not Path(frame.filename).is_relative_to(OURS)]
    return f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
