"""What the toys do in decoder processes, so nothing of the gateway is imported here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO


class Unreadable(Exception):
    field, code, reason = "file", "invalid_value", "the file is not ASCII"


def measure(file: BinaryIO, at_most: int) -> dict[str, int]:
    """Characters of a file."""
    data = file.read()
    if not data.isascii():
        raise Unreadable
    return {"characters": min(len(data), at_most)}


def lines(
    file: BinaryIO, size: int, spool: Callable[[bytes], object]
) -> Iterator[dict[str, object]]:
    """Pieces of a file, each in a file of its own."""
    while data := file.read(size):
        yield {"piece": spool(data), "characters": len(data)}


def twice(data: bytes, spool: Callable[[bytes], object]) -> list[object]:
    return [spool(data), spool(data[::-1])]


def no_text() -> str:
    """Its error has a reason, and refuses nothing."""
    return b"\xff".decode()


def too_much() -> bytes:
    return b"x" * (1 << 20)


def broken() -> None:
    raise ValueError("inside")


def unplain() -> object:
    return object()
