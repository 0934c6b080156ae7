"""docs/reference/config.md: every key with how it reads, its default and its meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Literal, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from modgate.api.secret import Secret
from modgate.config.schema import Deadlines, File, TimeoutsSection

HEAD = """\
# Configuration reference

Made from the types; `modgate check FILE` checks a file. Durations, sizes and rates read
[as here](../operators/configuration.md#values); a default of `-` is none, or what the meaning says.
What is static takes a restart.
"""
PLAIN = {
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    Secret: '`{ file = "PATH" }` or `{ env = "NAME" }`',
}
MANY: Mapping[object, str] = {tuple: "a list", dict: "a table by name"}
DURATION, SIZE = "a duration", "a size"
NAMED = {"30s": DURATION, "10MiB": SIZE, "127.0.0.1:8080": '`"HOST:PORT"`'}  # by their example
SIZES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}


def reference() -> str:
    """The page."""
    lines = [HEAD]
    for name, info in File.model_fields.items():
        inner = table_of(info)
        lines += [f"## `{name}`", "", _told(info, inner), ""]
        if inner is not None:
            lines += [*_table(inner, name), ""]
    return "\n".join(lines).rstrip() + "\n"


def _told(info: FieldInfo, inner: type[BaseModel] | None) -> str:
    """What a section is; of several by name, or in a list, what they are together, too."""
    about, described = _about(inner), f"{info.description}"
    if about and get_origin(info.annotation) not in MANY:
        return about
    return f"{described[0].upper()}{described[1:]}. {about}".rstrip()


def table_of(info: FieldInfo) -> type[BaseModel] | None:
    """The keys below a key; None for a value, also for one that is read into several parts."""
    return None if _example(*info.metadata) else _model_in(info.annotation)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if _example(*getattr(annotation, "__metadata__", ())):
        return None
    found = map(_model_in, get_args(annotation))
    return next((each for each in found if each is not None), None)


def _table(kind: type[BaseModel], at: str) -> list[str]:
    rows = ["| key | reads | default | meaning |", "|---|---|---|---|"]
    nested: dict[type[BaseModel], list[str]] = {}
    for name, info in kind.model_fields.items():
        cells = [f"`{name}`", _reads(info), _default(info), f"{info.description}"]
        if (inner := table_of(info)) is not None:
            cells[2] = "see below"
            nested.setdefault(inner, []).append(f"{at}.{name}")
        rows.append(f"| {' | '.join(cells)} |")
    if kind is TimeoutsSection:
        nested[Deadlines] = [f"{at}.MODALITY"]
    for inner, paths in nested.items():
        heading = ", ".join(f"`{path}`" for path in paths)
        rows += ["", f"### {heading}", "", _about(inner), "", *_table(inner, paths[0])]
    return rows


def _about(kind: type[BaseModel] | None) -> str:
    """The first paragraph of what a section says of itself."""
    if kind is None or kind.__doc__ is None:
        return ""
    return " ".join(kind.__doc__.partition("\n\n")[0].split())


def _reads(info: FieldInfo) -> str:
    return _example(*info.metadata) or " or ".join(_forms(info.annotation))


def _example(*metadata: object) -> str:
    for each in metadata:
        if isinstance(each, WithJsonSchema) and each.json_schema is not None:
            example = each.json_schema["examples"][0]
            return NAMED.get(example, f'`"{example}"`')
    return ""


def _forms(annotation: object) -> Iterator[str]:
    """How a value of a type is written."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if example := _example(*getattr(annotation, "__metadata__", ())):
        yield example
    elif origin is Literal:
        yield ", ".join(f"`{_written(each)}`" for each in inner)
    elif origin in MANY:
        yield MANY[origin]
    elif isinstance(annotation, type):
        yield PLAIN.get(annotation, "a table")
    else:
        for each in inner:
            if each is not NoneType:
                yield from _forms(each)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value, form = info.default, _example(*info.metadata)
    if value is None or value in ("", (), {}):
        return "-"
    if form == DURATION:
        return f'`"{_duration(value)}"`'
    return f'`"{_size(value)}"`' if form == SIZE else f"`{_written(value)}`"


def _written(value: object) -> str:
    """A value in TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value}" if isinstance(value, int | float) else f'"{value}"'


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds / 3600:g}h" if seconds % 3600 == 0 else f"{seconds:g}s"


def _size(count: int) -> str:
    name, size = next(each for each in SIZES.items() if count % each[1] == 0)
    return f"{count // size}{name}"
