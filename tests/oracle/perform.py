"""Writing one reply as its script says: pace, gates, and what goes wrong at which byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal, Protocol

from oracle.faults import GARBAGE, GARBAGE_EVENT, Fault, Piece, Script, error_event, huge_event
from oracle.framing import chunk_bytes, head_bytes
from oracle.record import Record
from oracle.replies import Reply

Ending = Literal["finish", "silence", "close", "reset", "kill"]


class Wire(Protocol):
    """The socket that a reply is written to; a broken one raises ConnectionError."""

    async def write(self, data: bytes) -> None:
        """Write and wait until the kernel has it."""

    def end(self, ending: Ending) -> None:
        """Break the connection, or the whole engine, in the given way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A reply with its fault worked in: what is written, the length it promises, and how it ends.

    `begun`: False when nothing is written, not even a status line.
    """

    reply: Reply
    length: int
    ending: Ending = "finish"
    begun: bool = True


def course(reply: Reply, fault: Fault | None) -> Course:
    """Work a fault into a reply."""
    if fault is None:
        return Course(reply=reply, length=_length(reply.pieces))
    where = _place(reply.pieces, fault.after or 0)
    kept = reply.pieces[:where]
    if fault.inside and where < len(reply.pieces):
        kept = (*kept, reply.pieces[where].half())
    changed = replace(reply, pieces=kept)
    ending: Ending = "reset"
    match fault.kind:
        case "silence" | "close" | "reset" | "kill":
            ending = fault.kind
        case "error" if not reply.sse:
            pass
        case "error" | "garbage" | "huge" | "end":
            changed = replace(reply, pieces=(*kept, *_instead(reply, fault, where)))
            ending = "silence" if fault.stays else "finish"
            return Course(reply=changed, length=_length(changed.pieces), ending=ending)
    begun = fault.after is not None
    return Course(reply=changed, length=_length(reply.pieces), ending=ending, begun=begun)


def _instead(reply: Reply, fault: Fault, where: int) -> Iterator[Piece]:
    """What is written from the fault on, by an engine that keeps to HTTP."""
    match fault.kind:
        case "error":
            yield Piece(data=error_event(fault.family), content=False)
            yield Piece(data=b"data: [DONE]\n\n", content=False)
        case "garbage":
            data = fault.data or (GARBAGE_EVENT if reply.sse else GARBAGE)
            yield Piece(data=data, content=False)
        case "huge":
            yield Piece(data=huge_event(fault.size), content=False)
            yield from reply.pieces[where:]


def _length(pieces: Iterable[Piece]) -> int:
    return sum(len(piece.data) for piece in pieces)


def _place(pieces: tuple[Piece, ...], after: int) -> int:
    """The index of the piece behind the `after`th piece of content."""
    seen = 0
    for index, piece in enumerate(pieces):
        if seen == after:
            return index
        seen += piece.content
    return len(pieces)


class Performance:
    """Writes one course; cancelled when the peer leaves."""

    def __init__(
        self,
        record: Record,
        wire: Wire,
        gate: Callable[[Record], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        """`gate` waits for a release; `changed` is called when the record says something new."""
        self._record = record
        self._script: Script = record.script
        self._wire = wire
        self._gate = gate
        self._changed = changed

    async def run(self, plan: Course) -> bool:
        """Write it; True when the connection can take another request."""
        record, ending = self._record, plan.ending
        await _pause(self._script.headers_after_ms)
        if plan.begun:
            await self._write_head(plan)
            await self._write_body(plan)
        if not plan.reply.streamed and record.bytes_written >= plan.length and plan.begun:
            record.completed = True
        if ending == "finish":
            # All is said; a peer that knows the last event may leave before the last chunk.
            record.completed = True
            if plan.reply.streamed:
                await self._wire.write(chunk_bytes(b""))
            return True
        record.broken_by = ending
        self._changed()
        if ending == "silence":
            await asyncio.Event().wait()
        self._wire.end(ending)
        return False

    async def _write_head(self, plan: Course) -> None:
        reply = plan.reply
        framing = ("Content-Length", str(plan.length))
        if reply.streamed:
            framing = ("Transfer-Encoding", "chunked")
        headers = [("Content-Type", reply.content_type), framing, *reply.headers]
        self._record.status = reply.status
        self._record.headers_at = time.monotonic()
        start = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"
        await self._wire.write(head_bytes(start, headers))
        self._changed()
        await _pause(self._script.first_byte_after_ms)

    async def _write_body(self, plan: Course) -> None:
        pieces, script = plan.reply.pieces, self._script
        contents, seen, tail = sum(piece.content for piece in pieces), 0, False
        for piece in pieces:
            if piece.content:
                if seen:
                    await _pause(script.between_ms)
                if (seen and script.gated) or (not seen and self._waits_first()):
                    await self._gate(self._record)
                seen += 1
            elif script.gated and contents and seen == contents and not tail:
                await self._gate(self._record)
                tail = True
            await self._write_piece(piece, streamed=plan.reply.streamed)
        if script.gated and plan.reply.streamed and contents and not tail:
            await self._gate(self._record)

    def _waits_first(self) -> bool:
        return self._script.held or (self._script.gated_calls and self._record.place > 0)

    async def _write_piece(self, piece: Piece, *, streamed: bool) -> None:
        # Counted before it is written: a peer may have read it before the write returns.
        self._record.wrote_piece(piece.data, piece.counts, time.monotonic())
        if piece.data:
            await self._wire.write(chunk_bytes(piece.data) if streamed else piece.data)
        self._record.served += piece.content
        self._changed()


async def _pause(wait_ms: float) -> None:
    if wait_ms > 0:
        await asyncio.sleep(wait_ms / 1000)
