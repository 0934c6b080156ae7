"""What a client reads of one chat, and what the chat costs at any moment."""

from __future__ import annotations

import orjson
import pytest

from modgate.kit.chat_relay import ChatRelay, Style
from modgate.kit.tokens import estimate
from modgate.plugin import Event, Json, JsonObject, Outcome, Units

OK, CUT = Outcome(state="ok"), Outcome(state="failed")
USAGE: JsonObject = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
HIGH: JsonObject = {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}


def relay(*, stream: bool = True, include: bool = False, least: int = 0) -> ChatRelay:
    return ChatRelay(stream=stream, include_usage=include, prompt=7, least=least)


class Seeing(ChatRelay):
    """Of a modality that counts pictures."""

    sees = True


def chunk(delta: JsonObject | None, finish: str | None = None, **more: Json) -> Event:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return Event(orjson.dumps({"choices": [] if delta is None else [choice], **more}))


def told(relay: ChatRelay, *events: Event) -> list[Json]:
    data = [each for event in events for each in relay.feed(0, event)]
    return [orjson.loads(each.removeprefix(b"data: ")) for each in data]


def whole(relay: ChatRelay, *events: Event) -> list[Json]:
    """What is told of a stream to its end."""
    before = told(relay, *events)
    *last, done = relay.close([OK])

    assert done == b"data: [DONE]\n\n"
    return [*before, *(orjson.loads(each.removeprefix(b"data: ")) for each in last)]


NOTHING: JsonObject = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_says_nothing_was_read_and_written_did_not_count(stream: bool) -> None:
    relaying, text = relay(stream=stream), "a text that is longer than one token"
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    whole = Event(orjson.dumps({"choices": [choice], "usage": NOTHING}))
    told(
        relaying,
        *([chunk({"content": text}), chunk({}, "stop", usage=NOTHING)] if stream else [whole]),
    )
    usage = relaying.usage([OK])

    wrote = 1 if stream else estimate(text)
    assert dict(usage.units) == {"input_tokens": 7, "output_tokens": wrote}
    assert (usage.exact, usage.by) == (False, "estimate")


BILL: JsonObject = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
SAID = chunk({"content": "a"})


NO_COUNTS: list[Json] = [{}, {"prompt_tokens": 5}, {**USAGE, "prompt_tokens": -1}, []]


@pytest.mark.parametrize(
    "more",
    [{"usage": {**NOTHING, "cost": 0.5}}, {"usage": None}, {}, *({"usage": u} for u in NO_COUNTS)],
)
def test_a_whole_reply_shows_the_bill_where_its_engine_counted_nothing(more: JsonObject) -> None:
    choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    reply = {"id": "c", "choices": [choice], **more}
    [told] = relay(stream=False).feed(0, Event(orjson.dumps(reply)))

    assert orjson.loads(told) == {**reply, "usage": {**(more.get("usage") or {}), **BILL}}


@pytest.mark.parametrize(
    "rest",
    [
        [chunk({}, "stop", usage=NOTHING)],
        [chunk({}, "stop"), chunk(None, usage=NOTHING)],
        [chunk({}, "stop", usage=NOTHING), chunk(None, usage=NOTHING)],
        [chunk({}, "stop")],
        [Event(b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{}}]}')],
    ],
    ids=["beside", "behind", "both", "nowhere", "of a choice"],
)
@pytest.mark.parametrize("include", [False, True])
def test_a_stream_shows_the_bill_at_its_end_where_its_engine_counted_nothing(
    include: bool, rest: list[Event]
) -> None:
    relaying = relay(include=include)
    read = told(relaying, SAID, *rest)
    *shown, done = relaying.close([OK])

    assert len(read) == 2
    assert not any(value.get("usage") for value in read)
    assert [orjson.loads(each.removeprefix(b"data: ")) for each in shown] == (
        [{"choices": [], "usage": BILL}] if include else []
    )
    assert done == b"data: [DONE]\n\n"


