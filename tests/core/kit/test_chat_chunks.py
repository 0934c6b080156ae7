"""Chunks of a chat that are none, or that say nothing."""

from __future__ import annotations

import pytest

from modgate.kit.chat_relay import ChatRelay
from modgate.plugin import BadReply, Event


def told(data: bytes, *, include: bool = False) -> list[bytes]:
    relay = ChatRelay(stream=True, include_usage=include, prompt=7)
    return list(relay.feed(0, Event(data)))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[],"prompt_filter_results":[]}',
        b'{"choices":[],"prompt_filter_results":[],"usage":null}',  # Azure, to who wants usage
        b'{"usage": null, "choices": [ ]}',
    ],
)
def test_a_chunk_without_choices_and_usage_is_not_for_clients(data: bytes, include: bool) -> None:
    assert told(data, include=include) == []


@pytest.mark.parametrize("include", [False, True])
def test_a_chunk_that_cannot_be_written_again_is_a_bad_reply(include: bool) -> None:
    deep = b'{"choices":[{"delta":%s}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    with pytest.raises(BadReply, match="nested too deeply"):
        told(deep % (b"[" * 300 + b"]" * 300), include=include)


@pytest.mark.parametrize(
    "data",
    [b"", b"[1]", b"<html>", b'{"usage":', b'{"usage" }', b'{"choices":[{}]', b'"choices":[{}]}'],
)
def test_what_is_no_chunk_is_a_bad_reply(data: bytes) -> None:
    with pytest.raises(BadReply):
        told(data)
