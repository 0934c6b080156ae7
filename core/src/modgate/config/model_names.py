"""The names of models that a plugin's own config holds, wherever it holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel

from modgate.api.model import MARK
from modgate.config.lines import Path

UNWRAPPED = (Annotated, Union, UnionType)
Named = tuple[Path, str, str]


def model_names(path: Path, holder: BaseModel) -> Iterator[Named]:
    """Where each `ModelName["embedding"]` stands, what it says, and of which modality it must be.

    In fields, in what lists, tuples, sets and tables hold, and in models within.
    """
    for name, info in type(holder).model_fields.items():
        kind = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        yield from _within((*path, name), kind, getattr(holder, name))


def _within(path: Path, kind: object, value: object) -> Iterator[Named]:
    """What a value of a type says; the type tells keys from values, and names from other words."""
    if isinstance(value, BaseModel):
        yield from model_names(path, value)
    elif isinstance(value, str) and (own := _modality(getattr(kind, "__metadata__", ()))):
        yield path, value, own
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


def _modality(metadata: Iterable[object]) -> str:
    """What `ModelName` says of a type; '' where it is another type."""
    marks = (each for each in metadata if isinstance(each, tuple) and each[:1] == (MARK,))
    return next((str(mark[1]) for mark in marks), "")
