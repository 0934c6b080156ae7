"""One transcript, every format.  Source: wire.md 4.1, B4."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import Event, JsonObject
from modgate_asr.formats import Wanted, srt, vtt, written
from modgate_asr.heard import Piece
from modgate_asr.relay import Transcribed
from modgate_asr.transcript import Segment, Transcript

RATE = 16_000
WHOLE = Piece(start=0, fresh=0, end=6 * RATE, next=6 * RATE)
LATER = Piece(start=6 * RATE, fresh=6 * RATE, end=10 * RATE, next=10 * RATE)


def relayed(*replies: tuple[Piece, JsonObject], form: str = "verbose_json") -> JsonObject:
    relay = Transcribed(Wanted(format=form, task="transcribe"))
    for index, (piece, reply) in enumerate(replies):
        relay.drew(piece)
        assert not b"".join(relay.feed(index, Event(orjson.dumps(reply))))
    value: JsonObject = orjson.loads(b"".join(relay.close(())))
    return value


def said(text: str, start: float = 0.5, end: float = 1.0, **more: object) -> JsonObject:
    row = {"id": 9, "start": start, "end": end, "text": text, **more}
    return {"text": text, "segments": [row]}


def test_subtitles_are_written_as_players_want_them() -> None:
    rows = [Segment(start_ms=3_661_062, end_ms=3_662_000, text=" Hello")]

    assert srt(rows) == "1\n01:01:01,062 --> 01:01:02,000\nHello\n\n"
    assert vtt(rows) == "WEBVTT\n\n01:01:01.062 --> 01:01:02.000\nHello\n\n"


def test_a_subtitle_is_one_line_and_says_something() -> None:
    texts = ("", " one\n\ntwo ", "  ")
    rows = [Segment(start_ms=0, end_ms=500, text=text) for text in texts]

    assert srt(rows) == "1\n00:00:00,000 --> 00:00:00,500\none two\n\n"
    assert vtt(rows).count("-->") == 1


def test_a_translation_is_joined_as_english_is() -> None:
    relay = Transcribed(Wanted(format="json", task="translate"))
    for index, (piece, text) in enumerate(((WHOLE, "one"), (LATER, "two"))):
        relay.drew(piece)
        list(relay.feed(index, Event(orjson.dumps({"text": text, "language": "japanese"}))))

    assert orjson.loads(b"".join(relay.close(())))["text"] == "one two"


def test_a_subtitle_lasts_at_least_a_millisecond() -> None:
    assert "00:00:01,000 --> 00:00:01,001" in srt([Segment(start_ms=1000, end_ms=1000, text="x")])


def test_text_ends_with_a_newline() -> None:
    wanted = Wanted(format="text", task="transcribe")
    transcript = Transcript()
    transcript.joined(" hello ", "")

    assert written(wanted, transcript, 1000) == "hello\n"


def test_no_time_lies_beyond_the_end_of_the_recording() -> None:
    [row] = relayed((WHOLE, said("hi", 0.5, 13.9)))["segments"]

    assert (row["start"], row["end"]) == (0.5, 6.0)


def test_times_and_numbers_and_seek_are_those_of_the_file() -> None:
    value = relayed((WHOLE, said(" one", seek=100)), (LATER, said(" two", seek=250)))
    rows = value["segments"]

    assert [row["id"] for row in rows] == [0, 1]
    assert [row["start"] for row in rows] == [0.5, 6.5]
    assert [row["seek"] for row in rows] == [100, 850]
    assert (value["text"], value["duration"]) == ("one two", 10.0)
    assert value["usage"] == {"type": "duration", "seconds": 10}


def test_times_never_go_back() -> None:
    reply = {"text": "a b", "segments": [*said("a", 3.0, 4.0)["segments"], *said("b")["segments"]]}
    rows = relayed((WHOLE, reply))["segments"]

    assert [(row["start"], row["end"]) for row in rows] == [(3.0, 4.0), (3.0, 3.0)]


def test_a_segment_has_every_figure_that_typed_clients_require() -> None:
    broken = said("x", no_speech_prob=None, avg_logprob="low", tokens=7, temperature=0.4)
    [row] = relayed((WHOLE, broken))["segments"]

    assert (row["no_speech_prob"], row["avg_logprob"], row["tokens"]) == (0.0, 0.0, [])
    assert (row["compression_ratio"], row["temperature"]) == (1.0, 0.4)


def test_an_engine_without_times_gives_a_segment_a_piece() -> None:
    value = relayed((WHOLE, {"text": "one"}), (LATER, {"text": "two"}))

    assert [(row["start"], row["end"]) for row in value["segments"]] == [(0.0, 6.0), (6.0, 10.0)]


@pytest.mark.parametrize(
    ("language", "first", "second", "text"),
    [
        ("japanese", "今日は", "天気", "今日は天気"),
        ("zh", "你好", "世界", "你好世界"),
        ("zh", "你好 OK", "Hello 世界", "你好 OK Hello 世界"),
        ("english", "one", "two", "one two"),
        ("", "你好", "世界", "你好世界"),
        ("", "one", "two", "one two"),
    ],
)
def test_texts_join_as_their_language_does(
    language: str, first: str, second: str, text: str
) -> None:
    replies = [(p, {"text": t, "language": language}) for p, t in ((WHOLE, first), (LATER, second))]

    assert relayed(*replies)["text"] == text


def test_a_started_second_is_a_second() -> None:
    short = Piece(start=0, fresh=0, end=RATE + 16, next=RATE + 16)
    value = relayed((short, said("x")))

    assert (value["duration"], value["usage"]["seconds"]) == (1.001, 2)


def test_the_language_is_that_of_most_of_the_audio() -> None:
    short, long = {**said("ja"), "language": "german"}, {**said("yes"), "language": "english"}

    assert relayed((LATER, short), (WHOLE, long))["language"] == "english"


def test_tokens_are_told_where_every_piece_has_them() -> None:
    usage = {"type": "tokens", "input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    replies = [(piece, {"text": "x", "usage": usage}) for piece in (WHOLE, LATER)]
    told = relayed(*replies, form="json")["usage"]
    mixed = relayed(replies[0], (LATER, {"text": "y"}), form="json")["usage"]

    assert (told["type"], told["input_tokens"], told["total_tokens"]) == ("tokens", 20, 24)
    assert told["input_token_details"] == {"audio_tokens": 20, "text_tokens": 0}
    assert mixed == {"type": "duration", "seconds": 10}