def test_a_count_that_came_before_nothing_at_all_is_the_one_that_is_shown() -> None:
    relaying, counted = relay(include=True), {**USAGE, "cost": 0.5}
    told(relaying, SAID, chunk({}, "stop", usage=counted))
    late = told(relaying, chunk({}, usage=NOTHING), chunk(None, usage=NOTHING))
    last, _ = relaying.close([OK])

    assert [value["usage"] for value in late] == [None]
    assert orjson.loads(last.removeprefix(b"data: "))["usage"] == counted


@pytest.mark.parametrize("usage", NO_COUNTS)
def test_a_usage_that_is_no_count_is_not_shown_in_place_of_the_bill(usage: Json) -> None:
    relaying = relay(include=True)
    shown = told(relaying, SAID, chunk({}, "stop"), chunk(None, usage=usage))
    last, _ = relaying.close([OK])

    assert [value["usage"] for value in shown] == [None, None]
    assert BILL.items() <= orjson.loads(last.removeprefix(b"data: "))["usage"].items()


@pytest.mark.parametrize("before", [USAGE, HIGH, None])
def test_of_several_last_words_a_client_is_shown_the_one_that_is_billed(before: Json) -> None:
    relaying = relay(include=True)
    first = [] if before is None else [chunk(None, usage=before)]
    shown = whole(relaying, SAID, chunk({}, "stop"), *first, chunk(None, usage=USAGE))

    assert [value["usage"] for value in shown] == [None, None, USAGE]
    assert relaying.usage([OK]).units["output_tokens"] == USAGE["completion_tokens"]


def test_of_counts_beside_choices_a_client_is_shown_the_largest_which_is_billed() -> None:
    relaying = relay(include=True)
    *_, last = whole(relaying, SAID, chunk({}, usage=HIGH), chunk({}, "stop", usage=USAGE))

    assert last["usage"] == HIGH
    assert relaying.usage([OK]).units["output_tokens"] == HIGH["completion_tokens"]


def test_a_whole_reply_tells_usage_inside_its_choice_where_clients_read_it() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "usage": USAGE}
    [told] = relay(stream=False).feed(0, Event(orjson.dumps({"choices": [choice]})))

    assert orjson.loads(told)["usage"] == USAGE


@pytest.mark.parametrize("include", [False, True])
def test_usage_inside_a_choice_as_moonshot_has_it_is_the_engines_word(include: bool) -> None:
    relaying = relay(include=include)
    ends = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}
    shown = whole(relaying, SAID, Event(orjson.dumps({"choices": [ends]})))
    usage = relaying.usage([OK])

    assert dict(usage.units) == {"input_tokens": 9, "output_tokens": 4}
    assert (usage.exact, usage.by) == (True, "engine")
    assert [value.get("usage", ...) for value in shown] == (
        [None, None, USAGE] if include else [..., ...]
    )
    assert "usage" not in shown[1]["choices"][0]


@pytest.mark.parametrize("include", [False, True])
def test_chunks_of_a_client_who_asked_for_usage_say_that_there_is_none_yet(include: bool) -> None:
    relaying = relay(include=include)
    read = whole(
        relaying,
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in ("a", "b", "c", "usage", '"usage":')),
        chunk({}, "stop"),
        chunk(None, usage=USAGE),
    )

    shown = [value.get("usage", ...) for value in read]
    assert shown == ([None] * 7 + [USAGE] if include else [...] * 7)


@pytest.mark.parametrize("include", [False, True])
def test_usage_in_every_chunk_is_said_once(include: bool) -> None:
    relaying = relay(include=include)
    read = whole(
        relaying,
        chunk({"content": "a"}, usage={**USAGE, "completion_tokens": 1}),
        chunk({"content": "b"}, usage=None),
        chunk({}, "stop", usage=USAGE),
        chunk(None, usage=USAGE),
    )

    shown = [value.get("usage", ...) for value in read]
    assert shown == ([None, None, None, USAGE] if include else [..., ..., ...])
    assert dict(relaying.usage([OK]).units) == {"input_tokens": 9, "output_tokens": 4}


