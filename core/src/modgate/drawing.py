"""The calls of a plan, one by one: of an iterable, or made of what a decoder process sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from modgate.api.body import Body, File
from modgate.api.json import Json
from modgate.api.plan import Call, Drawn
from modgate.errors import GatewayError, PluginFault
from modgate.faults import raised
from modgate.units import Units

REPLIES = ("whole", "sse", "chunked")
AHEAD = 2  # calls may be drawn this many widths ahead of the head, where the plan does not say


class Pieces(Protocol):
    """The pieces that a decoder process makes of a file, as descriptors."""

    async def next(self) -> Json:
        """The next descriptor; StopAsyncIteration at the end."""
        ...

    def ended(self, calls: int) -> None:
        """This many calls have ended, so the process may go on."""
        ...

    async def close(self) -> None:
        """Kill the process."""
        ...


Draw = Callable[[Drawn, int], Pieces]  # starts a process that is so many calls ahead at most


class Drawing:
    """Draws the calls of one plan; `draw` and `ahead` matter to those of a decoder process."""

    def __init__(self, calls: Iterable[Call] | Drawn, draw: Draw, ahead: int) -> None:
        self._pieces: Pieces | None = None
        if isinstance(calls, Drawn):
            self._pieces = draw(calls, ahead)
            self._to_call = calls.to_call
        else:
            self._calls = iter(calls)
        self._count = 0
        self._ended = 0
        self._skipped = 0
        self.files: dict[int, list[File]] = {}  # by call: to be deleted when it has ended

    async def next(self) -> Call | None:
        """The next call; None when there is none.  What a plugin raises is its fault."""
        try:
            if self._pieces is None:
                for call in self._calls:
                    return check_call(call)
                return None
            drawn = await self._drawn(self._pieces)
            return None if drawn is None else check_call(drawn)
        except GatewayError:
            raise
        except raised() as error:
            raise PluginFault(f"{type(error).__name__} while a call was drawn") from error

    async def _drawn(self, pieces: Pieces) -> Call | None:
        """The call of the next piece that needs one; a piece without a call has ended at once."""
        while True:
            try:
                piece = await pieces.next()
            except StopAsyncIteration:
                return None
            self.files.setdefault(self._count, []).extend(files_in(piece))
            call = self._to_call(self._count, piece)
            if call is not None:
                self._count += 1
                return call
            self._skipped += 1
            self.ended(self._ended)

    def ended(self, calls: int) -> None:
        """This many calls have ended."""
        self._ended = calls
        if self._pieces is not None:
            self._pieces.ended(calls + self._skipped)

    async def close(self) -> None:
        """No more calls are wanted."""
        if self._pieces is not None:
            await self._pieces.close()


def check_call(call: Call) -> Call:
    """The call; PluginFault for what cannot be reserved and sent."""
    if not isinstance(call, Call):
        raise PluginFault(f"a plan drew {type(call).__name__}, and no Call")
    if not isinstance(call.size, Units):
        raise PluginFault(f"the size of a Call is Units, and not {type(call.size).__name__}")
    if not isinstance(call.body, Body):
        raise PluginFault(f"the body of a Call is a Body, and not {type(call.body).__name__}")
    if call.reply not in REPLIES:
        raise PluginFault(
            f"the reply of a Call is whole, sse or chunked, and not {call.reply!r:.20}"
        )
    return call


def check_asked(calls: Sequence[Call]) -> None:
    """PluginFault for what no Ask can send: all are made at once, so an iterator may not end."""
    if not isinstance(calls, tuple | list):
        name = type(calls).__name__
        raise PluginFault(f"the calls of an Ask are a list or a tuple, and not {name}")
    for call in calls:
        check_call(call)


def files_in(piece: Json) -> list[File]:
    """The spool files that a descriptor names."""
    values = piece.values() if isinstance(piece, dict) else [piece]
    return [value for value in values if isinstance(value, File)]
