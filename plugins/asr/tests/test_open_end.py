"""FLAC and WAV streams whose header leaves the length open: what is written into a pipe."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from modgate_asr.decode import windows
from modgate_asr.sound import probe

RATE = 24_000
RULE = {"longest_s": 30, "least_s": 18, "overlap_s": 2, "silence_ms": 300}
TOTAL_SAMPLES = 21  # the byte of the header in whose low half the 36 bits of the length begin


@pytest.fixture
def recording() -> io.BytesIO:
    """Two seconds of a tone."""
    soundfile = pytest.importorskip("soundfile")  # of modgate[audio]
    out = io.BytesIO()
    tone = (np.sin(np.arange(2 * RATE) / 20) * 9000).astype("<i2")
    soundfile.write(out, tone, RATE, format="FLAC", subtype="PCM_16")
    data = bytearray(out.getvalue())
    data[TOTAL_SAMPLES] &= 0xF0
    data[TOTAL_SAMPLES + 1 : TOTAL_SAMPLES + 5] = bytes(4)
    return io.BytesIO(bytes(data))


def test_its_length_is_that_of_its_packets(recording: io.BytesIO) -> None:
    pytest.importorskip("av")  # of modgate[codecs]

    assert probe(recording, 60)["milliseconds"] == pytest.approx(2000, abs=1)


def test_a_long_one_is_still_refused(recording: io.BytesIO) -> None:
    pytest.importorskip("av")  # of modgate[codecs]

    with pytest.raises(Exception, match="longer than 1 seconds"):
        probe(recording, 1)


def test_all_of_it_is_decoded(recording: io.BytesIO) -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    pieces: list[bytes] = []
    found = list(windows(recording, RULE, 60, pieces.append))
    with wave.open(io.BytesIO(pieces[0])) as sound:
        frames = sound.getnframes()

    assert len(found) == 1
    assert found[0]["end"] == frames == pytest.approx(2 * 16_000, abs=50)


@pytest.fixture
def streamed() -> io.BytesIO:
    """Two seconds of a WAV whose header says that there are none, and sound behind it."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(b"")
    out.write((np.sin(np.arange(2 * RATE) / 20) * 9000).astype("<i2").tobytes())
    return out


def test_a_wav_whose_header_was_written_first_is_as_long_as_what_follows(
    streamed: io.BytesIO,
) -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    pieces: list[bytes] = []

    assert probe(streamed, 60)["milliseconds"] == 2000
    [found] = windows(streamed, RULE, 60, pieces.append)

    assert found["end"] == 2 * 16_000
    assert len(pieces[0]) > 2 * 2 * 16_000


def test_a_wav_with_nothing_behind_its_header_is_refused(streamed: io.BytesIO) -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    streamed.truncate(44)

    with pytest.raises(Exception, match="holds no audio"):
        probe(streamed, 60)
