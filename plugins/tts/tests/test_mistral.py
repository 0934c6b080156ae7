"""Mistral's client, whose speech is JSON: what it asks for, what it reads, and what it costs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import orjson
import pytest
import soundfile
from msgspec import structs

from modgate.http.surfaces import built_in
from modgate.kit.sse import Splitter
from modgate.plugin import Event, Json, JsonObject, Outcome, Plan, Refused, Sample
from modgate.testing import Rig
from modgate_tts.config import Config
from modgate_tts.modality import Tts
from modgate_tts.relay import Spoken

OK = Outcome(state="ok")
SECOND = b"\x10\x00" * 24_000
FACTS: dict[str, Json] = {"voices": ["af_bella"], "voice_map": {"alloy": "af_bella"}}


def shaped(folder: Path, **more: Json) -> Plan:
    asked: JsonObject = {"model": "m", "voice_id": "alloy", "input": "Hi.", "stream": False}
    body = {**asked, "response_format": "pcm", **more}
    sample = Sample(path="/v1/audio/speech", json=body, facts=FACTS)
    with Rig(Tts(Config()), folder) as rig:
        request = structs.replace(rig.request(sample), surface=built_in()["mistral"])
        return rig.shape(request, rig.answers(sample))


def relay_of(plan: Plan) -> Spoken:
    assert isinstance(plan.relay, Spoken)
    return plan.relay


def test_a_whole_speech_is_json_and_costs_nothing_until_it_leaves(tmp_path: Path) -> None:
    plan = shaped(tmp_path)
    relay = relay_of(plan)
    fed = list(relay.feed(0, Event(SECOND)))
    before = relay.usage([OK])
    (reply,) = relay.close([OK])

    assert isinstance(plan.calls, list)
    assert orjson.loads(plan.calls[0].body.content)["voice"] == "af_bella"
    assert (fed, relay.head.kind) == ([], "whole")
    assert base64.b64decode(orjson.loads(reply)["audio_data"]) == SECOND
    assert dict(before.units) == {"characters": 0, "speech_ms": 0}
    assert dict(relay.usage([OK]).units) == {"characters": 3, "speech_ms": 1000}


@pytest.mark.parametrize("name", ["flac", "wav"])
def test_a_whole_speech_says_how_long_it_is(tmp_path: Path, name: str) -> None:
    relay = relay_of(shaped(tmp_path, response_format=name))
    list(relay.feed(0, Event(SECOND)))
    (reply,) = relay.close([OK])
    audio = base64.b64decode(orjson.loads(reply)["audio_data"])
    samples, rate = soundfile.read(io.BytesIO(audio), dtype="int16")

    assert (rate, samples.tobytes()) == (24_000, SECOND)


def test_a_stream_is_events_of_which_the_last_has_the_usage(tmp_path: Path) -> None:
    relay = relay_of(shaped(tmp_path, stream=True))
    events = list(Splitter().feed(b"".join([*relay.feed(0, Event(SECOND)), *relay.close([OK])])))
    values = [orjson.loads(event.data) for event in events]

    assert relay.head.kind == "sse"
    assert [event.name for event in events] == [value["type"] for value in values]
    audio = b"".join(base64.b64decode(value["audio_data"]) for value in values[:-1])
    assert audio == SECOND
    usage = {"prompt_tokens": 3, "completion_tokens": 1000, "total_tokens": 1003}
    assert values[-1] == {"type": "speech.audio.done", "usage": usage}


@pytest.mark.parametrize(
    "wrong", [{"voice_id": "nobody"}, {"voice_id": None}, {"ref_audio": "UklGRg=="}]
)
def test_what_cannot_be_spoken_is_refused_by_its_name(
    tmp_path: Path, wrong: dict[str, Json]
) -> None:
    with pytest.raises(Refused) as caught:
        shaped(tmp_path, **wrong)

    assert [caught.value.field] == list(wrong)
