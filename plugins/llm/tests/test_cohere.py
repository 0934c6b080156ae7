"""`/v2/chat`: a chat's reply as Cohere's message and events."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from conversing import USAGE, begun, chunk, played, whole

from modgate.kit.sse import Splitter
from modgate.plugin import JsonObject, UpstreamFailed

PATH = "/v2/chat"
ASKED: JsonObject = {"model": "m", "messages": [{"role": "user", "content": "Hi?"}]}
STREAMED: JsonObject = {**ASKED, "stream": True}
HI = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
)
LOOK: JsonObject = {"type": "function", "function": {"name": "look", "parameters": {}}}
CALL: JsonObject = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": 1}'},
}
# Its member order and its events are those of a stream that Cohere wrote.
WIRE = (Path(__file__).parent / "streams" / "cohere.sse").read_bytes()
ID = b"00000000-0000-0000-0000-000000000000"


def _calls(index: int, text: str) -> tuple[bytes, bytes]:
    """A call that begins, and its arguments."""
    begins = {**CALL, "id": f"call_{index}", "function": {"name": "look", "arguments": ""}}
    return (
        chunk({"tool_calls": [{"index": index, **begins}]}),
        chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]}),
    )


PLAN = (
    chunk({"role": "assistant", "reasoning_content": "Hm."}),
    chunk({"content": "I "}),
    chunk({"content": "look."}),
    *_calls(0, '{"at": 1}'),
    *_calls(1, '{"at": 2}'),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
)


def events(data: bytes) -> list[JsonObject]:
    """The events, whose names are their types, without the one that ends the stream."""
    *found, done = Splitter().feed(data)
    assert (done.name, done.data) == ("", b"[DONE]")
    values = [orjson.loads(event.data) for event in found]
    assert [value["type"] for value in values] == [event.name for event in found]
    return values


def flat(event: JsonObject) -> tuple[object, ...]:
    """Its type, its index, and what its message says."""
    return event["type"], event.get("index"), event.get("delta", {}).get("message")


def test_a_stream_is_the_transcript_of_the_wire_byte_for_byte(tmp_path: Path) -> None:
    told = played(tmp_path, PATH, STREAMED, *HI)

    assert told.reply.replace(ID, b"id_1") == WIRE
    assert dict(told.usage.units) == {"input_tokens": 9, "output_tokens": 1}


def test_thoughts_text_and_calls_have_events_of_their_own(tmp_path: Path) -> None:
    _, *middle, last = events(played(tmp_path, PATH, STREAMED, *PLAN).reply)
    called = [
        step
        for index in (0, 1)
        for step in (
            (
                "tool-call-start",
                index,
                {
                    "tool_calls": {
                        "id": f"call_{index}",
                        "type": "function",
                        "function": {"name": "look", "arguments": ""},
                    }
                },
            ),
            (
                "tool-call-delta",
                index,
                {"tool_calls": {"function": {"arguments": f'{{"at": {index + 1}}}'}}},
            ),
            ("tool-call-end", index, None),
        )
    ]

    assert [flat(event) for event in middle] == [
        ("content-start", 0, {"content": {"type": "thinking", "thinking": ""}}),
        ("content-delta", 0, {"content": {"thinking": "Hm."}}),
        ("content-end", 0, None),
        ("content-start", 1, {"content": {"type": "text", "text": ""}}),
        ("content-delta", 1, {"content": {"text": "I "}}),
        ("content-delta", 1, {"content": {"text": "look."}}),
        ("content-end", 1, None),
        *called,
    ]
    assert last["delta"]["finish_reason"] == "TOOL_CALL"


def test_what_is_said_before_a_forced_call_is_its_plan(tmp_path: Path) -> None:
    body = {**STREAMED, "tools": [LOOK], "tool_choice": "REQUIRED"}
    _, *middle, _ = events(played(tmp_path, PATH, body, *PLAN).reply)

    assert [flat(event) for event in middle][3:5] == [
        ("tool-plan-delta", None, {"tool_plan": "I "}),
        ("tool-plan-delta", None, {"tool_plan": "look."}),
    ]
    assert not [event for event in middle[3:] if event["type"].startswith("content")]


@pytest.mark.parametrize(("text", "finish"), [("I look.", "length"), ("", "stop")])
def test_a_forced_call_that_never_came_leaves_a_plan_whole_and_streamed(
    tmp_path: Path, text: str, finish: str
) -> None:
    body = {**ASKED, "tools": [LOOK], "tool_choice": "REQUIRED"}
    once = orjson.loads(played(tmp_path, PATH, body, whole({"content": text}, finish)).reply)
    pieces = [chunk({"content": text})] if text else []
    stream = played(tmp_path, PATH, {**body, "stream": True}, HI[0], *pieces, chunk({}, finish))
    plans = [flat(event)[2] for event in events(stream.reply) if event["type"] == "tool-plan-delta"]
    said = {"tool_plan": text} if text else {"content": [{"type": "text", "text": ""}]}

    assert once["message"] == {"role": "assistant", **said}
    assert plans == ([{"tool_plan": text}] if text else [])


def test_a_whole_reply_has_contents_or_a_plan_and_calls(tmp_path: Path) -> None:
    said = {"content": "I look.", "reasoning_content": "Hm."}
    text = orjson.loads(played(tmp_path, PATH, ASKED, whole(said)).reply)
    calls = whole({**said, "tool_calls": [CALL]}, "tool_calls")
    called = orjson.loads(played(tmp_path, PATH, ASKED, calls).reply)
    thought = {"type": "thinking", "thinking": "Hm."}

    assert text["message"] == {
        "role": "assistant",
        "content": [thought, {"type": "text", "text": "I look."}],
    }
    assert called["message"] == {
        "role": "assistant",
        "content": [thought],
        "tool_plan": "I look.",
        "tool_calls": [CALL],
    }


def test_a_refusal_is_a_text_and_one_beside_calls_no_plan(tmp_path: Path) -> None:
    said = {"content": None, "refusal": "I must not.", "tool_calls": [CALL]}
    told = orjson.loads(played(tmp_path, PATH, ASKED, whole(said)).reply)

    assert told["message"]["content"] == [{"type": "text", "text": "I must not."}]
    assert "tool_plan" not in told["message"]


def test_tokens_that_were_cached_are_told_beside_the_bill(tmp_path: Path) -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    told = played(tmp_path, PATH, STREAMED, *HI[:-1], chunk(None, usage=usage))

    assert events(told.reply)[-1]["delta"]["usage"] == {
        "billed_units": {"input_tokens": 9, "output_tokens": 1},
        "tokens": {"input_tokens": 9, "output_tokens": 1},
        "cached_tokens": 4,
    }


@pytest.mark.parametrize(
    ("finish", "more", "reason"),
    [
        ("stop", {}, "COMPLETE"),
        ("length", {}, "MAX_TOKENS"),
        ("tool_calls", {}, "TOOL_CALL"),
        ("content_filter", {}, "ERROR"),
        ("stop", {"stop_reason": "END"}, "STOP_SEQUENCE"),
        ("stop", {"stop_reason": "<|eot|>"}, "COMPLETE"),
    ],
)
def test_a_reply_says_why_it_stopped(
    tmp_path: Path, finish: str, more: JsonObject, reason: str
) -> None:
    body = {**ASKED, "stop_sequences": ["END", "FIN"]}
    told = played(tmp_path, PATH, body, whole({"content": "a"}, finish, **more))

    assert orjson.loads(told.reply)["finish_reason"] == reason


def test_a_call_that_was_forced_is_why_a_reply_stopped(tmp_path: Path) -> None:
    """Source: vLLM's finish reason of a named `tool_choice` is `stop` (wire.md 2.1)."""
    body = {**ASKED, "tools": [LOOK], "tool_choice": "REQUIRED"}
    told = played(tmp_path, PATH, body, whole({"content": None, "tool_calls": [CALL]}, "stop"))
    streamed = played(tmp_path, PATH, {**body, "stream": True}, *_calls(0, "{}"), *HI[2:])

    assert orjson.loads(told.reply)["finish_reason"] == "TOOL_CALL"
    assert events(streamed.reply)[-1]["delta"]["finish_reason"] == "TOOL_CALL"


