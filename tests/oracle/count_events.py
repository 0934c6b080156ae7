"""What every stream of events has: its tokens in order, and its events whole."""

from __future__ import annotations

import json
import re

from oracle.requests import ClientRequest
from oracle.words import TOKEN_BYTES, TOKENS_IN_ROUND, members, token_number

HUGE_CHARACTERS = 64 * 1024
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Tokens:
    """The engine's tokens in the order of arrival, per choice, in whatever pieces they come."""

    def __init__(self, notes: list[str]) -> None:
        """What is wrong with them goes to `notes`."""
        self.count = 0
        self.notes = notes
        self._rest: dict[int, str] = {}
        self._last: dict[int, int] = {}

    def feed(self, choice: int, text: str) -> None:
        """Take more text of a choice.  A `huge` event's text stands for no token."""
        if len(text) >= HUGE_CHARACTERS:
            return
        text = self._rest.get(choice, "") + text
        ends = len(text) // TOKEN_BYTES * TOKEN_BYTES
        self._rest[choice] = text[ends:]
        for place in range(0, ends, TOKEN_BYTES):
            self._take(choice, text[place : place + TOKEN_BYTES])

    def _take(self, choice: int, text: str) -> None:
        number, last = token_number(text), self._last.get(choice)
        self.count += 1
        if number is None:
            self.notes.append(f"{text!r} is no token of the engine")
            return
        if last is not None and number != (last + 1) % TOKENS_IN_ROUND:
            self.notes.append(f"token {number} came after {last}")
        self._last[choice] = number


class Counting:
    """What every count starts with."""

    def __init__(self, request: ClientRequest) -> None:
        self.units: dict[str, int] = {}
        self.events = 0
        self.finished = False
        self.error: str | None = None
        self.notes: list[str] = []
        self._request = request


class Events(Counting):
    """An SSE body; each event's data goes to `take`."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._buffer = bytearray()
        self._done = False

    def feed(self, data: bytes) -> None:
        # A long event is not searched from its start each time.
        unseen = max(0, len(self._buffer) - 3)
        self._buffer += data
        while end := _EVENT_END.search(self._buffer, unseen):
            raw, unseen = bytes(self._buffer[: end.start()]), 0
            del self._buffer[: end.end()]
            lines = [line for line in raw.splitlines() if line.startswith(b"data:")]
            if lines:
                self._event(b"\n".join(line[5:].lstrip(b" ") for line in lines))

    def end(self) -> None:
        if self._buffer.strip():
            self.notes.append("the stream ended inside an event")

    def _event(self, data: bytes) -> None:
        if self._done:
            self.notes.append("an event came after [DONE]")
        if data.startswith(b"[DONE]"):
            self._done = True
            return
        try:
            value = members(json.loads(data))
        except ValueError:
            self.notes.append("an event is no JSON")
            return
        if "error" in value:
            self.error = str(members(value["error"]).get("code"))
            return
        self.take(value)

    def take(self, value: dict[str, object]) -> None:
        """One event that is no error."""
        raise NotImplementedError  # each reader has its own
