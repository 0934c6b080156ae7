"""A good reply of an engine, from its bytes to events of the home wire: no network, no clock.

`stream.py` runs it behind a connection, the contract's transcripts run it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from modgate.api.dialect import Dialect
from modgate.api.plan import ReplyKind
from modgate.api.relay import Event
from modgate.errors import GatewayError, UpstreamFailed
from modgate.kit.sse import DONE, ERROR, Splitter

LAST = b"data: " + DONE


class ReplyDecoder:
    """One reply on its way through its dialect.

    `headers`: of the reply, which every raw chunk carries to the dialect.  `over`: the stream said
    [DONE], what follows is not read.  `error`: what broke behind the events that `feed` answered
    last; they came before it, so they are given first.
    """

    __slots__ = ("_dialect", "_headers", "_splitter", "error", "over")

    def __init__(
        self, dialect: Dialect, reply: ReplyKind, headers: Mapping[str, str] | None = None
    ) -> None:
        self._dialect = dialect
        self._headers = headers
        self._splitter = Splitter() if reply == "sse" else None
        self.over = False
        self.error: GatewayError | None = None

    def whole(self, body: bytes, headers: Mapping[str, str]) -> list[Event]:
        """The events of a reply that came at once."""
        return list(_events(self._dialect.decode(Event(body, headers=headers))))

    def feed(self, data: bytes) -> list[Event]:
        """The events of the next bytes, cut anywhere."""
        if self._splitter is None:
            return list(_events(self._dialect.decode(Event(data, headers=self._headers))))
        found: list[Event] = []
        try:
            for event in self._splitter.feed(data):
                if event.data.startswith(DONE):  # as SDKs read it: some write a blank behind it
                    self.over = True
                    found.extend(_events(self._dialect.end(True)))
                    break
                if event.name == ERROR and not event.data:  # Dynamo tells why in a comment
                    raise UpstreamFailed("the engine reported an error")
                found.extend(_events(self._dialect.decode(event)))
        except GatewayError as error:
            if not found:
                raise
            self.error = error
        return found

    def end(self) -> list[Event]:
        """The events of an end without [DONE]; UpstreamFailed when it is none.

        Some leave out the blank line behind [DONE]: nothing was to come in it.
        """
        rest = self._splitter.rest if self._splitter is not None else b""
        if rest not in (b"", LAST):
            raise UpstreamFailed("the engine's stream was cut inside an event")
        return list(_events(self._dialect.end(rest == LAST)))


def _events(said: Iterable[Event]) -> Iterator[Event]:
    """What a dialect says, one by one; TypeError for what is no event, before a relay meets it."""
    for event in said:
        if not isinstance(event, Event):
            raise TypeError(f"a dialect says Events, and no {type(event).__name__}")
        yield event