def test_usage_beside_the_last_choice_is_shown_in_a_chunk_of_its_own_to_who_asked() -> None:
    ends = chunk({}, "stop", id="c", usage=USAGE)
    asked, silent = relay(include=True), relay()
    shown = told(asked, chunk({"content": "a"}), ends)
    told(silent, ends)

    assert [value.get("usage") for value in shown] == [None, None]
    last, done = asked.close([OK])
    assert orjson.loads(last.removeprefix(b"data: ")) == {"id": "c", "choices": [], "usage": USAGE}
    assert done == b"data: [DONE]\n\n"
    assert list(silent.close([OK])) == [b"data: [DONE]\n\n"]


@pytest.mark.parametrize("last", [chunk({}, "stop", usage=USAGE), chunk(None, usage=USAGE)])
def test_usage_of_a_stream_that_goes_on_is_a_floor(last: Event) -> None:
    relaying = relay()
    told(relaying, chunk({"content": "a"}, usage={**USAGE, "completion_tokens": 1}))

    assert not relaying.usage([CUT]).exact
    told(relaying, chunk(None, usage=NOTHING))
    assert not relaying.usage([CUT]).exact
    told(relaying, last)
    assert relaying.usage([CUT]).exact


def test_what_an_engine_says_last_is_the_bill_and_shown_also_where_it_said_more_before() -> None:
    relaying = relay(include=True)
    told(relaying, chunk({"content": "a"}, usage=HIGH))
    before = relaying.usage([CUT])
    [shown] = whole(relaying, chunk(None, usage=USAGE))
    after = relaying.usage([OK])

    assert dict(before.units) == {"input_tokens": 12, "output_tokens": 9}
    assert shown["usage"] == USAGE
    assert dict(after.units) == {"input_tokens": 9, "output_tokens": 4}
    assert (after.exact, after.by) == (False, "engine")


def test_a_count_of_one_choice_takes_nothing_from_that_of_another_or_of_all() -> None:
    """Usage beside a choice may be that choice's own."""
    relaying = relay()
    told(relaying, chunk({}, "stop", usage=HIGH), chunk({}, "stop", usage=USAGE))
    between = relaying.usage([OK])
    told(relaying, chunk(None, usage={**HIGH, "completion_tokens": 13}))
    after = relaying.usage([OK])

    assert between.units["output_tokens"] == 9
    assert (after.units["output_tokens"], after.exact) == (13, True)


def test_a_whole_stream_without_usage_is_an_estimate_and_has_its_prompt() -> None:
    relaying = relay()
    told(relaying, chunk({"content": "a"}), chunk({"content": "b"}), chunk({}, "stop"))
    cut, whole = relaying.usage([CUT]), relaying.usage([OK])

    assert (dict(cut.units), cut.by) == ({"output_tokens": 2}, "gateway")
    assert (dict(whole.units), whole.by) == ({"input_tokens": 7, "output_tokens": 2}, "estimate")
    assert (cut.exact, whole.exact) == (False, False)


def test_an_engine_cannot_report_less_than_it_sent() -> None:
    relaying = relay(least=5)
    told(relaying, *(chunk({"content": word}) for word in "abc"))
    told(relaying, chunk(None, usage={"prompt_tokens": 1, "completion_tokens": 1}))

    usage = relaying.usage([OK])

    assert dict(usage.units) == {"input_tokens": 5, "output_tokens": 3}
    assert (usage.exact, usage.by) == (False, "gateway")
    assert (usage.other["input_tokens"], usage.other["output_tokens"]) == (1, 1)


def test_a_last_word_that_is_said_again_is_no_more_exact_than_it_was() -> None:
    relaying, last = relay(), {"prompt_tokens": 9, "completion_tokens": 1}
    told(relaying, chunk({"content": "a"}, usage=USAGE), *[chunk(None, usage=last)] * 2)
    usage = relaying.usage([OK])

    assert dict(usage.units)["output_tokens"] == 1
    assert not usage.exact


