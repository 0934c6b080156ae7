"""Mistral's client, known by its name or by `diarize`: its form, its reply, and its events."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from msgspec import structs

from modgate.http.surfaces import built_in
from modgate.kit.sse import Splitter
from modgate.plugin import Event, Json, JsonObject, Refused, Sample
from modgate.testing import Rig
from modgate_asr.modality import Asr
from modgate_asr.samples import tone

PATH = "/v1/audio/transcriptions"
HEARD = orjson.dumps(
    {
        "language": "english",
        "text": "Hello you.",
        "segments": [{"start": 0.0, "end": 0.9, "text": "Hello you.", "speaker": "A"}],
        "words": [
            {"word": "Hello", "start": 0.0, "end": 0.4},
            {"word": "you.", "start": 0.4, "end": 0.9},
        ],
        "usage": {"type": "tokens", "input_tokens": 7, "output_tokens": 3},
    }
)
USAGE = {
    "prompt_audio_seconds": 1,
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
}
TEXT: JsonObject = {"model": "ears", "text": "Hello you.", "language": "en", "usage": USAGE}
SEGMENT: JsonObject = {
    "type": "transcription_segment",
    "text": "Hello you.",
    "start": 0.0,
    "end": 0.9,
    "speaker_id": "A",
}


def heard(folder: Path, facts: dict[str, Json] | None = None, **form: str) -> bytes:
    """The reply to a form of Mistral's."""
    parts: dict[str, str | tuple[str, bytes]] = {
        "model": "ears",
        "diarize": "false",
        **form,
        "file": ("a.wav", tone(1.0)),
    }
    with Rig(Asr(Asr.config_type()), folder) as rig:
        plan = rig.plan(Sample(path=PATH, form=parts, facts=facts or {}))
        return rig.drive(plan).play(lambda index, call: [Event(HEARD)]).reply


def test_a_reply_has_all_that_its_sdk_requires(tmp_path: Path) -> None:
    assert orjson.loads(heard(tmp_path)) == {**TEXT, "segments": []}


def test_an_older_sdk_which_sends_no_diarize_is_known_by_its_name(tmp_path: Path) -> None:
    sample = Sample(path=PATH, form={"model": "ears", "file": ("a.wav", tone(1.0))})
    with Rig(Asr(Asr.config_type()), tmp_path) as rig:
        request = structs.replace(rig.request(sample), surface=built_in()["mistral"])
        plan = rig.shape(request, rig.answers(sample))
        reply = rig.drive(plan).play(lambda index, call: [Event(HEARD)]).reply

    assert orjson.loads(reply) == {**TEXT, "segments": []}


def test_times_come_as_segments_of_what_was_asked_for(tmp_path: Path) -> None:
    words = orjson.loads(heard(tmp_path, timestamp_granularities="word"))["segments"]
    segments = orjson.loads(heard(tmp_path, timestamp_granularities="segment"))["segments"]

    assert [(word["text"], word["start"], word["end"]) for word in words] == [
        ("Hello", 0.0, 0.4),
        ("you.", 0.4, 0.9),
    ]
    assert segments == [SEGMENT]


def test_speakers_are_told_where_the_model_tells_them_apart(tmp_path: Path) -> None:
    reply = orjson.loads(heard(tmp_path, {"diarizes": True}, diarize="true"))

    assert reply == {**TEXT, "segments": [SEGMENT]}


def test_a_stream_has_its_events_and_no_last_word_of_openai(tmp_path: Path) -> None:
    said = heard(tmp_path, {"diarizes": True}, diarize="true", stream="true")
    events = [(event.name, orjson.loads(event.data)) for event in Splitter().feed(said)]

    place = {name: SEGMENT[name] for name in ("text", "start", "end", "speaker_id")}
    assert [name for name, _ in events] == [event["type"] for _, event in events]
    assert [event for _, event in events] == [
        {"type": "transcription.text.delta", "text": "Hello you."},
        {"type": "transcription.segment", **place},
        {"type": "transcription.done", **TEXT, "segments": [SEGMENT]},
    ]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"diarize": "true"}, "diarize"),
        ({"file_id": "x"}, "file_id"),
        ({"speaker_references": "{}"}, "speaker_references"),
        ({"timestamp_granularities": "line"}, "timestamp_granularities"),
    ],
)
def test_what_is_not_done_is_refused_by_its_field(
    tmp_path: Path, form: dict[str, str], field: str
) -> None:
    with pytest.raises(Refused) as caught:
        heard(tmp_path, **form)

    assert caught.value.field == field


def test_a_bias_is_passed_on_as_keywords(tmp_path: Path) -> None:
    parts: dict[str, str | tuple[str, bytes]] = {
        "model": "ears",
        "diarize": "false",
        "context_bias": "modgate",
        "file": ("a.wav", tone(1.0)),
    }
    with Rig(Asr(Asr.config_type()), tmp_path) as rig:
        [call] = rig.calls(rig.plan(Sample(path=PATH, form=parts)))
        told = [part.text() for part in call.body.parts if part.name == "keywords[]"]

    assert told == ["modgate"]
