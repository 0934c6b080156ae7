"""The configuration for people: the effective values with their origins, and the reference page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.config.addresses import HostPort
from modgate.config.decode import Source, dotted
from modgate.config.schema import File

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
        members = dict(enumerate(values)) if isinstance(values, list) else values
        if not isinstance(members, dict):
            return True
        if part not in members:
            return False
        values = members[part]
    return True


def reference() -> str:
    """docs/reference/config.md: every key with its type, default and meaning."""
    lines = [
        "# Configuration reference",
        "",
        "Made from the types; `modgate check FILE` checks a file.",
        "",
    ]
    for name, info in File.model_fields.items():
        lines += [f"## `{name}`", "", f"{info.description}.", ""]
        inner = _model_of(info.annotation)
        if inner is not None:
            lines += _table(inner)
    return "\n".join(lines).rstrip() + "\n"


def _table(kind: type[BaseModel]) -> list[str]:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    nested: list[str] = []
    for name, info in kind.model_fields.items():
        default = "required" if info.is_required() else f"`{_shown(info.default)}`"
        inner = _model_of(info.annotation)
        if inner is not None:
            default = "see below"
            nested += ["", f"### `{name}`", "", *_table(inner)]
        rows.append(f"| `{name}` | {default} | {info.description} |")
    return [*rows, *nested, ""]


def _model_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for each in get_args(annotation):
        if (found := _model_of(each)) is not None:
            return found
    return None
