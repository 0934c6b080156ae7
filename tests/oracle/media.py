"""Small true media made by hand: PNG, PDF, WAV and PCM, and the readers that the engine needs.

A tag and the number of a page travel in the size of the page, because a size outlives decoding,
rendering and encoding again: sides step by 4 pixels, so being off by one changes nothing.  The
number of a stretch of audio travels in its loudness.
"""

from __future__ import annotations

import io
import struct
import wave
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from oracle.words import ASR_RATE, PARTS, PCM_BYTES_MS, TAGS, TTS_RATE

SIDE_LEAST, SIDE_STEP, SIDES = 64, 4, 128
PDF_DPI = 200
PAUSE_EVERY_MS, PAUSE_MS = 20_000, 800
LEVEL_LEAST, LEVEL_STEP, LEVELS = 4_000, 800, 30
RAMP = 1 << 15


def page_size(tag: int, page: int = 0) -> tuple[int, int]:
    """Width and height in pixels that carry a tag and the number of a page."""
    across, down = divmod(tag % TAGS * PARTS + page % PARTS, SIDES)
    return SIDE_LEAST + SIDE_STEP * across, SIDE_LEAST + SIDE_STEP * down


def page_of(width: int, height: int) -> tuple[int, int] | None:
    """The tag and the page that a size carries, or None if it carries none."""
    across = round((width - SIDE_LEAST) / SIDE_STEP)
    down = round((height - SIDE_LEAST) / SIDE_STEP)
    if not (0 <= across < SIDES and 0 <= down < SIDES):
        return None
    return divmod(across * SIDES + down, PARTS)


def png(width: int, height: int, *, seed: int = 0) -> bytes:
    """An 8-bit RGB image: white, with a few dark bars where text would be."""
    half, paper = width // 2, b"\xff\xff\xff"
    dark = b"\x00" + bytes([seed % 97, 20, 60]) * half + paper * (width - half)
    light = b"\x00" + paper * width
    rows = b"".join(dark if row % 8 == 3 else light for row in range(height))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _png_chunk(b"IDAT", zlib.compress(rows, 1)),
            _png_chunk(b"IEND", b""),
        )
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG, from its header alone; None for what is neither."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    return _jpeg_size(data) if data.startswith(b"\xff\xd8") else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return int(width), int(height)
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def pdf(sizes: Sequence[tuple[int, int]]) -> bytes:
    """A PDF with a page for each size in pixels, as rendered at 200 dpi; each says its number."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(sizes)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(sizes)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, (width, height) in enumerate(sizes):
        # A tenth of a point less, so that a renderer that rounds up stays within the step.
        box = f"[0 0 {width * 72 / PDF_DPI - 0.1:.2f} {height * 72 / PDF_DPI - 0.1:.2f}]"
        text = f"BT /F1 8 Tf 2 8 Td (p{number + 1}) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    return pdf_file(objects)


def pdf_file(objects: Sequence[str]) -> bytes:
    """A PDF of these objects."""
    out = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, text in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n".encode()
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def wav(duration_ms: int, *, rate: int = ASR_RATE, seed: int = 0) -> bytes:
    """A mono s16 WAV: a tone that pauses every 20 s, to be cut there, and goes on louder."""
    out = bytearray()
    for number, start_ms in enumerate(range(0, duration_ms, PAUSE_EVERY_MS)):
        size = (min(duration_ms, start_ms + PAUSE_EVERY_MS) - start_ms) * rate // 1000 * 2
        tone = _tone(rate, 220 + seed % 300, LEVEL_LEAST + LEVEL_STEP * (number % LEVELS))
        out += (tone * (size // len(tone) + 1))[:size]
    for middle_ms in range(PAUSE_EVERY_MS, duration_ms, PAUSE_EVERY_MS):
        first = (middle_ms - PAUSE_MS // 2) * rate // 1000 * 2
        last = min(len(out), first + PAUSE_MS * rate // 1000 * 2)
        out[first:last] = bytes(last - first)
    return wav_file(bytes(out), rate=rate)


@lru_cache(maxsize=512)
def _tone(rate: int, pitch: int, level: int) -> bytes:
    """One tenth of a second of a triangle wave, from its peak on."""
    period = rate / pitch
    samples = (abs((at / period) % 1 * 4 - 2) - 1 for at in range(rate // 10))
    return array("h", (int(level * sample) for sample in samples)).tobytes()


def stretch_of(pcm: bytes, rate: int) -> int | None:
    """Which stretch between two pauses s16 audio begins in, by its loudest sample in 1 s."""
    samples = array("h", pcm[: min(len(pcm) // 2, rate) * 2])
    if not samples:
        return None
    return max(0, round((max(samples) - LEVEL_LEAST) / LEVEL_STEP))


def wav_file(pcm: bytes, *, rate: int) -> bytes:
    """Mono s16 samples in a WAV container."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What a WAV's header says, and how many samples are really there."""

    rate: int
    channels: int
    bits: int
    samples: int
    starts_at: int


def read_wav(data: bytes) -> Sound | None:
    """Read a WAV, also one whose sizes are unknown (all ones); None for what is no PCM WAV."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    place, form = 12, None
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8
        if kind == b"fmt " and place + 16 <= len(data):
            form = struct.unpack("<HHIIHH", data[place : place + 16])
        elif kind == b"data" and form is not None:
            _, channels, rate, _, width, bits = form
            here = min(size, len(data) - place)
            samples = here // (width or 1)
            return Sound(rate=rate, channels=channels, bits=bits, samples=samples, starts_at=place)
        place += size + size % 2
    return None


@lru_cache(maxsize=1)
def _ramp() -> bytes:
    return array("H", range(RAMP)).tobytes()


def speech(duration_ms: int, seed: int = 0) -> bytes:
    """s16le 24 kHz PCM in which each sample is the one before it plus one, so a lost byte shows."""
    size, first = duration_ms * PCM_BYTES_MS, seed % RAMP * 2
    rounds = (first + size) // (RAMP * 2) + 1
    return (_ramp() * rounds)[first : first + size]


def speech_breaks(pcm: bytes) -> int:
    """How often a sample is not the one before plus one: calls less one, when nothing is lost."""
    samples = array("H", pcm[: len(pcm) // 2 * 2])
    return sum((after - before) % RAMP != 1 for before, after in pairwise(samples))


assert TTS_RATE * 2 == PCM_BYTES_MS * 1000
