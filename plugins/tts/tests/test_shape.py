"""What a client may ask for, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from modgate.api.body import Body
from modgate.api.json import Json
from modgate.api.modality import Sample
from modgate.api.plan import Plan
from modgate.errors import Refused, UnsupportedMedia
from modgate.testing.rig import Rig
from modgate_tts import modality
from modgate_tts.config import Config
from modgate_tts.modality import Tts
from modgate_tts.relay import Encoded, Spoken

TEXT = "Well, here is a text of some length, so that it is cut. And it goes on and on. " * 8
PATH = "/v1/audio/speech"
KNOWN: dict[str, Json] = {"voices": ["af_bella", "af_sky"], "voice_map": {"alloy": "af_sky"}}


def shaped(
    tmp_path: Path,
    facts: dict[str, Json] | None = None,
    config: Config | None = None,
    **asked: Json,
) -> Plan:
    body = {"model": "m", "voice": "af_bella", "input": TEXT, "response_format": "pcm", **asked}
    sample = Sample(path=PATH, json=body, facts=facts or {})
    with Rig(Tts(config or Config()), tmp_path) as rig:
        return rig.shape(rig.request(sample, Body.json(orjson.dumps(body))), rig.answers(sample))


def sent(plan: Plan) -> list[dict[str, Json]]:
    assert isinstance(plan.calls, list)
    return [orjson.loads(call.body.content) for call in plan.calls]


def refused(tmp_path: Path, facts: dict[str, Json] | None = None, **asked: Json) -> Refused:
    with pytest.raises(Refused) as raised:
        shaped(tmp_path, facts, **asked)
    return raised.value


def test_each_piece_is_a_call_for_pcm_and_no_more_than_three_wait(tmp_path: Path) -> None:
    plan = shaped(tmp_path)

    assert "".join(each["input"] for each in sent(plan)) == TEXT
    assert {(each["voice"], each["response_format"]) for each in sent(plan)} == {
        ("af_bella", "pcm")
    }
    assert (plan.width, plan.ahead) == (3, 3)


def test_an_engine_that_gives_no_pcm_is_asked_for_wav(tmp_path: Path) -> None:
    plan = shaped(tmp_path, {"engine_format": "wav"}, response_format="mp3")

    assert {each["response_format"] for each in sent(plan)} == {"wav"}


def test_pieces_keep_the_bounds_of_config_and_model(tmp_path: Path) -> None:
    config = Config(first_piece=60, piece=200, width=5)
    first, *others = sent(shaped(tmp_path, {"max_piece": 150}, config))

    assert 20 <= len(first["input"]) <= 60
    assert all(len(each["input"]) <= 150 for each in others)
    assert shaped(tmp_path, config=config).ahead == 5


@pytest.mark.parametrize(
    ("facts", "most"),
    [({}, 4096), ({"max_characters": 100}, 100), ({"max_characters": 9999}, 4096)],
)
def test_a_text_over_the_limit_is_refused(
    tmp_path: Path, facts: dict[str, Json], most: int
) -> None:
    error = refused(tmp_path, facts, input="a" * 4097)

    assert (error.code, error.field) == ("string_above_max_length", "input")
    assert str(most) in error.message


def test_a_format_whose_codec_is_not_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modality, "installed", lambda name: name != "opus")

    assert shaped(tmp_path, response_format="mp3")
    with pytest.raises(UnsupportedMedia, match="'opus' needs the extra"):
        shaped(tmp_path, response_format="opus")


@pytest.mark.parametrize(
    ("asked", "voice"),
    [
        ("af_sky", "af_sky"),
        ("alloy", "af_sky"),
        ({"id": "af_bella"}, "af_bella"),
        ({"id": "alloy"}, "af_sky"),
    ],
)
def test_a_voice_goes_by_its_name_or_another(tmp_path: Path, asked: Json, voice: str) -> None:
    plan = shaped(tmp_path, KNOWN, voice=asked)

    assert sent(plan)[0]["voice"] == voice
    assert next(iter(plan.calls)).requires == (("voice", voice),)


@pytest.mark.parametrize("asked", ["nobody", {"id": "nobody"}, "af_bella+af_sky", "AF_SKY"])
def test_an_unknown_voice_is_refused_with_those_that_there_are(tmp_path: Path, asked: Json) -> None:
    error = refused(tmp_path, KNOWN, voice=asked)

    assert error.field == "voice"
    assert "af_bella, af_sky, alloy" in error.message


@pytest.mark.parametrize(
    ("asked", "voice"),
    [
        ("af_bella(2)+af_sky", "af_bella(2)+af_sky"),
        ("af_bella (2) + alloy(0.5)", "af_bella(2)+af_sky(0.5)"),
        ("alloy-af_bella", "af_sky-af_bella"),
        ("alloy", "af_sky"),
    ],
)
def test_voices_are_mixed_where_the_model_can(tmp_path: Path, asked: str, voice: str) -> None:
    assert sent(shaped(tmp_path, {**KNOWN, "blends": True}, voice=asked))[0]["voice"] == voice


@pytest.mark.parametrize(
    "asked", ["af_bella+", "+af_sky", "af_bella+nobody", "af_sky(x)", "a((2))"]
)
def test_a_mix_that_is_none_is_refused(tmp_path: Path, asked: str) -> None:
    assert refused(tmp_path, {**KNOWN, "blends": True}, voice=asked).field == "voice"


def test_any_voice_is_passed_on_where_none_is_known(tmp_path: Path) -> None:
    assert sent(shaped(tmp_path, voice="whoever"))[0]["voice"] == "whoever"


def test_speed_is_passed_on(tmp_path: Path) -> None:
    assert {each["speed"] for each in sent(shaped(tmp_path, speed=1.5))} == {1.5}
    assert "speed" not in sent(shaped(tmp_path, speed=1))[0]


@pytest.mark.parametrize(
    ("speeds", "speed", "code"),
    [
        (None, 4.5, "invalid_value"),
        (None, 0.2, "invalid_value"),
        ([0.5, 2.0], 2.5, "unsupported_value"),
        ([1.0, 1.0], 1.1, "unsupported_value"),
    ],
)
def test_a_speed_that_the_model_has_not_is_refused(
    tmp_path: Path, speeds: Json, speed: float, code: str
) -> None:
    error = refused(tmp_path, {"speeds": speeds} if speeds else None, speed=speed)

    assert error.field == "speed"
    assert error.code.endswith(code) or code == "invalid_value"


def test_only_wishes_that_change_no_bill_are_passed_on(tmp_path: Path) -> None:
    wishes = {
        "instructions": "Be calm.",
        "lang_code": "a",
        "volume_multiplier": 1.5,
        "normalization_options": {"normalize": False},
    }
    others = {"sample_rate": 8000, "stream": False, "return_download_link": True, "n": 5}
    call = sent(shaped(tmp_path, **wishes, **others))[0]

    assert call.items() >= wishes.items()
    assert not call.keys() & others.keys()


@pytest.mark.parametrize(
    ("name", "rate", "kind"),
    [
        ("pcm", 24_000, Spoken),
        ("wav", 24_000, Spoken),
        ("pcm", 22_050, Encoded),
        ("mp3", 24_000, Encoded),
    ],
)
def test_what_takes_processor_time_leaves_the_loop(
    tmp_path: Path, name: str, rate: int, kind: type[Spoken]
) -> None:
    plan = shaped(tmp_path, {"sample_rate": rate}, response_format=name)

    assert type(plan.relay) is kind


@pytest.mark.parametrize("text", ["...", " \n", "\U0001f600!", "\u3002"])
def test_a_text_with_nothing_to_speak_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, input=text).field == "input"
