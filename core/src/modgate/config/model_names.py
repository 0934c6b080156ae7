"""The names of models that a plugin's own config holds, wherever it holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel

from modgate.api.model import MARK
from modgate.config.lines import Path

UNWRAPPED = (Annotated, Union, UnionType)
Named = tuple[Path, str, tuple[str, ...]]


def model_names(path: Path, holder: BaseModel) -> Iterator[Named]:
    """Where each `ModelName["embedding"]` stands, what it says, and of which modalities it may be.

    In fields, in what lists, tuples, sets and tables hold, and in models within.
    """
    for name, info in type(holder).model_fields.items():
        kind = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        yield from _within((*path, name), kind, getattr(holder, name))


def _within(path: Path, kind: object, value: object) -> Iterator[Named]:
    """What a value of a type says; the type tells keys from values, and names from other words."""
    if isinstance(value, BaseModel):
        yield from model_names(path, value)
    elif isinstance(value, str):
        if modalities := _modalities(kind):
            yield path, value, modalities
    elif get_origin(kind) in UNWRAPPED:
        for arg in get_args(kind):
            yield from _within(path, arg, value)
    else:
        for at, arg, each in _held(get_args(kind), value):
            yield from _within((*path, at), arg, each)


def _held(kinds: tuple[object, ...], value: object) -> Iterator[tuple[str | int, object, object]]:
    """What a container holds: where, of which type, and it; a table holds its keys, too."""
    if isinstance(value, Mapping) and len(kinds) == 2:
        for key, each in value.items():
            yield key, kinds[0], key
            yield key, kinds[1], each
    elif isinstance(value, list | tuple | Set):
        alike = len(kinds) == 1 or kinds[-1:] == (...,)
        each_kind = kinds[:1] * len(value) if alike else kinds
        yield from zip(range(len(value)), each_kind, value, strict=False)


def _modalities(kind: object) -> tuple[str, ...]:
    """What `ModelName` says of a type, and all that say so of a union; () of another type."""
    for mark in getattr(kind, "__metadata__", ()):
        if isinstance(mark, tuple) and mark[:1] == (MARK,):
            return (str(mark[1]),)
    args = get_args(kind) if get_origin(kind) in UNWRAPPED else ()
    return tuple(each for arg in args for each in _modalities(arg))
