"""The work that a request became."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modgate.api.body import Body
from modgate.api.json import Json
from modgate.units import NOTHING, Units

if TYPE_CHECKING:
    from modgate.api.relay import Relay

ReplyKind = Literal["whole", "sse", "chunked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One upstream request in its modality's home wire.

    `size`: a bound for what the gateway counts itself, an estimate where it cannot.  `requires`:
    what a backend must offer, as kind -> value (`{"voice": "amy"}`).  `affinity`: where this call
    would like to go again.  `model`: another `[model.*]` entry than the request's; the call is then
    in that modality's home wire and units.  `raw`: the caller wants an engine's own members, too.
    `isolation`: what an engine remembers of it may serve calls of the same one only.
    """

    path: str
    body: Body
    size: Units = NOTHING
    reply: ReplyKind = "whole"
    requires: tuple[tuple[str, str], ...] = ()
    affinity: bytes | None = None
    model: str | None = None
    raw: bool = False
    isolation: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Calls that appear while a decoder process decodes.

    `function(*args, spool)` is a module-level generator function of a module that imports neither
    modgate nor aiohttp. It writes each piece with `spool(data)`, which answers a token, and yields
    a small descriptor (plain values and tokens).  In the gateway `to_call(index, descriptor)`,
    where tokens have become `File`s, makes a `Call` of it, or None: this piece needs no engine.
    `field`: what a refusal names that names none itself, as for `Work`.
    """

    function: Callable[..., Iterator[Json]]
    args: tuple[object, ...]
    to_call: Callable[[int, Json], Call | None]
    field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to call, how many at once, who joins the replies, and what it may cost at most.

    `calls` is drawn at most `width` ahead; `()` is legal: the relay answers alone.  `reserve` must
    be given when `calls` is not a sequence; else it is the sum of the sizes.  Calls that name
    another `model` are no part of it: each is reserved by its own size.  `partial`: a call that
    failed for good, or that its engine refused, does not fail the others; if all did, the request
    fails as the first of them.  `ahead`: of a plan wider than 1, calls that may be drawn and not
    yet relayed to their end, by default twice the width: where a client reads more slowly than
    engines write, no more than these are computed before it has read them.
    """

    calls: Iterable[Call] | Drawn
    relay: Relay
    reserve: Units | None = None
    width: int = 1
    ahead: int | None = None
    partial: bool = False
