"""Whatever an engine's stream does, the blocks say what the whole reply of the same chat says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.errors import BadReply
from modgate.kit.converse.blocks import Blocks, Step, arguments
from modgate.plugin import Event, JsonObject

Said = tuple[str, str, list[tuple[str, str]]]  # thoughts, text, (name, arguments) of each call

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES = st.dictionaries(st.sampled_from(["city", "days", "{", '"']), TEXTS | st.integers(0, 99))
CALLS = st.lists(st.tuples(st.sampled_from(["look", "say"]), VALUES), max_size=3)


def chunk(delta: JsonObject, finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return orjson.dumps({"choices": [choice]})


def of_call(index: int, **function: str) -> JsonObject:
    begins = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **begins, "function": function}]}


def whole(said: Said) -> bytes:
    thoughts, text, calls = said
    made = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": given}}
        for n, (name, given) in enumerate(calls)
    ]
    message = {"content": text or None, "reasoning_content": thoughts, "tool_calls": made}
    return orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@st.composite
def streams(draw: st.DrawFn) -> tuple[Said, list[bytes]]:
    """What is said, and a stream of it: each cut anywhere, all of it in any order."""
    calls = [(name, orjson.dumps(values).decode()) for name, values in draw(CALLS)]
    said = (draw(TEXTS), draw(TEXTS), calls)
    queues: list[list[JsonObject]] = [
        [{"reasoning_content": each} for each in cut(draw, said[0])],
        [{"content": each} for each in cut(draw, said[1])],
    ]
    for index, (name, given_) in enumerate(calls):
        queues.append([of_call(index, arguments=each) for each in cut(draw, given_)])
        queues[-1].insert(0, of_call(index, name=name, arguments=""))
    deltas: list[JsonObject] = []
    begun = 0  # calls begin in the order of their numbers
    while any(queues):
        ready = [n for n, queue in enumerate(queues) if queue and (n < 2 or n - 2 <= begun)]
        at = draw(st.sampled_from(ready))
        deltas.append(queues[at].pop(0))
        begun = max(begun, at - 1)
    return said, [*map(chunk, deltas), chunk({}, "stop")]


def cut(draw: st.DrawFn, text: str) -> Iterator[str]:
    while text:
        size = draw(st.integers(1, len(text)))
        yield text[:size]
        text = text[size:]


def steps(*events: bytes) -> tuple[Blocks, list[Step]]:
    blocks = Blocks()
    found = [step for event in events for step in blocks.read(Event(event).fields())]
    return blocks, [*found, *blocks.finish()]


def meaning(found: list[Step]) -> Said:
    """What the deltas come to, with no look at the blocks themselves."""
    texts = {"thought": "", "text": ""}
    calls: dict[str, tuple[str, str]] = {}
    for step in found:
        block = step.block
        if block.kind == "call":
            name, given = calls.get(block.call_id, (block.name, ""))
            calls[block.call_id] = (name, given + step.text)
        else:
            texts[block.kind] += step.text
    return texts["thought"], texts["text"], [calls[each] for each in sorted(calls)]


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(streams())
def test_the_deltas_of_any_stream_are_the_whole_reply(
    drawn: tuple[Said, list[bytes]],
) -> None:
    said, events = drawn
    streamed, found = steps(*events)
    once, all_at_once = steps(whole(said))

    assert meaning(found) == meaning(all_at_once) == said
    for blocks, each in ((streamed, found), (once, all_at_once)):
        assert [b.index for b in blocks.blocks] == list(range(len(blocks.blocks)))
        assert [s.what for s in each if s.what != "more"] == ["open", "close"] * len(blocks.blocks)
        opened = [s.block for s in each if s.what == "open"]
        assert opened == blocks.blocks
        for block in blocks.blocks:
            assert block.text == "".join(s.text for s in each if s.block is block)


def told(found: list[Step]) -> list[tuple[str, int, str]]:
    return [(step.what, step.block.index, step.text) for step in found]


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=100)
@given(streams())
def test_the_short_way_of_a_plain_chunk_is_the_long_way(drawn: tuple[Said, list[bytes]]) -> None:
    blocks, found = Blocks(), []
    for event in drawn[1]:
        reply = Event(event).fields()
        step = blocks.more(reply.values)
        found += list(blocks.read(reply)) if step is None else [step]

    assert told([*found, *blocks.finish()]) == told(steps(*drawn[1])[1])


def test_only_what_goes_on_with_the_open_text_takes_the_short_way() -> None:
    blocks = Blocks()
    begins, goes_on = (Event(chunk({"content": text})).fields() for text in "ab")
    assert blocks.more(begins.values) is None
    list(blocks.read(begins))

    assert blocks.more(goes_on.values) == Step("more", blocks.blocks[0], "b")
    assert blocks.blocks[0].text == "ab"
    for other in (
        chunk({"content": ""}),
        chunk({"content": "c"}, "stop"),
        chunk({"content": ["c"]}),
        chunk({"reasoning_content": "c"}),
        chunk({"content": "c", "role": "assistant"}),
        orjson.dumps({"choices": []}),
        orjson.dumps({"choices": ["c"]}),
        orjson.dumps({"choices": [{"delta": {"content": "c"}}]}),
    ):
        assert blocks.more(Event(other).fields().values) is None


def test_a_call_without_an_id_gets_one_that_no_other_reply_has() -> None:
    call = {"index": 0, "function": {"name": "look", "arguments": "{}"}}
    made = {steps(chunk({"tool_calls": [call]}))[1][0].block.call_id for _ in range(2)}

    assert len(made) == 2
    assert all(re.fullmatch("call_[0-9a-f]{32}", each) for each in made)


def test_one_block_is_open_at_a_time_and_a_call_is_not_cut_by_another() -> None:
    _, found = steps(
        chunk(of_call(0, name="look", arguments='{"a":')),
        chunk(of_call(1, name="say", arguments='{"b":')),
        chunk(of_call(0, arguments="1}")),
        chunk(of_call(1, arguments="2}")),
    )

    assert [(step.what, step.block.call_id, step.text) for step in found] == [
        ("open", "call_0", ""),
        ("more", "call_0", '{"a":'),
        ("more", "call_0", "1}"),
        ("close", "call_0", ""),
        ("open", "call_1", ""),
        ("more", "call_1", '{"b":'),
        ("more", "call_1", "2}"),
        ("close", "call_1", ""),
    ]


def test_a_second_call_streams_as_soon_as_the_first_is_whole() -> None:
    blocks = Blocks()
    first = list(blocks.read(Event(chunk(of_call(0, name="look", arguments="{}"))).fields()))
    second = list(blocks.read(Event(chunk(of_call(1, name="say", arguments='{"b"'))).fields()))

    assert [step.what for step in first] == ["open", "more"]
    assert [step.what for step in second] == ["close", "open", "more"]


def test_what_waited_goes_on_as_soon_as_the_first_is_whole() -> None:
    blocks = Blocks()
    for event in (
        chunk(of_call(0, name="look", arguments='{"a":')),
        chunk(of_call(1, name="say", arguments='{"b":')),
    ):
        list(blocks.read(Event(event).fields()))
    found = list(blocks.read(Event(chunk(of_call(0, arguments="1}"))).fields()))

    assert [(step.what, step.text) for step in found] == [
        ("more", "1}"),
        ("close", ""),
        ("open", ""),
        ("more", '{"b":'),
    ]


def test_a_reply_that_says_nothing_is_an_empty_text() -> None:
    blocks, found = steps(chunk({"role": "assistant", "content": ""}), chunk({}, "stop"))

    assert [block.kind for block in blocks.blocks] == ["text"]
    assert [step.what for step in found] == ["open", "close"]


def test_the_older_name_of_reasoning_is_read_where_the_newer_is_not() -> None:
    _, old = steps(chunk({"reasoning": "hm"}))
    _, both = steps(chunk({"reasoning": "hm", "reasoning_content": "hm"}))

    assert meaning(old) == meaning(both) == ("hm", "", [])


def test_what_stopped_it_is_kept_when_it_is_a_text() -> None:
    named, _ = steps(chunk({"content": "a"}), chunk({}, "stop", stop_reason="END"))
    token, _ = steps(chunk({"content": "a"}), chunk({}, "length", stop_reason=2))

    assert (named.finish_reason, named.stopped_by) == ("stop", "END")
    assert (token.finish_reason, token.stopped_by) == ("length", None)


@pytest.mark.parametrize(
    "events",
    [
        [chunk(of_call(0, arguments="{}"))],
        [
            chunk(of_call(0, name="a", arguments="{}")),
            chunk({"content": "x"}),
            chunk(of_call(0, arguments="{}")),
        ],
        [chunk({"content": ["x"]})],
        [chunk({"tool_calls": ["x"]})],
        [chunk({"tool_calls": [{"index": -1, "function": {"name": "a"}}]})],
        [orjson.dumps({"choices": [{"delta": "x"}]})],
    ],
    ids=["no name", "goes on after its end", "a list", "no object", "negative", "no delta"],
)
def test_what_is_no_reply_is_the_engines_fault(events: list[bytes]) -> None:
    with pytest.raises(BadReply):
        steps(*events)


def test_white_space_behind_a_call_that_ended_is_nothing() -> None:
    _, found = steps(
        chunk(of_call(0, name="a", arguments="{}")),
        chunk({"content": "x"}),
        chunk(of_call(0, arguments="\n")),
    )

    assert meaning(found) == ("", "x", [("a", "{}")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" ", {}),
        ('{"a":1}', {"a": 1}),
        ('{"a":', {"INVALID_JSON": '{"a":'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
    ],
)
def test_arguments_are_an_object_whatever_the_model_wrote(text: str, value: JsonObject) -> None:
    assert orjson.loads(orjson.dumps(arguments(text))) == value


@pytest.mark.parametrize(
    "text",
    ['{"id":12345678901234567890123}', '{"a":1.10,"b":1e2}', '{"a":' * 300 + "1" + "}" * 300],
    ids=["beyond 64 bits", "as it is written", "deep"],
)
def test_arguments_are_given_to_the_letter(text: str) -> None:
    assert orjson.dumps([arguments(text)]) == f"[{text}]".encode()
