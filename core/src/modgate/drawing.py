"""The calls of a plan, one by one: of an iterable, or made of what a decoder process sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from modgate.api.body import Body, File
from modgate.api.json import Json
from modgate.api.plan import Call
from modgate.errors import GatewayError, PluginFault
from modgate.faults import raised
from modgate.units import Units


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


class Drawing:
    """Draws calls: of `calls`, or of `pieces`, each of which `to_call` makes one or none of."""

    def __init__(
        self,
        calls: Iterator[Call] | None = None,
        pieces: Pieces | None = None,
        to_call: Callable[[int, Json], Call | None] | None = None,
    ) -> None:
        self._calls = calls
        self._pieces = pieces
        self._to_call = to_call
        self._count = 0
        self._ended = 0
        self._skipped = 0
        self.files: dict[int, list[File]] = {}  # by call: to be deleted when it has ended

    async def next(self) -> Call | None:
        """The next call; None when there is none.  What a plugin raises is its fault."""
        try:
            if self._calls is not None:
                call = next(self._calls, None)
            else:
                call = await self._drawn()
            return None if call is None else check_call(call)
        except GatewayError:
            raise
        except raised() as error:
            raise PluginFault(f"{type(error).__name__} while a call was drawn") from error

    async def _drawn(self) -> Call | None:
        """The call of the next piece that needs one; a piece without a call has ended at once."""
        assert self._pieces is not None
        assert self._to_call is not None
        while True:
            try:
                piece = await self._pieces.next()
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
    return call


def files_in(piece: Json) -> list[File]:
    """The spool files that a descriptor names."""
    values = piece.values() if isinstance(piece, dict) else [piece]
    return [value for value in values if isinstance(value, File)]
