"""What a file is by its first bytes: neither its name nor its declared type is believed.

Source: the formats' own specifications; for the order of the tests, that a weaker mark (two bytes)
never hides a stronger one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HEAD_BYTES = 1024  # what `sniff` may look at; a PDF's mark lies within them (ISO 32000-1, H.3.4.1)

_MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "png": "image/png",
        "jpeg": "image/jpeg",
        "webp": "image/webp",
        "gif": "image/gif",
        "bmp": "image/bmp",
        "tiff": "image/tiff",
        "heic": "image/heic",
        "wav": "audio/wav",
        "flac": "audio/flac",
        "mp3": "audio/mpeg",
        "ogg": "audio/ogg",
        "opus": "audio/ogg",
        "m4a": "audio/mp4",
        "mp4": "audio/mp4",
        "webm": "audio/webm",
        "aiff": "audio/aiff",
        "aac": "audio/aac",
        "pdf": "application/pdf",
    }
)

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),  # BigTIFF
    (b"MM\x00+", "tiff"),
    (b"fLaC", "flac"),
    (b"\x1aE\xdf\xa3", "webm"),
    (b"ID3", "mp3"),
)
# Containers that say their kind after a length: start, and what stands at byte 8.
_CHUNKS = (
    (b"RIFF", b"WAVE", "wav"),
    (b"RF64", b"WAVE", "wav"),
    (b"RIFF", b"WEBP", "webp"),
    (b"FORM", b"AIFF", "aiff"),
    (b"FORM", b"AIFC", "aiff"),
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_M4A_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})


def sniff(head: bytes) -> str:
    """The format that these first bytes are of, `png` to `pdf`; "" when it is none that we know.

    Give it `HEAD_BYTES`, or the whole file when it has fewer.
    """
    found = next((name for start, name in _STARTS if head.startswith(start)), "")
    return (
        found or _chunked(head) or _weak(head) or ("pdf" if b"%PDF-" in head[:HEAD_BYTES] else "")
    )


def family(name: str) -> str:
    """`image`, `audio` or `pdf`, as `Fetch.kinds` says it; "" for a format that we do not know."""
    return "pdf" if name == "pdf" else _MEDIA_TYPES.get(name, "").partition("/")[0]


def media_type(name: str) -> str:
    """The format's media type; `application/octet-stream` for one that we do not know."""
    return _MEDIA_TYPES.get(name, "application/octet-stream")


def _chunked(head: bytes) -> str:
    """A container, by what it says a few bytes after its start."""
    for start, mark, name in _CHUNKS:
        if head.startswith(start) and head[8:12] == mark:
            return name
    if head.startswith(b"OggS"):
        return "opus" if b"OpusHead" in head[:64] else "ogg"
    return _boxed(head) if head[4:8] == b"ftyp" else ""


def _weak(head: bytes) -> str:
    """A format whose mark is two bytes or fewer, by what else its header must hold."""
    if _is_bmp(head):
        return "bmp"
    framed = len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return _framed(head) if framed else ""


def _boxed(head: bytes) -> str:
    """An ISO base media file: what its brands say.  AVIF shares brands with HEIC and is neither."""
    size = min(int.from_bytes(head[:4]), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands & _AVIF_BRANDS:
        return ""
    if head[8:12] in _HEIC_BRANDS:
        return "heic"
    return "m4a" if head[8:12] in _M4A_BRANDS else "mp4"


def _is_bmp(head: bytes) -> bool:
    """Two letters are a weak mark: the reserved field and the header's length must fit, too."""
    return (
        head.startswith(b"BM")
        and head[6:10] == b"\0\0\0\0"
        and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    )


def _framed(head: bytes) -> str:
    """A bare MPEG audio frame, by the fields that its header may not hold.

    Layer 0 is ADTS (AAC); layer I is refused: 0xFFFE is also how UTF-16 text begins.
    Source: ISO 11172-3 2.4.2.3, ISO 13818-7 6.2.
    """
    layer, version = head[1] >> 1 & 3, head[1] >> 3 & 3
    if head[1] & 0xF6 == 0xF0:
        return "aac" if head[2] >> 2 & 15 < 13 else ""
    sound = layer in (1, 2) and version != 1 and head[2] >> 4 not in (0, 15) and head[2] & 12 != 12
    return "mp3" if sound else ""
