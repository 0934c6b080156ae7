"""A recording whose words are marks in the audio: cut and joined, it must read as if never cut.

Source: wire.md 4.2, the invariants.  Word i is a stretch of constant level i; the synthetic engine
hears it only when all of it lies in the piece, and knows nothing of other pieces.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modgate.plugin import Call, Event, JsonObject, Sample
from modgate.testing import Played, Rig
from modgate_asr.decode import windows
from modgate_asr.modality import Asr

RATE = 16_000
LEVELS, LEAST, STEP = 30, 3000, 900
MARK_MS = 240
SMALL = {"window_s": 6.0, "least_window_s": 3.6, "overlap_s": 1.5, "width": 4}
UNCUT = {"window_s": 600.0}
PATH = "/v1/audio/transcriptions"
Engine = Callable[[Sequence[JsonObject]], JsonObject]


def recording(pauses_ms: Sequence[int], *, before_ms: int = 0) -> bytes:
    """A mark after each pause, in a WAV."""
    pieces = [np.zeros(before_ms * 16, dtype="<i2")]
    for number, pause_ms in enumerate(pauses_ms):
        pieces.append(np.zeros(pause_ms * 16, dtype="<i2"))
        pieces.append(np.full(MARK_MS * 16, LEAST + STEP * (number % LEVELS), dtype="<i2"))
    pieces.append(np.zeros(130 * 16, dtype="<i2"))
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(np.concatenate(pieces).tobytes())
    return out.getvalue()


def marks(call: Call) -> list[JsonObject]:
    """The words that lie whole in a call's audio, with their times in it."""
    [file] = [part for part in call.body.parts if part.name == "file"]
    assert not isinstance(file.content, bytes)
    sent = file.content
    data = np.frombuffer(sent.file.read(sent.start, sent.length)[44:], dtype="<i2")
    level = np.where(data > 0, np.round((data - LEAST) / STEP).astype(int) + 1, 0)
    edges = [0, *(np.flatnonzero(np.diff(level)) + 1).tolist(), len(level)]
    return [
        {"word": f"w{level[begin] - 1}", "start": begin / RATE, "end": end / RATE}
        for begin, end in pairwise(edges)
        if level[begin] and begin > 0 and end < len(level)
    ]


def timed(words: Sequence[JsonObject]) -> JsonObject:
    """An engine with times of words: a segment a word, so that segments compare, too."""
    return {**untimed(words), "words": list(words)}


def untimed(words: Sequence[JsonObject]) -> JsonObject:
    """An engine with times of segments only."""
    segments = [
        {"id": 7, "start": w["start"], "end": w["end"], "text": f" {w['word']}"} for w in words
    ]
    return {**plain(words), "segments": segments}


def plain(words: Sequence[JsonObject]) -> JsonObject:
    """An engine without times."""
    return {"text": " ".join(w["word"] for w in words), "language": "english"}


def played(
    folder: Path, data: bytes, engine: Engine, config: dict[str, float], **form: str
) -> Played:
    """The recording through the plugin."""
    sample = Sample(path=PATH, form={"model": "m", **form, "file": ("a.wav", data)})
    modality = Asr(Asr.config_type.model_validate(config))
    with Rig(modality, folder) as rig:

        def reply(index: int, call: Call) -> Iterator[Event]:
            del index
            yield Event(orjson.dumps(engine(marks(call))))

        return rig.drive(rig.plan(sample)).play(reply)


def verbose(folder: Path, data: bytes, engine: Engine, config: dict[str, float]) -> JsonObject:
    more = {"response_format": "verbose_json"}
    if engine is timed:
        more |= {"timestamp_granularities[]": "word", "timestamp_granularities[1]": "segment"}
    value: JsonObject = orjson.loads(played(folder, data, engine, config, **more).reply)
    return value


