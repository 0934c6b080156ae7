from __future__ import annotations

import gc
import io
import math
from array import array

import av
import pytest
import soundfile

from modgate_tts.encode import CONTENT_TYPES, encoder
from modgate_tts.wav import RATE, wav_header

SECONDS = 3
PCM = array(
    "h", (round(8000 * math.sin(at * 0.05) * math.sin(at * 0.0007)) for at in range(RATE * SECONDS))
).tobytes()
STEP = 4_800  # a tenth of a second
# Source: wire.md B3.
STREAMING = bytes.fromhex(
    "52494646FFFFFFFF57415645666d7420100000000100 0100C05D000080BB0000 0200100064617461DBFFFFFF"
)


def encoded(name: str) -> list[bytes]:
    made = encoder(name)
    out = [made.encode(PCM[at : at + STEP]) for at in range(0, len(PCM), STEP)]
    return [*out, made.finish()]


def seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


@pytest.mark.parametrize("name", sorted(CONTENT_TYPES.keys() - {"pcm"}))
def test_speech_in_each_format_is_as_long_as_its_samples(name: str) -> None:
    assert seconds(b"".join(encoded(name))) == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_the_first_bytes_leave_before_half_a_second_went_in(name: str) -> None:
    out = encoded(name)

    assert sum(map(len, out[:4])) > 300
    assert sum(map(len, out[: len(out) // 2])) > sum(map(len, out)) / 3


@pytest.mark.parametrize("name", sorted(CONTENT_TYPES.keys() - {"flac"}))
def test_a_tenth_of_a_second_is_enough_for_the_first_bytes(name: str) -> None:
    assert encoded(name)[0]


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_a_speech_that_is_left_leaves_nothing_to_the_collector(name: str) -> None:
    encoded(name)
    gc.collect()
    gc.disable()
    encoder(name).encode(PCM)
    left = gc.collect()
    gc.enable()

    assert left == 0


def test_pcm_and_the_samples_of_flac_and_wav_are_what_went_in() -> None:
    assert b"".join(encoded("pcm")) == PCM
    assert b"".join(encoded("wav"))[44:] == PCM
    with av.open(io.BytesIO(b"".join(encoded("flac")))) as file:
        frames = [frame.to_ndarray().tobytes() for frame in file.decode(audio=0)]
    assert b"".join(frames) == PCM


def test_the_header_of_a_wav_of_unknown_length() -> None:
    assert wav_header() == STREAMING


@pytest.mark.parametrize("name", ["flac", "wav"])
def test_a_speech_of_known_length_says_it(name: str) -> None:
    made = encoder(name)
    made.promise(len(PCM))
    samples, rate = soundfile.read(io.BytesIO(made.encode(PCM) + made.finish()), dtype="int16")

    assert rate == RATE
    assert samples.tobytes() == PCM


def test_mp3_is_frames_from_its_first_byte() -> None:
    """No tag in front, whose length and counts would be those of a speech that had not begun."""
    data = b"".join(encoded("mp3"))

    assert data[:2] in (b"\xff\xf3", b"\xff\xf2")
    assert not any(tag in data for tag in (b"ID3", b"Xing", b"Info"))
