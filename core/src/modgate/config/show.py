"""The configuration for people: the effective values with their origins, secrets masked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.config.addresses import HostPort
from modgate.config.schema import File
from modgate.config.source import Source, dotted

Row = tuple[str, str, str]


def effective(file: File, source: Source) -> list[Row]:
    """Key path, value, and `file:line`, `command line` or `default`; secrets masked."""
    return [
        (dotted(path), _shown(value), _origin(source, path)) for path, value in _leaves(file, ())
    ]


def _leaves(
    value: Json, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    if isinstance(value, BaseModel):
        members = {name: getattr(value, name) for name in type(value).model_fields}
        members |= value.model_extra or {}
        for name, each in members.items():
            yield from _leaves(each, (*path, name))
    elif isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _leaves(each, (*path, name))
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    else:
        yield path, value


def _shown(value: Json) -> str:
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, str | Path | HostPort):
        return f'"{value}"'
    return "-" if value is None else str(value)


def _origin(source: Source, path: tuple[str | int, ...]) -> str:
    """Where a value was written: inside an inline table, the line of the table."""
    if not _written(source.values, path):
        return "default"
    file, line = source.place(path)
    return f"{file}:{line}" if line else file or "default"


def _written(values: Json, path: tuple[str | int, ...]) -> bool:
    """Whether the file has this key, or a value that it is a part of."""
    for part in path:
        if isinstance(values, list) and isinstance(part, int):
            if part >= len(values):
                return False
        elif not isinstance(values, dict):
            return True
        elif part not in values:
            return False
        values = values[part]
    return True
