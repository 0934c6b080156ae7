"""The few words and figures that engine, client and comparison share.

The engine's content is made so that a client can count it without asking: a token is always three
bytes, a transcript word stands for half a second, a spoken character takes a fixed time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

Modality = Literal["llm", "vlm", "asr", "tts", "ocr", "embedding", "rerank"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

MIB = 1 << 20

# An output token is three bytes of ASCII, so a count of chunks, of text / 3 and of bytes / 3 agree.
TOKEN_BYTES = 3
TOKENS_IN_ROUND = 36 * 36
# The engine counts prompts like a byte tokenizer; any estimate of the same text is at most that.
MESSAGE_TOKENS = 4
PROMPT_TOKENS = 3
# Above what any image family of wire.md 3.2 gives for the small images that are sent here.
IMAGE_TOKENS = 1280

ASR_RATE = 16_000
WORD_MS = 500
SEGMENT_MS = 2_000

TTS_RATE = 24_000
PCM_BYTES_MS = TTS_RATE * 2 // 1000
CHARACTER_MS = 60

# A tag says which request a call belongs to, a part which of its calls it is.
TAGS, PARTS = 2048, 8
_TAG = re.compile(r"\bq(\d{4})q\b")
_PART = re.compile(r"\bq\d{4}q part (\d+)\b")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def tag_text(tag: int) -> str:
    """The word that carries a tag through prompts, queries, documents and sentences."""
    return f"q{tag:04d}q"


def tags_in(texts: Iterable[str]) -> tuple[int, ...]:
    """The tags that texts carry, each once, in order of first appearance."""
    found = (int(match) for text in texts for match in _TAG.findall(text))
    return tuple(dict.fromkeys(found))


def part_text(tag: int, part: int) -> str:
    """The words that carry a tag and the part's number through a sentence."""
    return f"{tag_text(tag)} part {part}"


def part_in(text: str) -> int | None:
    """The number of the first part that a text names."""
    found = _PART.search(text)
    return int(found[1]) if found else None


def token(number: int) -> str:
    """The output token of a number: two digits to the base of 36 and a blank."""
    high, low = divmod(number % TOKENS_IN_ROUND, 36)
    return f"{_DIGITS[high]}{_DIGITS[low]} "


def token_number(text: str) -> int | None:
    """The number that `token` wrote, or None for what is no token."""
    if len(text) != TOKEN_BYTES or text[2] != " " or not set(text[:2]) <= set(_DIGITS):
        return None
    return int(text[:2], 36)


def members(value: object) -> dict[str, object]:
    """A JSON object's members, or none if the value is no object."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """A JSON array's items, or none if the value is no array."""
    return list(value) if isinstance(value, list) else []


def whole(value: object) -> int:
    """A JSON number as a whole number of at least 0; anything else is 0."""
    return max(0, int(value)) if isinstance(value, int | float) else 0


def add(*counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of native units by full name, summed."""
    total: dict[str, int] = {}
    for each in counts:
        for unit, count in each.items():
            total[unit] = total.get(unit, 0) + count
    return total
