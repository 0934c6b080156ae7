"""How a gateway knows what others have in hand at the engines that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from modgate.fleet.pool import Pool

Sight = Literal["alone", "joining", "up", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How the view stands, for people.

    `alone`: others are not asked for.  `heard_of`: the gateways that count now.  `refused`: frames
    that counted for nothing since the start, by reason.
    """

    sight: Sight = "alone"
    heard_of: Sequence[str] = ()
    refused: Mapping[str, int] = field(default_factory=dict)


class PeerView(Protocol):
    """Keeps `elsewhere`, `others` and `exact` of the pools of the moment, behind requests' backs.

    No request ever waits for it.  Where it sees nothing, pools are not `exact` and compare a
    sample.
    """

    def use(self, pools: Mapping[str, Pool], pump: Callable[[], None]) -> None:
        """These are the pools from now on, by model: at the start, after a reload, and when engines
        were found or lost.  `pump`: is told that a place may have come free."""
        ...

    def seen(self) -> Seen:
        """How it stands."""
        ...

    async def close(self) -> None:
        """See no more, and let others know."""
        ...


class NoPeers:
    """No view: a gateway that shares its engines with none, or is not told with which."""

    def use(self, pools: Mapping[str, Pool], pump: Callable[[], None]) -> None:
        """Nothing: pools are as they were made."""

    def seen(self) -> Seen:
        """Alone."""
        return Seen()

    async def close(self) -> None:
        """Nothing."""
