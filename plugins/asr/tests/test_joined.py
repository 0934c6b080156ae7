"""Several recordings in one file, as `cat` joins them: all of them are heard."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

from modgate_asr.joined import is_joined
from modgate_asr.sections import sections
from modgate_asr.sound import RATE, Refused, blocks, probe

ID3 = b"ID3\4\0\0\0\0\2\0" + bytes(256)
ID3V1 = b"TAG" + bytes(125)


def recording(form: str, seconds: float, rate: int = RATE) -> bytes:
    soundfile = pytest.importorskip("soundfile")  # of modgate[audio]
    out = io.BytesIO()
    tone = np.sin(np.arange(int(seconds * rate)) / 8) * 0.4
    soundfile.write(out, tone, rate, format=form, subtype="OPUS" if rate == 48_000 else None)
    return out.getvalue()


def lasts_s(data: bytes) -> float:
    return sum(map(len, blocks(io.BytesIO(data)))) / RATE


@pytest.mark.parametrize("between", [b"", ID3V1, ID3, ID3V1 + ID3], ids=["", "v1", "v2", "both"])
def test_joined_mp3_files_are_heard_to_the_end_of_the_last(between: bytes) -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    data = ID3 + recording("MP3", 2) + between + recording("MP3", 5)

    assert lasts_s(data) == pytest.approx(7, abs=0.2)  # an encoder's own padding at the joint
    assert probe(io.BytesIO(data), 60)["milliseconds"] == pytest.approx(7000, abs=300)


def pitches(data: bytes, *, at_s: int) -> tuple[float, float]:
    """The frequency before and behind this second, in Hz."""
    heard = np.concatenate([*blocks(io.BytesIO(data))])
    sides = np.split(heard, [at_s * RATE])
    peaks = [np.abs(np.fft.rfft(side)).argmax() * RATE / len(side) for side in sides]
    return peaks[0], peaks[1]


@pytest.mark.parametrize("form", ["FLAC", "WAV"])
@pytest.mark.parametrize("between", [b"", ID3], ids=["", "tag"])
def test_joined_files_of_other_rates_are_heard_one_by_one(form: str, between: bytes) -> None:
    tag = between if form == "FLAC" else b""  # a WAV has its tags inside
    data = tag + recording(form, 2) + tag + recording(form, 1, 44_100) + tag + recording(form, 1)

    assert lasts_s(data) == 4
    assert probe(io.BytesIO(data), 60)["milliseconds"] == 4000
    tone = RATE / 8 / math.tau
    assert pitches(data[: -len(recording(form, 1))], at_s=2) == pytest.approx(
        (tone, tone * 44_100 / RATE), abs=2
    )


def test_a_flac_of_open_length_that_others_follow_is_heard() -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    streamed = bytearray(recording("FLAC", 2))
    streamed[21:26] = bytes([streamed[21] & 0xF0]) + bytes(4)  # its number of samples
    data = bytes(streamed) + recording("FLAC", 1)

    assert lasts_s(data) == 3


def test_a_flac_in_the_metadata_of_a_flac_is_no_sound() -> None:
    data = recording("FLAC", 2)
    blocks_end = data.index(b"fLaC") + 4 + 4 + 34
    hidden = recording("FLAC", 1)
    padded = data[:4] + bytes([data[4] & 0x7F]) + data[5:blocks_end]
    whole = padded + b"\x02" + len(hidden).to_bytes(3) + hidden + data[blocks_end:]

    assert lasts_s(whole) == 2


def test_a_joined_file_whose_second_part_is_damaged_is_refused_and_not_half_heard() -> None:
    data = recording("FLAC", 2) + recording("FLAC", 2)[:3000]
    with pytest.raises(Exception, match="could not be decoded"):
        lasts_s(data)


@pytest.mark.parametrize("rate", [RATE, 48_000], ids=["vorbis", "opus"])
def test_a_chain_of_ogg_streams_is_heard_to_the_end_of_the_last(rate: int) -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    data = recording("OGG", 5, rate) + recording("OGG", 2, rate)

    assert lasts_s(data) == pytest.approx(7, abs=0.1)
    assert probe(io.BytesIO(data), 60)["milliseconds"] == pytest.approx(7000, abs=100)


def test_the_same_ogg_file_twice_does_not_last_for_days() -> None:
    pytest.importorskip("av")  # of modgate[codecs]
    data = 2 * recording("OGG", 2)

    assert lasts_s(data) == pytest.approx(4, abs=0.1)
    assert probe(io.BytesIO(data), 60)


def test_joined_files_that_are_too_long_together_are_refused() -> None:
    pytest.importorskip("av")  # of modgate[codecs]

    with pytest.raises(Exception, match="longer than 6 seconds"):
        probe(io.BytesIO(recording("MP3", 4) + recording("MP3", 4)), 6)


def test_an_mp3_that_leaves_a_frame_out_of_its_count_is_not_joined() -> None:
    data = bytearray(recording("MP3", 2))
    at, last = data.index(b"Xing") + 12, data.rindex(data[:2])
    assert int.from_bytes(data[at : at + 4]) == len(data)
    data[at : at + 4] = last.to_bytes(4)

    assert not is_joined(io.BytesIO(bytes(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"OggS",
        b"OggS\0\2" + bytes(20) + b"\xff",
        b"ID3\4\0\0\x7f\x7f\x7f\x7f",
        b"\xff\xf3Xing",
        b"\xff\xfb\x90\0" + bytes(32) + b"Xing\0\0\0\3" + b"\xff" * 8,
    ],
)
def test_what_is_cut_is_not_joined(data: bytes) -> None:
    assert not is_joined(io.BytesIO(data))


@pytest.mark.parametrize("tail", [b"", ID3V1, b"APETAGEX" + bytes(900), b"LYRICSBEGIN" + ID3V1])
def test_one_file_and_its_tags_are_not_joined(tail: bytes) -> None:
    for form in ("MP3", "OGG", "FLAC", "WAV"):
        data = recording(form, 2) + tail
        assert not is_joined(io.BytesIO(data)), form
    assert lasts_s(ID3 + recording("MP3", 2) + tail) == 2


def test_parts_of_a_millisecond_are_added_up_before_they_are_rounded() -> None:
    data = recording("WAV", 0.0125 / 100) * 100

    assert probe(io.BytesIO(data), 60)["milliseconds"] == math.ceil(lasts_s(data) * 1000) == 13


class Watched(io.BytesIO):
    """A file that counts how often it is read, and how many bytes."""

    reads = bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        self.reads += 1
        self.bytes_read += len(block)
        return block


def test_a_file_of_many_short_streams_is_read_a_few_times_and_not_once_for_each() -> None:
    stream = b"fLaC\x80\0\0\x22" + bytes(34) + bytes(9000)
    file = Watched(stream * 500)

    assert len([*sections(file)]) == 500
    assert file.bytes_read < 4 * len(stream) * 500


def test_metadata_without_an_end_is_not_followed_to_the_end_of_a_file() -> None:
    file = Watched(b"fLaC\0\0\0\x22" + bytes(34) + bytes(1 << 20))

    assert len([*sections(file)]) == 1
    assert file.reads < 11_000


@pytest.mark.parametrize(
    "least", [b"RIFF\4\0\0\0WAVE", b"fLaC\x80\0\0\x22" + bytes(34)], ids=["wav", "flac"]
)
def test_a_file_of_more_recordings_than_anybody_makes_is_refused(least: bytes) -> None:
    with pytest.raises(Refused, match="more than 10000 recordings"):
        probe(io.BytesIO(least * 10_001), 60)
