"""Files of chunks whose header says less than they hold: nothing is left out in silence."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest

from modgate_asr.riff import Extent, extent_of
from modgate_asr.sound import RATE, Refused, blocks, probe

SECOND = 2 * RATE  # bytes
TONE = (np.sin(np.arange(2 * RATE) / 8) * 9000).astype("<i2").tobytes()
NOISE = bytes(range(1, 256)) * 8


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def wav(pcm: bytes, *, said: int | None = None, behind: bytes = b"", before: bytes = b"") -> bytes:
    """A WAV of 16 kHz; `said`: the length in its header; `before`, `behind`: its sound."""
    said = len(pcm) if said is None else said
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)) + before
    size = struct.pack("<I", 4 + len(form) + 8 + said)
    return b"RIFF" + size + b"WAVE" + form + b"data" + struct.pack("<I", said) + pcm + behind


LIST = chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"Lavf60.16.100"))
NAMED = b"iXML" + struct.pack("<I", len(NOISE) - 1)  # whose length is odd, and not padded
BROADCAST = chunk(b"bext", NOISE) + chunk(b"iXML", NOISE[:-1])


@pytest.mark.parametrize("said", [SECOND, 2 * RATE - 1, 2], ids=["half", "odd", "one sample"])
@pytest.mark.parametrize("behind", [b"", LIST], ids=["", "comment"])
def test_one_that_would_not_be_heard_to_its_end_is_refused(said: int, behind: bytes) -> None:
    pytest.importorskip("soundfile")  # of modgate[audio]
    with pytest.raises(Refused, match="before the end of the file") as caught:
        probe(io.BytesIO(wav(TONE, said=said, behind=behind)), 60)

    assert (caught.value.code, caught.value.field) == ("invalid_audio", "file")


def test_sound_in_a_second_chunk_is_not_passed_over() -> None:
    pytest.importorskip("soundfile")  # of modgate[audio]
    with pytest.raises(Refused, match="before the end of the file"):
        probe(io.BytesIO(wav(TONE, behind=chunk(b"data", TONE))), 60)


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        LIST,
        BROADCAST + BROADCAST + LIST,
        LIST[:-9],
        BROADCAST[:-900],
        NAMED + NOISE[:-1] + LIST + BROADCAST,
        bytes(5000),
        b"TAG" + NOISE,
        b"ID3" + NOISE,
        LIST + b"APETAGEX" + NOISE,
        NOISE[:500],
    ],
    ids=[
        "nothing",
        "comment",
        "many",
        "torn",
        "long torn",
        "unpadded",
        "zeros",
        "v1",
        "v2",
        "ape",
        "stray",
    ],
)
def test_what_is_no_sound_may_follow(behind: bytes) -> None:
    pytest.importorskip("soundfile")  # of modgate[audio]
    file = io.BytesIO(wav(TONE, behind=behind, before=chunk(b"JUNK", b"data" * 9 + b"!")))

    assert probe(file, 60)["milliseconds"] == 2000
    assert sum(map(len, blocks(file))) == 2 * RATE


@pytest.mark.parametrize("pad", [b"", b"\0"], ids=["missing", "there"])
def test_a_chunk_is_found_also_where_the_byte_before_it_is_missing(pad: bytes) -> None:
    file = io.BytesIO(wav(TONE[:-1], behind=pad + BROADCAST))

    assert extent_of(file) == Extent(sound=len(TONE) - 1)


def test_rf64_and_aiff_say_how_much_is_sound_at_places_of_their_own() -> None:
    form = chunk(b"ds64", struct.pack("<QQQI", 0, SECOND, 0, 0)) + LIST
    rf64 = b"RF64" + b"\xff" * 4 + b"WAVE" + form + b"data" + b"\xff" * 4 + TONE
    head = b"SSND" + struct.pack(">IQ", SECOND + 8, 0)
    aiff = b"FORM" + struct.pack(">I", len(TONE) + 20) + b"AIFF" + head + TONE
    half = Extent(sound=SECOND, left_out=len(TONE) - SECOND)

    assert [extent_of(io.BytesIO(file)) for file in (rf64, aiff)] == [half, half]


@pytest.mark.parametrize("said", [0, 0xFFFFFF00, 0xFFFFFFFF])
def test_a_length_that_was_not_known_is_all_that_follows(said: int) -> None:
    data = bytearray(wav(TONE))
    data[40:44] = struct.pack("<I", said)

    assert extent_of(io.BytesIO(bytes(data))) == Extent(sound=len(TONE))


def test_silence_is_sound_where_the_length_was_not_known() -> None:
    data = wav(bytes(len(TONE)), said=0)

    assert extent_of(io.BytesIO(data)) == Extent(sound=len(TONE))


@pytest.mark.parametrize("behind", [b"", LIST], ids=["", "comment"])
@pytest.mark.parametrize("said", [0, 1000], ids=["none", "cut"])
def test_one_without_sound_holds_none_whatever_is_installed(
    monkeypatch: pytest.MonkeyPatch, behind: bytes, said: int
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    data = wav(b"", said=said, behind=behind if not said else b"")
    with pytest.raises(Refused, match="holds no audio") as caught:
        probe(io.BytesIO(data), 60)

    assert caught.value.code == "invalid_audio"


def aiff(pcm: bytes, *, said: int, behind: bytes = b"", kind: bytes = b"AIFF") -> bytes:
    """`said`: the length in the chunk of the sound, before which eight bytes stand."""
    rate = b"\x40\x0c\xfa" + bytes(7)
    common = struct.pack(">hIh", 1, len(pcm) // 2, 16) + rate
    common += b"NONE\0\0" if kind == b"AIFC" else b""
    form = b"COMM" + struct.pack(">I", len(common)) + common
    data = form + b"SSND" + struct.pack(">I", said) + bytes(8) + pcm + behind
    return b"FORM" + struct.pack(">I", 4 + len(data)) + kind + data


def rf64(pcm: bytes, *, said: int, field: int = 0xFFFFFFFF, behind: bytes = b"") -> bytes:
    """`said`: the length of the sound in the chunk of long ones; `field`: in its own."""
    whole = bytearray(wav(pcm, behind=behind))
    whole[40:44] = struct.pack("<I", field)
    sizes = chunk(b"ds64", struct.pack("<QQQI", len(whole) + 28, said, len(pcm) // 2, 0))
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + bytes(whole[12:])


TAG = b"NAME" + struct.pack(">I", 4) + b"tone"
CUT = {
    "aiff": aiff(TONE, said=SECOND + 8),
    "aifc": aiff(TONE, said=SECOND + 8, kind=b"AIFC", behind=TAG),
    "rf64": rf64(TONE, said=SECOND),
    "rf64 that says it twice": rf64(TONE, said=SECOND, field=len(TONE), behind=LIST),
}
WHOLE = {
    "aiff": aiff(TONE, said=len(TONE) + 8),
    "aifc": aiff(TONE, said=len(TONE) + 8, kind=b"AIFC"),
    "aiff with a tag": aiff(TONE, said=len(TONE) + 8, behind=TAG),
    "aiff of no known length": aiff(TONE, said=0),
    "rf64": rf64(TONE, said=len(TONE)),
    "rf64 that says it twice": rf64(TONE, said=len(TONE), field=SECOND),
    "rf64 with a comment": rf64(TONE, said=len(TONE), behind=LIST),
    "rf64 that goes on": rf64(TONE, said=1 << 40),
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_no_file_of_chunks_is_cut_in_silence(data: bytes) -> None:
    with pytest.raises(Refused, match="before the end of the file"):
        probe(io.BytesIO(data), 60)


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_one_that_is_heard_to_its_end_is_heard(data: bytes) -> None:
    pytest.importorskip("soundfile")  # of modgate[audio]

    assert probe(io.BytesIO(data), 60)["milliseconds"] == 2000
    assert sum(map(len, blocks(io.BytesIO(data)))) == 2 * RATE


@pytest.mark.parametrize("left", range(4))
def test_one_that_is_cut_inside_the_length_of_its_sound_holds_none(left: int) -> None:
    data = wav(b"", said=4)[: left - 4]

    with pytest.raises(Refused, match="holds no audio"):
        probe(io.BytesIO(data), 60)


@pytest.mark.parametrize("data", [b"", b"RIFF", wav(TONE)[:36], b"RIFF\0\0\0\0WAVE", b"OggS" * 9])
def test_what_is_no_wav_or_ends_before_its_sound_is_left_to_the_decoders(data: bytes) -> None:
    assert extent_of(io.BytesIO(data)) is None


def test_a_file_of_many_empty_chunks_is_not_followed_to_its_end() -> None:
    tiny = chunk(b"JUNK", b"") * 20_000

    assert extent_of(io.BytesIO(wav(TONE, before=tiny))) is None
    assert extent_of(io.BytesIO(wav(TONE, behind=tiny))) == Extent(sound=len(TONE), left_out=80_000)
