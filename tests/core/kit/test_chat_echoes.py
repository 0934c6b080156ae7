"""Completions that say their prompt again: nobody wrote that."""

from __future__ import annotations

import orjson
import pytest

from modgate.kit.chat_relay import ChatRelay
from modgate.kit.tokens import estimate
from modgate.plugin import BadReply, Event, Json, Outcome

OK, CUT = Outcome(state="ok"), Outcome(state="failed")


def told(relay: ChatRelay, *events: Event) -> None:
    for event in events:
        tuple(relay.feed(0, event))


def says(text: str, index: int = 0, **more: Json) -> Event:
    return Event(orjson.dumps({"choices": [{"index": index, "text": text}], **more}))


@pytest.mark.parametrize(
    ("pieces", "wrote"),
    [
        (["One,", " two,", " three", " four"], [0, 0, 1, 2]),
        (["One, two,", " three", " four"], [0, 1, 2]),
        (["One, two, three", " four", ""], [1, 2, 2]),
    ],
)
def test_what_a_stream_says_again_is_not_counted_while_it_runs(
    pieces: list[str], wrote: list[int]
) -> None:
    stream = ChatRelay(stream=True, include_usage=False, prompt=7, echoed=["One, two,"])
    counted = []
    for piece in pieces:
        told(stream, says(piece))
        counted.append(stream.usage([CUT]).units["output_tokens"])

    assert counted == wrote
    assert stream.usage([OK]).units["output_tokens"] == wrote[-1]


def test_of_each_choice_as_much_as_the_longest_prompt_is_left_out() -> None:
    stream = ChatRelay(stream=True, include_usage=False, prompt=7, echoed=["One", "One, two,"])
    told(stream, says("One, two,"), says("One three", 1))
    before = stream.usage([CUT]).units["output_tokens"]
    told(stream, says("!"), says("!", 1))

    assert (before, stream.usage([CUT]).units["output_tokens"]) == (0, 2)
    with pytest.raises(BadReply, match="without an index"):
        told(stream, Event(b'{"choices":[{"text":"?"}]}'))


def test_a_prompt_that_is_said_again_was_written_by_nobody() -> None:
    """Streams say it in pieces of its own, whole replies in front of what was written."""
    stream = ChatRelay(stream=True, include_usage=False, prompt=7, echoed=["One, two,"])
    whole = ChatRelay(stream=False, include_usage=False, prompt=7, echoed=["One", "One, two,"])
    told(
        stream,
        says("One,"),
        says(" two,"),
        says(" three"),
        says("", usage={"prompt_tokens": 9, "completion_tokens": 1}),
    )
    list(whole.feed(0, says("One, two, three")))

    assert (stream.usage([OK]).units["output_tokens"], stream.usage([OK]).exact) == (1, True)
    assert whole.usage([OK]).units["output_tokens"] == estimate(" three")
