"""The contract of modgate, and what it cannot know: three voices are found, and paid for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from voices import RATE, meeting, wav

from acme_diarize.cluster import distances, linked, speakers
from acme_diarize.decode import speech, windows
from acme_diarize.engine import VoicePrint, pcm
from acme_diarize.modality import PATH, Config, Diarize, embeddings
from acme_diarize.turns import turns
from acme_diarize.voice import embedding
from modgate.plugin import Ask, BadReply, Event, Json, Need, Refused, Sample, Units
from modgate.testing import Contract, Rig

TURNS = [(0, 3.2), (1, 2.6), (0, 2.1), (2, 3.0), (1, 2.2), (2, 2.4), (0, 2.7)]
FACTS = dict(VoicePrint.facts)


class TestDiarize(Contract):
    modality = Diarize
    examples = 40


def embedded(need: Ask) -> Iterator[Event]:
    """What the local engine answers, without its socket."""
    for call in need.calls:
        vectors = []
        for part in call.body.parts:
            assert not isinstance(part.content, bytes)
            content = part.content
            data = content.prefix + content.file.read(content.start, content.length)
            samples = np.frombuffer(pcm(data), "<i2").astype(np.float32) / 32768
            vectors.append(embedding(samples))
        yield Event(json.dumps({"embeddings": vectors}).encode())


def diarized(audio: bytes, tmp_path: Path, **form: str) -> tuple[Json, Units, list[int]]:
    """A recording's reply, its bill, and how many windows each call to an engine carried."""
    sample = Sample(path=PATH, form={"model": "m", "file": ("talk.wav", audio), **form})
    asked: list[int] = []
    with Rig(Diarize(Config()), tmp_path, facts=FACTS) as rig:

        def answer(step: int, need: Need) -> Json:
            if not isinstance(need, Ask):
                return rig.inline.work(need)
            asked.extend(call.size["windows"] for call in need.calls)
            return list(embedded(need))

        plan = rig.shape(rig.request(sample), answer)
        played = rig.drive(plan).play(lambda index, call: [])
    return json.loads(played.reply), played.usage.units, asked


def wrong(segments: Json, pause_s: float) -> float:
    """The share of speech that is given to nobody, or to another than who spoke."""
    truth = np.full(int(60 * RATE), -1)
    at = 0
    for who, length_s in TURNS:
        truth[at : at + int(length_s * RATE)] = who
        at += int((length_s + pause_s) * RATE)
    names = sorted({segment["speaker"] for segment in segments})
    got = np.full(len(truth), -1)
    for segment in segments:
        start, end = (int(segment[key] * RATE) for key in ("start", "end"))
        got[start:end] = names.index(segment["speaker"])
    spoken = truth >= 0
    return min(
        float(np.mean(np.asarray([*order, -1])[got[spoken]] != truth[spoken]))
        for order in permutations(range(len(names)))
    )


@pytest.mark.parametrize(("pause_s", "at_most"), [(0.4, 0.02), (0.0, 0.08)])
def test_three_speakers_are_found_where_they_speak(
    pause_s: float, at_most: float, tmp_path: Path
) -> None:
    reply, units, asked = diarized(wav(meeting(TURNS, pause_s, seed=0)), tmp_path)

    assert reply["speakers"] == ["speaker_1", "speaker_2", "speaker_3"]
    assert wrong(reply["segments"], pause_s) <= at_most
    assert units == Units(audio_ms=math.ceil(reply["duration"] * 1000))
    assert sum(asked) > 20
    assert max(asked) <= 16


def test_one_speaker_is_one(tmp_path: Path) -> None:
    reply, _, _ = diarized(wav(meeting([(1, 4.0), (1, 3.0)], 0.3, seed=1)), tmp_path)

    assert reply["speakers"] == ["speaker_1"]


def test_as_many_are_found_as_the_client_says_there_are(tmp_path: Path) -> None:
    audio = wav(meeting(TURNS, 0.4, seed=2))
    reply, _, _ = diarized(audio, tmp_path, num_speakers="2")

    assert len(reply["speakers"]) == 2


def test_silence_asks_no_engine(tmp_path: Path) -> None:
    reply, units, asked = diarized(wav(np.zeros(RATE)), tmp_path)

    assert (reply["segments"], asked, units) == ([], [], Units(audio_ms=1000))


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        diarized(b"not audio", tmp_path)

    assert (refused.value.field, refused.value.code) == ("file", "invalid_audio")


def test_the_chain_of_neighbours_merges_as_the_plain_algorithm_does() -> None:
    points = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    groups = [[index] for index in range(len(points))]
    between = distances(points, "euclidean")
    plain = []
    while len(groups) > 1:
        near, one, other = min(
            (float(np.mean([between[a, b] for a in left for b in right])), i, j)
            for i, left in enumerate(groups)
            for j, right in enumerate(groups[:i])
        )
        plain.append(near)
        groups[other] += groups.pop(one)

    chained = sorted(distance for distance, _, _ in linked(between.copy()))
    assert chained == pytest.approx(sorted(plain), rel=1e-4)


def test_voices_are_numbered_as_they_are_first_heard_and_slips_go_to_the_nearest() -> None:
    vectors = [[9.0], [9.1], [9.2], [0.0], [0.1], [0.2], [7.0], [9.1]]

    assert speakers(vectors, "euclidean", 1.0, None, 20) == [0, 0, 0, 1, 1, 1, 0, 0]
    assert speakers(vectors, "euclidean", 1.0, None, 1) == [0] * 8


def test_a_turn_changes_hands_half_way_between_two_windows() -> None:
    region = [(0, 100), (50, 150), (100, 200)]
    found = turns([region, [(230, 260)]], [0, 1, 1, 1], join=50)

    assert [(turn.start, turn.end, turn.speaker) for turn in found] == [(0, 75, 0), (75, 260, 1)]


def test_windows_cover_a_stretch_of_speech_to_its_end() -> None:
    assert list(windows(0, 100, 40, 25)) == [(0, 40), (25, 65), (50, 90), (60, 100)]
    assert list(windows(10, 30, 40, 25)) == [(10, 30)]


def test_speech_is_what_stands_out() -> None:
    loud = meeting([(0, 2.0)], 1.0, seed=4).astype(np.float32)
    [(start, end)] = speech(loud)

    assert start / RATE == pytest.approx(0, abs=0.1)
    assert end / RATE == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "said",
    [
        b"[]",
        b'{"embeddings":[[1]]}',
        b'{"embeddings":[[1],[1,2]]}',
        b'{"embeddings":[1,2]}',
        b'{"embeddings":[["x"],["y"]]}',
        b'{"embeddings":[[],[]]}',
    ],
)
def test_embeddings_that_do_not_fit_are_the_engines_fault(said: bytes) -> None:
    with pytest.raises(BadReply):
        embeddings([Event(said)], 2)


def test_a_window_of_a_call_is_billed_once_it_was_embedded(tmp_path: Path) -> None:
    modality = Diarize(Config())
    with Rig(modality, tmp_path) as rig:
        call = modality._calls(rig.file(bytes(96_000)), [(0, 24_000), (8_000, 32_000)])[0]
        usage = modality.count(call, Event(b"{}"))

    assert (usage.units, usage.exact, usage.by) == (Units(windows=2), True, "gateway")
