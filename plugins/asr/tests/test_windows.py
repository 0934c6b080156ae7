from __future__ import annotations

import io
import wave
from itertools import pairwise

import numpy as np
import pytest

from modgate.plugin import Fields
from modgate_asr.decode import RATE, Refused, probe, windows
from modgate_asr.transcript import Segment, Transcript, srt, vtt, without_overlap


def recording(seconds: float, *, silent_at: tuple[float, ...] = (), rate: int = RATE) -> io.BytesIO:
    """Syllables of noise, ten a second, with half a second of silence at some places."""
    samples = np.random.default_rng(1).normal(0, 0.2, int(seconds * rate))
    samples *= 0.02 + np.sin(np.arange(len(samples)) * 2 * np.pi * 5 / rate) ** 2
    for at in silent_at:
        samples[int(at * rate) : int((at + 0.5) * rate)] = 0
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())
    out.seek(0)
    return out


def cut(file: io.BytesIO, whole_s: float = 1000) -> list[dict[str, int]]:
    written: list[bytes] = []
    return list(windows(file, 30.0, 18.0, 2.0, whole_s, written.append))


def test_pieces_cover_the_recording_without_a_gap() -> None:
    found = cut(recording(100, silent_at=(25, 50, 75)))

    assert found[0]["fresh"] == 0
    assert found[-1]["end"] == 100 * RATE
    assert all(a["end"] == b["fresh"] for a, b in pairwise(found))


def test_a_cut_lies_in_silence_where_there_is_some() -> None:
    found = cut(recording(40, silent_at=(24,)))

    assert 24.0 <= found[0]["end"] / RATE <= 24.5
    assert found[1]["start"] == found[1]["fresh"]


def test_without_silence_pieces_overlap_and_overlap_is_not_fresh() -> None:
    found = cut(recording(45))

    assert found[0]["end"] == 30 * RATE
    assert found[1]["start"] == 28 * RATE
    assert found[1]["fresh"] == 30 * RATE


def test_another_rate_keeps_its_length() -> None:
    [piece] = cut(recording(3, rate=44_100))

    assert abs(piece["end"] - 3 * RATE) <= 2


def test_a_recording_longer_than_allowed_is_refused_however_it_says() -> None:
    with pytest.raises(Refused):
        cut(recording(5), whole_s=2)
    with pytest.raises(Refused):
        probe(recording(5), 2)


def test_text_named_wav_is_refused() -> None:
    with pytest.raises(Refused):
        probe(io.BytesIO(b"this is no audio at all, only text"), 100)


def test_words_of_an_overlap_are_said_once() -> None:
    assert without_overlap("the quick brown fox", "brown fox jumps") == "jumps"
    assert without_overlap("the quick brown fox", "jumps over") == "jumps over"


def test_subtitles_are_written_as_players_want_them() -> None:
    rows = [Segment(start_ms=3_661_062, end_ms=3_662_000, text=" Hello")]

    assert srt(rows) == "1\n01:01:01,062 --> 01:01:02,000\nHello\n\n"
    assert vtt(rows) == "WEBVTT\n\n01:01:01.062 --> 01:01:02.000\nHello\n\n"


def test_no_time_lies_beyond_the_end_of_the_recording() -> None:
    transcript = Transcript()
    said = {"text": "hi", "segments": [{"start": 0.5, "end": 13.9, "text": " hi"}]}

    transcript.add(Fields(said), start=0, fresh=0, end=6 * RATE)

    assert transcript.segments[0].end_ms == 6000
