"""Reading the file and what it includes: decoded as a whole, mistakes with file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ValidationError

from modgate.api.json import Json, JsonObject
from modgate.config import lines as at
from modgate.config.schema import File
from modgate.errors import ConfigError, Problem

FILES_AT_MOST = 1000
_LINE = re.compile(r"\(at line (\d+), ")


@dataclass(slots=True)
class Source:
    """The merged text of a configuration, and where each key came from."""

    values: JsonObject = field(default_factory=dict)
    places: dict[at.Path, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: at.Path) -> tuple[str, int]:
        """The file and line of a key, or of its nearest parent."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, ("", 0))

    def problem(self, path: at.Path, message: str) -> Problem:
        """A mistake at a key."""
        file, line = self.place(path)
        return Problem(message=message, path=dotted(path), file=file, line=line)


def dotted(path: Iterable[str | int]) -> str:
    """A key path as people read it: `backend[0].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(path: Path) -> Source:
    """Read a file and its includes; OSError when the file itself cannot be read."""
    source = Source()
    path.open("rb").close()
    _merge(source, path, _text(source, path))
    patterns = source.values.get("include", [])
    for pattern in patterns if isinstance(patterns, list) else []:
        for more in _matches(source, path, str(pattern)):
            _merge(source, more, _text(source, more))
    return source


def _matches(source: Source, path: Path, pattern: str) -> list[Path]:
    """The files of a pattern, without the first file itself."""
    try:
        found = sorted(path.parent.glob(pattern))
    except (ValueError, IndexError, NotImplementedError):
        text = f"'{pattern}' is no pattern below this file's folder"
        source.problems.append(source.problem(("include",), text))
        return []
    return [more for more in found if more != path][:FILES_AT_MOST]


def _text(source: Source, path: Path) -> str:
    """A file's text; '' and a problem when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        text = "not valid TOML: it is not UTF-8"
    source.problems.append(Problem(message=text, file=str(path), line=1))
    return ""


def _merge(source: Source, path: Path, text: str) -> None:
    name = str(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        where = _LINE.search(str(error))
        line = int(where[1]) if where else 1
        source.problems.append(Problem(message=f"not valid TOML: {error}", file=name, line=line))
        return
    lines = at.lines_of(text)
    known = source.values.get("backend")
    shift = len(known) if isinstance(known, list) else 0
    for place, line in lines.items():
        moved = place
        if len(place) > 1 and place[0] == "backend" and isinstance(place[1], int):
            moved = ("backend", place[1] + shift, *place[2:])
        source.places.setdefault(moved, (name, line))
    for key, value in values.items():
        _put(source, key, value)


def _put(source: Source, key: str, value: Json) -> None:
    known = source.values.get(key)
    if known is None:
        source.values[key] = value
    elif isinstance(known, list) and isinstance(value, list):
        source.values[key] = [*known, *value]
    elif isinstance(known, dict) and isinstance(value, dict) and not set(known) & set(value):
        source.values[key] = {**known, **value}
    elif key != "include":
        source.problems.append(source.problem((key,), "is set in two files"))


def decode(source: Source) -> File:
    """The file as its types; ConfigError with every mistake."""
    problems = list(source.problems)
    try:
        decoded = File.model_validate(source.values)
    except ValidationError as error:
        problems += problems_of(error, source.problem, File, ())
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return decoded


def problems_of(
    error: ValidationError,
    problem: Callable[[at.Path, str], Problem],
    kind: type[BaseModel],
    front: at.Path,
) -> list[Problem]:
    """pydantic's complaints in our words, each at its place, with a guess at what was meant."""
    found = []
    for each in error.errors(include_url=False, include_context=True, include_input=False):
        path = (*front, *each["loc"])
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            message = f"unknown key{did_you_mean(str(path[-1]), _known(kind, each['loc'][:-1]))}"
        elif each["type"] == "missing":
            message = "is required"
        found.append(problem(path, message))
    return found


def _known(kind: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that a section of this path has."""
    here: type[BaseModel] | None = kind
    for part in path:
        if here is None:
            return []
        if isinstance(part, int) or part not in here.model_fields:
            continue
        here = _inner(here.model_fields[part].annotation)
    return list(here.model_fields) if here is not None else []


def _inner(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for each in getattr(annotation, "__args__", ()):
        if (found := _inner(each)) is not None:
            return found
    return None


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = get_close_matches(written, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
