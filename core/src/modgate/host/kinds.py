"""What plugins bring for an operator's sections to put to work, by kind: classes, and whose.

They are checked here as far as a class can be; what is made of one is the section's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from inspect import iscoroutinefunction
from typing import ClassVar, Protocol, TypeVar

from pydantic import BaseModel

from modgate.api.authenticator import AnyAuthenticator, Authenticator
from modgate.api.discover import AnyDiscoverer, Discoverer
from modgate.api.policy import EVERY_SECTION, AnyPolicy, PlanPolicy
from modgate.api.scorer import EVERY_SCORER, AnyAdviser, Filter, Scorer
from modgate.api.shipment import LedgerSink
from modgate.host.blame import blamed
from modgate.host.installed import Origin, core
from modgate.problems import PluginError


class Kind(Protocol):
    """A class that a section may name."""

    name: ClassVar[str]


KindT = TypeVar("KindT", bound=Kind)
Kinds = Mapping[str, tuple[Origin, type[KindT]]]
Answers = Iterable[tuple[Origin, type]]


def brought(
    what: str,
    answers: Answers,
    fitting: Callable[[Origin, type], type[KindT]],
    built_in: Mapping[str, type[KindT]] | None = None,
) -> Kinds[KindT]:
    """By name, with what needs no plugin; PluginError for one that is not `fitting`, or that is
    there already.
    """
    found = {name: (core(), kind) for name, kind in (built_in or {}).items()}
    for origin, answer in answers:
        with blamed(origin, answer.__name__):
            kind = fitting(origin, answer)
            missing = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
            if missing:
                raise PluginError(str(origin), f"{kind.__name__} has no '{missing}'")
            unique(origin, what, kind.name, found)
            found[kind.name] = origin, kind
    return found


def policy(origin: Origin, kind: type) -> type[AnyPolicy]:
    """It decides of requests."""
    if not issubclass(kind, PlanPolicy):
        raise PluginError(str(origin), f"{kind.__name__} is not a PlanPolicy")
    declares(origin, kind, "name", "config_type")
    _sayable(origin, kind, "policy", kind.config_type.model_fields.keys() & EVERY_SECTION)
    _in_time(origin, kind)
    if kind.on_failure not in ("closed", "open"):
        raise PluginError(str(origin), f"{kind.__name__}: 'on_failure' is one of closed, open")
    return kind


def scorer(origin: Origin, kind: type) -> type[AnyAdviser]:
    """It advises the pick."""
    if not issubclass(kind, Filter | Scorer):
        raise PluginError(str(origin), f"{kind.__name__} is neither a Filter nor a Scorer")
    declares(origin, kind, "name", "config_type")
    _sayable(origin, kind, "scorer", kind.config_type.model_fields.keys() & EVERY_SCORER)
    _in_time(origin, kind)
    return kind


def sink(origin: Origin, kind: type) -> type[LedgerSink]:
    """It keeps the ledger's rows."""
    if not issubclass(kind, LedgerSink) or not kind.name:
        raise PluginError(str(origin), f"{kind.__name__} is not a LedgerSink with a name")
    for name in ("open", "write", "look", "close"):
        if not iscoroutinefunction(getattr(kind, name)):
            raise PluginError(str(origin), f"{kind.__name__}: '{name}' must be an 'async def'")
    return kind


def authenticator(origin: Origin, kind: type) -> type[AnyAuthenticator]:
    """It knows callers."""
    if not issubclass(kind, Authenticator):
        raise PluginError(str(origin), f"{kind.__name__} is not an Authenticator")
    declares(origin, kind, "name", "config_type")
    return kind


def discoverer(origin: Origin, kind: type) -> type[AnyDiscoverer]:
    """It finds engines."""
    if not issubclass(kind, Discoverer):
        raise PluginError(str(origin), f"{kind.__name__} is not a Discoverer")
    declares(origin, kind, "name", "config_type")
    return kind


def declares(origin: Origin, kind: type, *names: str) -> None:
    """Class variables without a default must be there: nothing else asks an author for them."""
    for name in names:
        if getattr(kind, name, None) is None:
            raise PluginError(str(origin), f"{kind.__name__} declares no '{name}'")
    config = getattr(kind, "config_type", BaseModel)
    if not isinstance(config, type) or not issubclass(config, BaseModel):
        raise PluginError(str(origin), f"{kind.__name__}: 'config_type' is no pydantic model")


def unique(origin: Origin, what: str, name: str, known: Mapping[str, object]) -> None:
    """PluginError for a name that somebody else brings."""
    if name in known:
        other = known[name]
        owner = other[0] if isinstance(other, tuple) else other
        whose = f": it is of {owner}" if isinstance(owner, Origin) else ""
        raise PluginError(str(origin), f"brings the {what} '{name}', which exists already{whose}")


def _in_time(origin: Origin, kind: type[AnyPolicy | AnyAdviser]) -> None:
    """It may take some time."""
    if not kind.budget_s > 0:
        raise PluginError(str(origin), f"{kind.__name__}: 'budget_s' must be above 0")


def _sayable(origin: Origin, kind: type, what: str, taken: Set[str]) -> None:
    """Its section can say all of its keys."""
    if taken:
        names = ", ".join(sorted(taken))
        text = f"{kind.__name__}: every {what}'s section has '{names}'; call yours otherwise"
        raise PluginError(str(origin), text)
