"""The relay of a recording, event by event."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from modgate.plugin import BadReply, Event, JsonObject, Outcome, Usage
from modgate.plugin import Units as U
from modgate_asr.formats import Wanted
from modgate_asr.heard import Piece
from modgate_asr.relay import Transcribed

RATE = 16_000
FIRST = Piece(start=0, fresh=0, end=30 * RATE, next=28 * RATE)
SECOND = Piece(start=28 * RATE, fresh=30 * RATE, end=40 * RATE, next=40 * RATE)
WHOLE = Piece(start=0, fresh=0, end=10 * RATE, next=10 * RATE)
LATER = Piece(start=10 * RATE, fresh=10 * RATE, end=20 * RATE, next=20 * RATE)
STILL = Piece(start=30 * RATE, fresh=30 * RATE, end=40 * RATE, next=40 * RATE, silent=True)
AFTER = Piece(start=40 * RATE, fresh=40 * RATE, end=50 * RATE, next=50 * RATE)
OK, NONE = Outcome(state="ok"), U(audio_ms=0)


def relay_of(pieces: Sequence[Piece], **wanted: object) -> Transcribed:
    relay = Transcribed(Wanted(**{"format": "json", "task": "transcribe", **wanted}))  # type: ignore[arg-type]  # passed on
    for piece in pieces:
        relay.drew(piece)
    return relay


def fed(relay: Transcribed, index: int, value: JsonObject) -> list[JsonObject]:
    return [_event(data) for data in relay.feed(index, Event(orjson.dumps(value)))]


def ended(relay: Transcribed) -> list[JsonObject]:
    return [_event(data) for data in relay.close(()) if data != b"data: [DONE]\n\n"]


def _event(data: bytes) -> JsonObject:
    value: JsonObject = orjson.loads(data.removeprefix(b"data: "))
    return value


def delta(text: str, **more: object) -> JsonObject:
    return {"type": "transcript.text.delta", "delta": text, **more}


def done(text: str, **more: object) -> JsonObject:
    return {"type": "transcript.text.done", "text": text, **more}


def segment(text: str, start: float, end: float, **more: object) -> JsonObject:
    return {"start": start, "end": end, "text": text, **more}


def words(*rows: tuple[str, float]) -> JsonObject:
    text = " ".join(word for word, _ in rows)
    times = [{"word": word, "start": at, "end": at + 0.2} for word, at in rows]
    return {"text": text, "words": times}


def token(text: str) -> JsonObject:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode())}


# --- streams of engines


def test_streams_of_two_pieces_join_as_their_texts_do() -> None:
    relay = relay_of((WHOLE, LATER), stream=True)
    said = fed(relay, 0, delta(" Hello")) + fed(relay, 0, delta(" you. "))
    said += fed(relay, 0, done("Hello you.")) + fed(relay, 1, delta(" And"))
    said += fed(relay, 1, delta(" you.")) + fed(relay, 1, done("And you."))
    [last] = ended(relay)

    assert [event["delta"] for event in said] == ["Hello", " you. ", "And", " you."]
    assert last["text"] == "Hello you. And you."


def test_a_stream_that_says_all_at_its_end_is_passed_on() -> None:
    relay = relay_of((WHOLE, LATER), stream=True)
    fed(relay, 0, done("one"))

    assert fed(relay, 1, done(" two")) == [delta(" two")]
    assert ended(relay)[0]["text"] == "one two"


def test_a_stream_is_billed_when_its_piece_is_done() -> None:
    relay = relay_of((WHOLE, LATER), stream=True)
    fed(relay, 0, delta("Hello"))
    before = relay.usage((OK,)).units
    fed(relay, 0, done("Hello"))

    assert before == NONE
    assert relay.usage((OK,)).units == U(audio_ms=10_000)


def test_what_streams_say_at_their_ends_is_summed_up() -> None:
    relay = relay_of((WHOLE, LATER), stream=True)
    counted = {"type": "tokens", "input_tokens": 7, "output_tokens": 3}
    for index in range(2):
        fed(relay, index, done("one", duration=10.5, usage=counted))
    [last] = ended(relay)

    assert last["usage"]["total_tokens"] == 20
    assert relay.usage((OK, OK)).other == U(audio_ms=21_000)


def test_what_comes_behind_the_end_of_a_piece_is_a_bad_reply() -> None:
    relay = relay_of((WHOLE, LATER), stream=True)
    fed(relay, 0, done("Hello"))

    with pytest.raises(BadReply):
        fed(relay, 0, delta("more"))


def test_a_bill_is_exact_only_once_all_was_drawn() -> None:
    relay = relay_of((WHOLE,))
    fed(relay, 0, {"text": "one"})
    before = relay.usage((OK,))
    relay.drew(LATER)
    fed(relay, 1, {"text": "two"})
    ended(relay)

    assert not before.exact
    assert relay.usage((OK, OK)).exact


@pytest.mark.parametrize(
    "lasts",
    [
        {"duration": 14.5},
        {"duration": "14.5"},  # as vLLM writes it
        {"usage": {"type": "duration", "seconds": 14.5}},
    ],
)
def test_what_an_engine_says_that_it_heard_stands_beside_the_bill(lasts: JsonObject) -> None:
    relay = relay_of((FIRST, SECOND))
    fed(relay, 0, {"text": "one", "duration": 30.0})
    fed(relay, 1, {"text": "two", **lasts})
    ended(relay)
    usage = relay.usage((OK, OK))

    assert usage.units == U(audio_ms=40_000)  # two seconds were sent twice
    assert usage.other == U(audio_ms=42_500)


def test_what_is_no_transcript_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match="not a transcript"):
        fed(relay_of((WHOLE,)), 0, {"type": "words", "texts": "one"})


@pytest.mark.parametrize("lasts", [{}, {"duration": "long"}, {"duration": -1}, {"duration": None}])
def test_a_piece_whose_length_nobody_says_leaves_nothing_to_compare(lasts: JsonObject) -> None:
    relay = relay_of((WHOLE, LATER))
    fed(relay, 0, {"text": "one", **lasts})
    fed(relay, 1, {"text": "two", "duration": 10.0})
    ended(relay)

    assert relay.usage((OK, OK)) == Usage(U(audio_ms=20_000), by="gateway")


# --- log probabilities


def test_logprobs_go_with_the_text_that_they_stand_for() -> None:
    relay = relay_of((FIRST, SECOND), stream=True, logprobs=True)
    left = {
        "text": "a quick fox jum",
        "logprobs": [token(t) for t in ("a", " quick", " fox", " jum")],
    }
    right = {"text": "quick fox jumps", "logprobs": [token(t) for t in ("quick", " fox", " jumps")]}
    said = fed(relay, 0, left) + fed(relay, 1, right)
    [last] = ended(relay)

    assert last["text"] == "a quick fox jumps"
    assert "".join(row["token"] for row in last["logprobs"]) == last["text"]
    assert [row for event in said for row in event["logprobs"]] == last["logprobs"]


def test_logprobs_of_a_stream_are_passed_on() -> None:
    relay = relay_of((WHOLE,), stream=True, logprobs=True)

    assert fed(relay, 0, delta("Hi", logprobs=[token("Hi")])) == [
        delta("Hi", logprobs=[token("Hi")])
    ]
    fed(relay, 0, done("Hi"))
    assert ended(relay)[0]["logprobs"] == [token("Hi")]


def test_logprobs_that_were_not_asked_for_are_left_out() -> None:
    relay = relay_of((WHOLE,))
    fed(relay, 0, {"text": "Hi", "logprobs": [token("Hi")]})

    assert "logprobs" not in ended(relay)[0]


# --- speakers


def test_speakers_come_as_events_with_numbers_of_their_own() -> None:
    relay = relay_of((WHOLE,), stream=True, format="diarized_json")
    rows = [segment("Hi.", 0.0, 1.0, speaker="A"), segment("Yes.", 1.0, 2.0, speaker="B")]
    events = fed(relay, 0, {"text": "Hi. Yes.", "segments": rows})

    assert [event["type"].rpartition(".")[2] for event in events] == [
        "delta", "delta", "segment", "segment",
    ]  # fmt: skip  # rows as they are read
    assert [(e["id"], e["speaker"]) for e in events[2:]] == [("seg_001", "A"), ("seg_002", "B")]


def test_speakers_of_a_stream_are_passed_on_in_times_of_the_file() -> None:
    relay = relay_of((WHOLE,), stream=True, format="diarized_json")
    row = segment("Hi.", 0.5, 99.0, speaker="A", id="x")
    [event] = fed(relay, 0, {"type": "transcript.text.segment", **row})

    assert (event["id"], event["start"], event["end"]) == ("seg_001", 0.5, 10.0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_segment_without_its_speaker_is_a_bad_reply(stream: bool) -> None:
    relay = relay_of((WHOLE,), stream=stream, format="diarized_json")
    kind = {"type": "transcript.text.segment"} if stream else {}
    row = segment("Hi.", 0.0, 1.0)
    value = {**kind, **row} if stream else {"text": "Hi.", "segments": [row]}

    with pytest.raises(BadReply, match="speakers"):
        fed(relay, 0, value)
    assert relay.usage((OK,)).units == NONE


# --- words and joints


def test_an_engine_that_gives_no_words_where_they_were_asked_for_is_a_bad_reply() -> None:
    relay = relay_of((WHOLE,), format="verbose_json", words=True)

    with pytest.raises(BadReply, match="times of words"):
        fed(relay, 0, {"text": "Hi", "segments": [segment("Hi", 0, 1)]})


def test_a_segment_that_is_cut_lasts_as_its_words_do() -> None:
    relay = relay_of((FIRST, SECOND), format="verbose_json", words=True)
    left = words(("early", 20.0), ("we", 28.4), ("stop", 29.0), ("he", 29.8))
    left["segments"] = [segment(" early we stop he", 20.0, 30.0, tokens=[1, 2, 3, 4])]
    right = words(("we", 0.4), ("stop", 1.0), ("here", 1.8), ("now", 4.0))
    right["segments"] = [segment(" we stop here now", 0.2, 5.0, tokens=[2, 3, 5, 6])]
    assert fed(relay, 0, left) == []
    fed(relay, 1, right)
    [value] = ended(relay)

    assert value["text"] == "early we stop here now"
    assert [(row["text"], row["start"], row["end"]) for row in value["segments"]] == [
        (" early we stop", 20.0, 29.2),
        (" here now", 29.8, 33.0),
    ]
    assert all(row["tokens"] == [] for row in value["segments"])
    assert [word["word"] for word in value["words"]] == ["early", "we", "stop", "here", "now"]


def test_what_does_not_stand_in_the_text_is_parted_at_the_middle_of_the_overlap() -> None:
    relay = relay_of((FIRST, SECOND), format="verbose_json", words=True)
    left = words(("forty", 20.0), ("two", 28.2), ("men", 29.6))
    right = words(("two", 0.2), ("men", 1.6), ("came", 3.0))
    left |= {"text": "42 men", "segments": [segment("fourty two", 20.0, 28.4)]}
    right |= {"text": "2 men came.", "segments": [segment("two!", 0.2, 0.4), segment("x", 3, 4)]}
    fed(relay, 0, left)
    fed(relay, 1, right)
    [value] = ended(relay)

    assert [word["word"] for word in value["words"]] == ["forty", "two", "men", "came"]
    assert [row["text"] for row in value["segments"]] == ["fourty two", "x"]


def test_after_a_hard_cut_into_silence_all_that_was_heard_stays() -> None:
    relay = relay_of((FIRST, STILL, AFTER), stream=True)
    held = fed(relay, 0, words(("we", 20.0), ("stop", 29.0)))
    let_go = fed(relay, 1, words(("now", 1.0)))

    assert [event["delta"] for event in held + let_go] == ["we", " stop", " now"]
    assert relay.usage((OK, OK)).units == U(audio_ms=50_000)


def test_text_that_waits_for_a_piece_that_never_comes_is_said_at_the_end() -> None:
    relay = relay_of((FIRST, STILL), stream=True)
    fed(relay, 0, words(("we", 20.0), ("stop", 29.0)))
    *rest, last = ended(relay)

    assert [event["delta"] for event in rest] == [" stop"]
    assert last["text"] == "we stop"
    assert relay.usage((OK,)).exact


@pytest.mark.parametrize("levels", range(248, 260))
@pytest.mark.parametrize(
    ("name", "wanted", "row"),
    [
        ("segments", {"format": "verbose_json"}, segment("a", 0, 1)),
        ("logprobs", {"logprobs": True}, token("a")),
        ("logprobs", {"logprobs": True, "stream": True}, token("a")),
    ],
)
def test_what_cannot_be_written_is_the_engines_fault_and_costs_nothing(
    name: str, wanted: JsonObject, row: JsonObject, levels: int
) -> None:
    relay = relay_of((WHOLE,), **wanted)
    value = b'{"text":"a","%b":[%b' % (name.encode(), orjson.dumps(row)[:-1])
    value += b',"x":%b}]}' % (b"[" * levels + b"]" * levels)
    try:
        tuple(relay.feed(0, Event(value)))
    except BadReply:
        assert relay.usage((OK,)).units == NONE
        return

    assert tuple(relay.close((OK,)))
    assert levels < 253