def test_a_stream_that_failed_ends_with_the_error_and_what_it_did_cost(tmp_path: Path) -> None:
    """Source: langchain-cohere 0.6, `_get_stream_info_v2`, adds these up without a look."""
    relay = begun(tmp_path, PATH, STREAMED, *HI[:2])
    [last] = events(b"".join(relay.fail(UpstreamFailed("lost")) or ()))
    tokens = {"input_tokens": 0, "output_tokens": 1}

    assert last["delta"] == {
        "error": "lost",
        "finish_reason": "ERROR",
        "usage": {"billed_units": tokens, "tokens": tokens, "cached_tokens": 0},
    }
    assert dict(relay.usage(()).units) == {"output_tokens": 1}


def test_an_engine_that_gives_up_inside_a_stream_ends_it_in_failure(tmp_path: Path) -> None:
    with pytest.raises(UpstreamFailed):
        begun(tmp_path, PATH, STREAMED, *HI[:2], chunk({}, "error"))


@pytest.mark.parametrize("cut", range(len(PLAN) + 1))
def test_the_bill_of_a_stream_is_that_of_its_chat_at_any_cut(tmp_path: Path, cut: int) -> None:
    mine = begun(tmp_path, PATH, STREAMED, *PLAN[:cut])
    chat = begun(tmp_path, "/v1/chat/completions", STREAMED, *PLAN[:cut])

    assert mine.usage(()) == chat.usage(())
