from __future__ import annotations

import base64
import io
import wave
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from modgate_asr.decode import windows
from modgate_asr.sound import RATE, Refused, probe, probe_references

RULE = {"longest_s": 30.0, "least_s": 18.0, "overlap_s": 2.0, "silence_ms": 300}


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
    return list(windows(file, RULE, whole_s, written.append))


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


def test_a_recording_without_a_sample_is_refused_and_one_of_a_few_is_heard() -> None:
    with pytest.raises(Refused, match="holds no audio"):
        cut(recording(0))

    [piece] = cut(recording(0.015))
    assert piece["end"] == 240
    assert "file" in piece


def test_a_piece_is_a_wav_of_16_bits_in_which_what_was_too_loud_is_as_loud_as_can_be() -> None:
    given, plain, written = io.BytesIO(), io.BytesIO(), list[bytes]()
    soundfile.write(given, np.repeat([1.5, -1.5], 800), RATE, "FLOAT", format="WAV")
    given.seek(0)
    with wave.open(plain, "wb") as sound:
        sound.setparams((1, 2, RATE, 1600, "NONE", "not compressed"))
        sound.writeframes(np.repeat([32767, -32767], 800).astype("<i2").tobytes())
    list(windows(given, RULE, 1000, written.append))

    assert written == [plain.getvalue()]


@pytest.mark.parametrize(
    ("seconds", "torn", "good"),
    [(1.9, "", False), (2, "", True), (10, "", True), (10.1, "", False), (2, "!", False)],
)
def test_a_speakers_reference_has_two_to_ten_seconds_of_sound(
    seconds: float, torn: str, good: bool
) -> None:
    def url(data: bytes) -> str:
        return f"data:audio/wav;base64,{torn}{base64.b64encode(data).decode()}"

    given = url(recording(seconds, rate=1000).getvalue())
    if good:
        assert probe_references([given, given]) == {}
        given = url(b"no sound")
    with pytest.raises(Refused, match="2 to 10 seconds") as caught:
        probe_references([given])

    assert caught.value.field == "known_speaker_references[0]"


def test_text_named_wav_is_refused() -> None:
    with pytest.raises(Refused):
        probe(io.BytesIO(b"this is no audio at all, only text"), 100)