@pytest.mark.parametrize(
    "said", [{"content": "abc"}, {"tool_calls": [{"function": {"name": "f"}}]}]
)
def test_a_choice_that_says_something_took_a_token_whatever_its_engine_says(
    said: JsonObject,
) -> None:
    relaying = relay(stream=False, least=5)
    nothing = {"prompt_tokens": 5, "completion_tokens": 0}
    reply = {"choices": [{"message": said}, {"message": {"content": ""}}], "usage": nothing}
    tuple(relaying.feed(0, Event(orjson.dumps(reply))))
    usage = relaying.usage([OK])

    assert dict(usage.units) == {"input_tokens": 5, "output_tokens": 1}
    assert (usage.exact, usage.by) == (False, "gateway")


def test_a_prompt_is_billed_from_the_first_byte_on_where_it_was_counted() -> None:
    relaying = relay(least=5)

    assert dict(relaying.usage([]).units) == {"output_tokens": 0}
    told(relaying, chunk({"role": "assistant", "content": ""}))
    assert dict(relaying.usage([CUT]).units) == {"output_tokens": 0, "input_tokens": 5}


@pytest.mark.parametrize("told", [-1, 2.5, 2**31, 2**63, 1e20, "9", None])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_what_an_engine_says_that_is_no_count_is_not_billed_as_its_word(
    name: str, told: Json
) -> None:
    relaying = relay(stream=False)
    choice: JsonObject = {"index": 0, "message": {"content": "six by"}}
    reply: JsonObject = {"choices": [choice], "usage": {**USAGE, name: told}}
    tuple(relaying.feed(0, Event(orjson.dumps(reply))))
    usage = relaying.usage([OK])

    assert (dict(usage.units), usage.by) == ({"input_tokens": 7, "output_tokens": 2}, "estimate")
    assert not usage.exact


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, {"input_tokens": 9, "output_tokens": 4}),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 99, "image_tokens": 5},
            },
            {"input_tokens": 9, "output_tokens": 4, "cached_tokens": 9, "image_tokens": 5},
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"multimodal_tokens": {"image": 5, "audio": 2}},
            },
            {"input_tokens": 9, "output_tokens": 4, "cached_tokens": 0, "image_tokens": 5},
        ),
    ],
)
def test_only_whole_numbers_within_their_whole_are_billed(
    usage: JsonObject, units: dict[str, int]
) -> None:
    relaying = Seeing(stream=False, include_usage=False, prompt=7)
    tuple(relaying.feed(0, Event(orjson.dumps({"choices": [], "usage": usage}))))

    assert dict(relaying.usage([OK]).units) == units


def test_where_nobody_counted_a_whole_reply_is_estimated_with_all_that_it_says() -> None:
    function = {"name": "abc", "arguments": "abcdef"}
    message = {
        "content": "abc",
        "reasoning_content": "abcdefghi",
        "tool_calls": [{"function": function}, 3, {"function": None}],
    }
    relaying = relay(stream=False)
    choices = [{"message": message}, {"text": "abc"}, "x"]
    tuple(relaying.feed(0, Event(orjson.dumps({"choices": choices}))))
    usage = relaying.usage([OK])

    assert dict(usage.units) == {"input_tokens": 7, "output_tokens": 1 + 3 + 1 + 2 + 1}
    assert (usage.exact, usage.by) == (False, "estimate")


def test_pictures_are_billed_once_they_were_sent() -> None:
    relaying = ChatRelay(stream=True, include_usage=False, prompt=1, extra=Units(images=2))

    assert dict(relaying.usage([]).units) == {"output_tokens": 0}
    told(relaying, chunk({"content": "a"}))
    assert dict(relaying.usage([CUT]).units) == {"output_tokens": 1, "images": 2}


@pytest.mark.parametrize(
    ("alias", "names"),
    [
        ("both", {"reasoning", "reasoning_content"}),
        ("reasoning", {"reasoning"}),
        ("reasoning_content", {"reasoning_content"}),
    ],
)
def test_reasoning_is_counted_and_named_as_the_operator_wants(alias: str, names: set[str]) -> None:
    style = Style(alias=alias)
    relaying = ChatRelay(stream=True, include_usage=False, prompt=1, style=style)
    read = told(relaying, *(chunk({"reasoning_content": word}) for word in "abc"))

    assert [set(value["choices"][0]["delta"]) for value in read] == [names] * 3
    assert dict(relaying.usage([CUT]).units) == {"output_tokens": 3}