def events(reply: bytes) -> list[JsonObject]:
    lines = [line.removeprefix("data: ") for line in reply.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [orjson.loads(line) for line in lines[:-1]]


def told(value: JsonObject) -> JsonObject:
    """What must not depend on the cuts: all but where an engine's window began."""
    rows = [{k: v for k, v in row.items() if k != "seek"} for row in value["segments"]]
    return {**value, "segments": rows}


# Pauses of 130 ms leave no place to cut; those over 300 ms are one.
PAUSES = st.lists(
    st.sampled_from([130, 130, 130, 130, 130, 130, 130, 140, 400, 900]), min_size=40, max_size=60
)
_SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=6,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@_SETTINGS
@given(pauses=PAUSES)
def test_cut_and_joined_it_reads_as_if_never_cut(pauses: list[int], tmp_path: Path) -> None:
    data = recording(pauses)
    cut = verbose(tmp_path, data, timed, SMALL)

    assert told(cut) == told(verbose(tmp_path, data, timed, UNCUT))
    assert [row["id"] for row in cut["segments"]] == list(range(len(pauses)))
    assert len(cut["words"]) == len(pauses)


@pytest.mark.parametrize("engine", [untimed, plain])
def test_without_times_of_words_the_text_is_joined(engine: Engine, tmp_path: Path) -> None:
    data = recording([130] * 60)
    cut, uncut = (verbose(tmp_path, data, engine, config) for config in (SMALL, UNCUT))

    assert cut["text"] == uncut["text"]
    assert cut["duration"] == uncut["duration"]


@_SETTINGS
@given(pauses=PAUSES, before_ms=st.sampled_from([20, 400, 3000, 20_000]))
def test_silence_in_front_shifts_every_time(
    pauses: list[int], before_ms: int, tmp_path: Path
) -> None:
    there = verbose(tmp_path, recording(pauses), timed, SMALL)
    later = verbose(tmp_path, recording(pauses, before_ms=before_ms), timed, SMALL)

    for name in ("words", "segments"):
        for first, second in zip(there[name], later[name], strict=True):
            for end in ("start", "end"):
                assert round(second[end] * 1000) == round(first[end] * 1000) + before_ms
    assert round(later["duration"] * 1000) == round(there["duration"] * 1000) + before_ms


@_SETTINGS
@given(pauses=PAUSES, before_ms=st.sampled_from([0, 13_001]))
def test_a_stream_says_the_same_piece_by_piece(
    pauses: list[int], before_ms: int, tmp_path: Path
) -> None:
    data = recording(pauses, before_ms=before_ms)
    said = events(played(tmp_path, data, timed, SMALL, stream="true").reply)
    deltas = [event["delta"] for event in said[:-1]]

    assert {event["type"] for event in said[:-1]} == {"transcript.text.delta"}
    assert said[-1]["type"] == "transcript.text.done"
    assert "".join(deltas) == said[-1]["text"]
    assert said[-1]["text"] == verbose(tmp_path, data, timed, UNCUT)["text"]
    assert all(delta.strip() for delta in deltas)


@_SETTINGS
@given(pauses=PAUSES, before_ms=st.sampled_from([0, 13_001]))
def test_pieces_cover_all_samples_once_and_the_bill_is_their_sum(
    pauses: list[int], before_ms: int, tmp_path: Path
) -> None:
    data = recording(pauses, before_ms=before_ms)
    rule = {"longest_s": 6.0, "least_s": 3.6, "overlap_s": 1.5, "silence_ms": 300}
    found = list(windows(io.BytesIO(data), rule, 1000, lambda piece: len(piece)))
    total = (len(data) - 44) // 2
    result = played(tmp_path, data, timed, SMALL)

    assert found[0]["start"] == found[0]["fresh"] == 0
    assert found[-1]["end"] == found[-1]["next"] == total
    assert all(a["end"] == b["fresh"] and a["next"] == b["start"] for a, b in pairwise(found))
    assert all(each["file"] == 44 + 2 * (each["end"] - each["start"]) for each in found
               if "file" in each)  # fmt: skip  # rows as they are read
    assert result.usage.units == {"audio_ms": total // 16}
    assert result.usage.exact


def test_a_piece_of_which_words_are_heard_twice_is_never_streamed(tmp_path: Path) -> None:
    form = {"model": "m", "stream": "true", "file": ("a.wav", recording([130] * 40 + [900] * 6))}
    sample = Sample(path=PATH, form=form, facts={"streams": True})
    with Rig(Asr(Asr.config_type.model_validate(SMALL)), tmp_path) as rig:
        drawn = list(rig.calls(rig.plan(sample)))

    assert {call.reply for call in drawn} == {"whole", "sse"}
    for call in drawn:
        names = [part.name for part in call.body.parts]
        assert ("stream" in names) == (call.reply == "sse")
        assert ("timestamp_granularities[]" in names) == (call.reply == "whole")


def test_the_bill_of_a_cut_request_is_the_audio_up_to_the_cut(tmp_path: Path) -> None:
    data = recording([130] * 60)
    usages = played(tmp_path, data, timed, SMALL).usages
    rule = {"longest_s": 6.0, "least_s": 3.6, "overlap_s": 1.5, "silence_ms": 300}
    ends = [each["end"] for each in windows(io.BytesIO(data), rule, 1000, lambda piece: 0)]

    assert [usage.units.get("audio_ms", 0) for usage in usages[:-1]] == [end // 16 for end in ends]
    assert not any(usage.exact for usage in usages[:-1])


def test_silence_asks_no_engine_and_is_billed(tmp_path: Path) -> None:
    data = recording([], before_ms=40_000)
    result = played(tmp_path, data, timed, SMALL, response_format="verbose_json")
    value = orjson.loads(result.reply)

    assert result.calls == []
    assert (value["text"], value["segments"], value["duration"]) == ("", [], 40.13)
    assert result.usage.units == {"audio_ms": 40_130}
    assert result.usage.exact


def test_silence_within_is_left_out_of_the_calls_only(tmp_path: Path) -> None:
    data = recording([130] * 8 + [20_000] + [130] * 8)
    result = played(tmp_path, data, timed, SMALL)
    sent = sum(call.size.get("audio_ms", 0) for call in result.calls)

    assert result.usage.units == {"audio_ms": (len(data) - 44) // 32}
    assert sent < result.usage.units["audio_ms"] - 10_000
    assert orjson.loads(result.reply)["text"].split() == [f"w{i}" for i in range(17)]
