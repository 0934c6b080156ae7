"""The way out: what a chat's reply says, as blocks of which one is open at a time.

A chat says text, thoughts and calls in any order, several calls side by side; the other APIs have a
list of blocks, each with a beginning and an end.  What belongs to another block than the open one
ends that, unless it is a call whose arguments are not whole yet: then it waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import orjson

from modgate.kit.chat_wire import new_call_id
from modgate.plugin import BadReply, Fields, Json, JsonObject

Kind = Literal["thought", "text", "refusal", "call"]
Key = tuple[Kind, int]
TEXTS: tuple[tuple[str, Kind], ...] = (
    ("reasoning_content", "thought"),
    ("content", "text"),
    ("refusal", "refusal"),
)
NAMES: dict[str, Kind] = dict(TEXTS)


@dataclass(slots=True, kw_only=True, eq=False)
class Block:
    """One block: `index` in the reply; a call has its `call_id` and `name`."""

    kind: Kind
    index: int
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What was said, thought, or given as arguments."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to a block: it opened, grew by a text, or closed."""

    what: Literal["open", "more", "close"]
    block: Block
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Piece:
    key: Key
    text: str
    call_id: str = ""
    name: str = ""


class Blocks:
    """The blocks of one reply: `read` each chunk (or the whole reply), then `finish`.

    `finish_reason` is the chat's; `stopped_by` the stop string that ended it, where an engine says.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.finish_reason = "stop"
        self.stopped_by: str | None = None
        self._open: tuple[Key, Block] | None = None
        self._calls: dict[int, Block] = {}
        self._seen: dict[int, str] = {}
        self._waiting: list[_Piece] = []
        self._whole: bool | None = None

    def read(self, reply: Fields) -> Iterator[Step]:
        """The steps of a chunk or a whole reply; BadReply when it is none."""
        for choice in reply.each("choices", empty=True):
            said = choice.inner("delta", None) or choice.inner("message", None)
            if said is not None:
                for piece in self._pieces(said):
                    yield from self._take(piece)
            self.finish_reason = choice.text("finish_reason", self.finish_reason)
            stop = choice.get("stop_reason")
            if isinstance(stop, str) and stop:
                self.stopped_by = stop
            return  # one choice is all that was asked for

    def more(self, reply: JsonObject) -> Step | None:
        """The one step of a chunk that only goes on with the open text; None = it must be read.

        An optimisation; the result is the same without it.
        """
        choices = reply.get("choices")
        if self._open is None or self._waiting or type(choices) is not list or len(choices) != 1:
            return None
        block = self._open[1]
        try:
            [(name, text)] = choices[0]["delta"].items()
            finish = choices[0]["finish_reason"]
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        if NAMES.get(name) != block.kind or finish is not None or type(text) is not str or not text:
            return None
        block.pieces.append(text)
        return Step("more", block, text)

    def _pieces(self, said: Fields) -> Iterator[_Piece]:
        for name, kind in TEXTS:
            text = said.text(name, "", empty=True)
            if kind == "thought" and not text:
                text = said.text("reasoning", "", empty=True)
            if text:
                yield _Piece((kind, 0), text)
        if "tool_calls" in said:
            for place, call in enumerate(said.each("tool_calls", empty=True)):
                yield self._call(call, place)

    def _call(self, call: Fields, place: int) -> _Piece:
        function = call.inner("function", None) or Fields({})
        name = function.text("name", "", empty=True)
        index = call.integer("index", None, at_least=0)
        if index is None:
            index = len(self._seen) if name else max(self._seen, default=place)
        text = function.text("arguments", "", empty=True)
        if index in self._seen:
            return _Piece(("call", index), text)
        if not name:
            raise call.fault("function", "invalid_value", "a call begins without a name")
        made = call.text("id", "", empty=True) or new_call_id()
        self._seen[index] = made
        return _Piece(("call", index), text, made, name)

    def _take(self, piece: _Piece) -> Iterator[Step]:
        if self._waiting and not self._is_open(piece):
            self._waiting.append(piece)
            return
        if self._may_go_on(piece):
            yield from self._put(piece)
            if self._waiting and self._is_whole():
                yield from self._release()
        else:
            self._waiting.append(piece)

    def _may_go_on(self, piece: _Piece) -> bool:
        return self._is_open(piece) or self._open is None or self._is_whole()

    def _is_open(self, piece: _Piece) -> bool:
        return self._open is not None and self._open[0] == piece.key

    def _is_whole(self) -> bool:
        """Whether the open block may end: a call only when its arguments are JSON."""
        if self._open is None or self._open[1].kind != "call":
            return True
        if self._whole is None:
            self._whole = _is_json(self._open[1].text)
        return self._whole

    def _release(self) -> Iterator[Step]:
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            yield from self._take(piece)

    def _put(self, piece: _Piece) -> Iterator[Step]:
        if not self._is_open(piece):
            if piece.key[1] in self._calls and piece.key[0] == "call":
                if piece.text.strip():
                    raise BadReply("the engine went on with a call that had ended")
                return
            yield from self._close()
            block = Block(
                kind=piece.key[0], index=len(self.blocks), call_id=piece.call_id, name=piece.name
            )
            self.blocks.append(block)
            self._open, self._whole = (piece.key, block), None
            if block.kind == "call":
                self._calls[piece.key[1]] = block
            yield Step("open", block)
        if piece.text:
            assert self._open is not None
            block = self._open[1]
            block.pieces.append(piece.text)
            self._whole = None
            yield Step("more", block, piece.text)

    def _close(self) -> Iterator[Step]:
        if self._open is not None:
            block, self._open = self._open[1], None
            yield Step("close", block)

    def finish(self) -> Iterator[Step]:
        """What still waits, each block for itself, and the end of the last one.

        A reply that said nothing is an empty text: clients look at its first block.
        """
        waiting, self._waiting = self._waiting, []
        for key in dict.fromkeys(piece.key for piece in waiting):
            for piece in waiting:
                if piece.key == key:
                    yield from self._put(piece)
        if not self.blocks:
            empty = Block(kind="text", index=0)
            self.blocks.append(empty)
            self._open = ("text", 0), empty
            yield Step("open", empty)
        yield from self._close()


def _is_json(text: str) -> bool:
    if not text.rstrip().endswith(("}", "]", '"')):
        return False  # same result without this for what models write: objects
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def arguments(text: str) -> Json:
    """Arguments as the JSON object that they are, to the letter, so that no number changes.

    {} when there are none; what is no object is said to be none.
    """
    if not text.strip():
        return {}
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    # Source: Anthropic's documentation of fine-grained tool streaming, how invalid JSON is wrapped.
    return orjson.Fragment(text) if isinstance(value, dict) else {"INVALID_JSON": text}
