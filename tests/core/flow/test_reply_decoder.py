"""A reply between bytes and events."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from modgate.plugin import Body, Call, Dialect, Event, Served, UpstreamFailed
from modgate.reply_decoder import ReplyDecoder


class Strict(Dialect):
    """Breaks at the word `bad`."""

    def decode(self, event: Event) -> Iterable[Event]:
        if event.data == b"bad":
            raise UpstreamFailed("the engine said something bad")
        return (event,)


class InWords(Strict):
    """Says each word of an event for itself."""

    def decode(self, event: Event) -> Iterable[Event]:
        for word in event.data.split():
            yield from super().decode(Event(word))


def decoder(kind: str = "sse", dialect: type[Dialect] = Strict) -> ReplyDecoder:
    call = Call(path="/x", body=Body.of(), reply="sse" if kind == "sse" else "chunked")
    served = Served(asked="m", model="m", name="m")
    return ReplyDecoder(dialect(call, served), call.reply)


def said(events: list[Event]) -> list[bytes]:
    return [event.data for event in events]


def test_what_came_before_an_error_is_given_and_the_error_kept() -> None:
    reply = decoder()

    assert said(reply.feed(b"data: one\n\ndata: bad\n\ndata: two\n\n")) == [b"one"]
    assert isinstance(reply.error, UpstreamFailed)


def test_what_a_dialect_made_of_an_event_before_it_broke_is_given() -> None:
    reply = decoder(dialect=InWords)

    assert said(reply.feed(b"data: one\n\ndata: two bad three\n\n")) == [b"one", b"two"]
    assert isinstance(reply.error, UpstreamFailed)


def test_an_error_with_nothing_before_it_is_raised() -> None:
    with pytest.raises(UpstreamFailed, match="bad"):
        decoder().feed(b"data: bad\n\n")


@pytest.mark.parametrize("why", [b": the worker died\n", b""])
def test_an_error_that_is_told_in_a_comment_is_one(why: bytes) -> None:
    reply = decoder()

    assert said(reply.feed(b"data: one\n\nevent: error\n" + why + b"\ndata: [DONE]\n\n")) == [
        b"one"
    ]
    assert isinstance(reply.error, UpstreamFailed)
    assert not reply.over


def test_another_event_without_data_is_none() -> None:
    reply = decoder()

    assert said(reply.feed(b"event: ping\n\n: waiting\n\ndata: one\n\ndata: [DONE]\n\n")) == [
        b"one"
    ]
    assert reply.error is None


@pytest.mark.parametrize("done", [b"data: [DONE]", b"data:[DONE]", b"data: [DONE] "])
def test_nothing_behind_done_is_read(done: bytes) -> None:
    reply = decoder()

    assert said(reply.feed(b"data: one\n\n" + done + b"\n\ndata: two\n\n")) == [b"one"]
    assert reply.over


@pytest.mark.parametrize("behind", [b"", b"\n", b"\r\n"])
def test_done_needs_no_blank_line_where_the_stream_ends(behind: bytes) -> None:
    reply = decoder()

    assert said(reply.feed(b"data: one\n\ndata: [DONE]" + behind)) == [b"one"]
    assert reply.end() == []


@pytest.mark.parametrize(
    ("sent", "told"), [(b"data: [DON", "inside"), (b"data: on", "inside"), (b"", "ended early")]
)
def test_a_stream_that_ends_anyhow_is_cut(sent: bytes, told: str) -> None:
    reply = decoder()
    reply.feed(sent)

    with pytest.raises(UpstreamFailed, match=told):
        reply.end()


def test_raw_chunks_are_given_as_they_come() -> None:
    reply = decoder("chunked")

    assert said(reply.feed(b"ab")) + said(reply.feed(b"c")) + said(reply.end()) == [b"ab", b"c"]
