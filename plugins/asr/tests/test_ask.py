"""What a form may ask.  Source: wire.md 4.1, row by row, B7 and B8."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from modgate.plugin import Body, Call, GatewayError, Json, Part, Refused, Sample, UnsupportedMedia
from modgate.testing import Rig
from modgate_asr import sound
from modgate_asr.languages import CODES, code_of
from modgate_asr.modality import Asr
from modgate_asr.samples import tone

PATH = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
REFERENCE = "data:audio/wav;base64," + base64.b64encode(tone(2.5)).decode()
SHORT = "data:audio/wav;base64," + base64.b64encode(tone(0.5)).decode()
DIARISED = {"response_format": "diarized_json"}


def called(
    folder: Path,
    *parts: tuple[str, str],
    path: str = PATH,
    facts: Mapping[str, Json] | None = None,
    data: bytes | None = None,
) -> Call:
    """The one call of a request with these parts, in this order, the file last."""
    with Rig(Asr(Asr.config_type()), folder) as rig:
        sample = Sample(path=path, form={}, facts=facts or {})
        file = rig.file(tone(1.0) if data is None else data).slice()
        texts = [Part(name=name, content=text.encode()) for name, text in (("model", "m"), *parts)]
        body = Body.form([*texts, Part(name="file", content=file, filename="a.bin")])
        plan = rig.shape(rig.request(sample, body), rig.answers(sample))
        [call] = rig.calls(plan)
        return call


def sent(call: Call, name: str) -> list[str]:
    return [part.text() for part in call.body.parts if part.name == name]


def refused(folder: Path, *parts: tuple[str, str], **more: object) -> tuple[str | None, str]:
    with pytest.raises(GatewayError) as caught:
        called(folder, *parts, **more)  # type: ignore[arg-type]  # passed on
    return caught.value.field, caught.value.code


@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities[0]"])
def test_words_are_asked_for_together_with_segments(tmp_path: Path, name: str) -> None:
    call = called(tmp_path, ("response_format", "verbose_json"), (name, "word"))

    assert sent(call, "timestamp_granularities[]") == ["word", "segment"]


def test_a_repeated_name_without_brackets_is_an_array(tmp_path: Path) -> None:
    grains = [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")]
    call = called(tmp_path, ("response_format", "verbose_json"), *grains, ("keywords[]", "fox"))

    assert sent(call, "timestamp_granularities[]") == ["word", "segment"]
    assert sent(call, "keywords[]") == ["fox"]


def test_without_need_no_times_of_words_are_asked_for(tmp_path: Path) -> None:
    assert sent(called(tmp_path), "timestamp_granularities[]") == []


@pytest.mark.parametrize("grain", ["word", "segment"])
def test_times_that_the_form_has_no_room_for_are_not_asked_for(tmp_path: Path, grain: str) -> None:
    call = called(tmp_path, ("timestamp_granularities[]", grain))

    assert sent(call, "timestamp_granularities[]") == []


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([("timestamp_granularities[]", "letter")], "timestamp_granularities"),
        ([("timestamp_granularities[]", "word"), ("response_format", "json")],
         "timestamp_granularities"),
        ([("stream", "true"), ("response_format", "srt")], "response_format"),
        ([("stream", "true"), ("response_format", "vtt")], "response_format"),
        ([("stream", "true"), ("response_format", "verbose_json")], "response_format"),
        ([("response_format", "xml")], "response_format"),
        ([("response_format", "diarized_json")], "response_format"),
        ([("include[]", "logprobs")], "include"),
        ([("include[]", "everything")], "include"),
        ([("language", "klingon")], "language"),
        ([("temperature", "1.5")], "temperature"),
        ([("stream", "perhaps")], "stream"),
        ([("chunking_strategy", "never")], "chunking_strategy"),
        ([("chunking_strategy", '{"type":"magic"}')], "chunking_strategy.type"),
        ([("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "2")],
         "chunking_strategy.threshold"),
        ([("known_speaker_names[]", "a")], "known_speaker_references"),
        ([("known_speaker_names[]", "a"), ("known_speaker_references[]", "https://x.test/a")],
         "known_speaker_references"),
        ([("known_speaker_names[]", "a")] * 5, "known_speaker_names"),
    ],
)  # fmt: skip  # rows as they are read
def test_what_does_not_fit_is_refused_by_its_name(
    tmp_path: Path, parts: list[tuple[str, str]], field: str
) -> None:
    assert refused(tmp_path, *parts)[0] == field


@pytest.mark.parametrize(
    "parts",
    [
        [("chunking_strategy", "auto")],
        [("chunking_strategy", '{"type":"server_vad","silence_duration_ms":500}')],
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.5")],
        [("stream", "true"), ("response_format", "")][:1],
        [("timestamp_granularities[]", "word"), ("response_format", "verbose_json")],
        [("stream", "true"), ("response_format", "text")],
        [("stream", "false"), ("response_format", "srt")],
        [("prompt", ""), ("language", ""), ("unknown", "x")],
    ],
)
def test_what_sdks_send_is_taken(tmp_path: Path, parts: list[tuple[str, str]]) -> None:
    assert called(tmp_path, *parts).path == PATH


def test_extras_of_engines_are_passed_on_and_the_unknown_is_not(tmp_path: Path) -> None:
    call = called(tmp_path, ("hotwords", "fox"), ("seed", "7"), ("api_key", "x"))

    assert (sent(call, "hotwords"), sent(call, "seed"), sent(call, "api_key")) == (
        ["fox"],
        ["7"],
        [],
    )


def test_of_a_long_prompt_the_end_is_used(tmp_path: Path) -> None:
    [prompt] = sent(called(tmp_path, ("prompt", "a" * 5000 + " the end")), "prompt")

    assert prompt.endswith("a the end")
    assert len(prompt) == 4000


@pytest.mark.parametrize(
    ("facts", "parts", "field"),
    [
        ({"timestamps": "segment"},
         [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")],
         "timestamp_granularities"),
        ({"languages": ["en"]}, [("language", "de")], "language"),
        ({"logprobs": True}, [("include[]", "logprobs"), ("response_format", "text")], "include"),
    ],
)  # fmt: skip  # rows as they are read
def test_what_the_model_cannot_is_refused_before_it_is_asked(
    tmp_path: Path, facts: Mapping[str, Json], parts: list[tuple[str, str]], field: str
) -> None:
    assert refused(tmp_path, *parts, facts=facts) == (field, "invalid_value")


def test_a_model_that_gives_no_times_is_asked_for_json(tmp_path: Path) -> None:
    call = called(tmp_path, ("response_format", "srt"), facts={"timestamps": "none"})

    assert sent(call, "response_format") == ["json"]


def test_a_stream_is_asked_for_where_the_engine_has_one(tmp_path: Path) -> None:
    plain, live = (
        called(tmp_path, ("stream", "true"), facts={"streams": streams})
        for streams in (False, True)
    )

    assert (plain.reply, sent(plain, "stream"), sent(plain, "response_format")) == (
        "whole", [], ["verbose_json"],
    )  # fmt: skip  # rows as they are read
    assert (live.reply, sent(live, "stream"), sent(live, "response_format")) == (
        "sse", ["true"], ["json"],
    )  # fmt: skip  # rows as they are read


def test_a_translation_is_never_streamed_and_has_no_speakers(tmp_path: Path) -> None:
    facts = {"streams": True, "diarizes": True}
    call = called(tmp_path, ("stream", "true"), path=TRANSLATIONS, facts=facts)

    assert call.reply == "whole"
    for form in ("srt", "vtt", "verbose_json"):
        parts = [("stream", "true"), ("response_format", form)]
        assert called(tmp_path, *parts, path=TRANSLATIONS, facts=facts).reply == "whole"
    assert refused(tmp_path, *DIARISED.items(), path=TRANSLATIONS, facts=facts)[0] == (
        "response_format"
    )


def test_speakers_are_known_by_their_references(tmp_path: Path) -> None:
    names = [("known_speaker_names[]", "agent"), ("known_speaker_references[]", REFERENCE)]
    call = called(tmp_path, *DIARISED.items(), *names, facts={"diarizes": True})

    assert sent(call, "known_speaker_names[]") == ["agent"]
    assert sent(call, "known_speaker_references[]") == [REFERENCE]
    assert sent(call, "response_format") == ["diarized_json"]


def test_a_reference_that_is_too_short_is_refused(tmp_path: Path) -> None:
    names = [("known_speaker_names[]", "agent"), ("known_speaker_references[]", SHORT)]
    field, code = refused(tmp_path, *DIARISED.items(), *names, facts={"diarizes": True})

    assert (field, code) == ("known_speaker_references[0]", "invalid_audio")


def test_speakers_of_a_long_recording_are_not_told_apart_piece_by_piece(tmp_path: Path) -> None:
    facts = {"diarizes": True, "window_s": 5}
    told = refused(tmp_path, *DIARISED.items(), facts=facts, data=tone(5.5))

    assert told == ("file", "audio_too_long")


@pytest.mark.parametrize("data", [b"", b"only text, no audio at all"])
def test_what_cannot_be_heard_is_invalid_audio(tmp_path: Path, data: bytes) -> None:
    assert refused(tmp_path, data=data) == ("file", "invalid_audio")


def test_a_container_without_its_reader_is_an_unsupported_media_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise sound.Refused("needs the extra modgate[codecs]", "unsupported_media_type")

    monkeypatch.setattr(sound, "_av", missing)
    with pytest.raises(UnsupportedMedia, match="codecs"):
        called(tmp_path, data=b"\x1aE\xdf\xa3 webm")


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "en"), ("EN-us", "en"), ("English", "en"), ("eng", "en"), ("ger", "de"),
        ("deu", "de"), ("Mandarin", "zh"), ("yue", "yue"), ("fil", "tl"), ("xx", None),
        ("hrv", "hr"), ("Castilian", "es"), ("", None),
    ],
)  # fmt: skip  # rows as they are read
def test_a_language_by_code_or_name(written: str, code: str | None) -> None:
    assert code_of(written) == code


def test_every_language_has_a_code_of_three_letters() -> None:
    from modgate_asr.languages import THREE_LETTERS

    there = {pair.split(":")[1] for pair in THREE_LETTERS.split()}

    assert there | {"haw", "yue"} == set(CODES)


def test_a_model_that_does_not_translate_says_so(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        called(tmp_path, path=TRANSLATIONS, facts={"translates": False})
    assert caught.value.code == "unsupported_endpoint"
