"""The text of a configuration: the file and what it includes, merged; where each key stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from modgate.api.json import Json, JsonObject
from modgate.config import lines as at
from modgate.marks import Mark, mark_of
from modgate.problems import Problem

FILES_AT_MOST = 1000
COMMAND_LINE = "command line"
_WILD = re.compile(r"[*?\[]")
_LINE = re.compile(r"\(at line (\d+), ")


@dataclass(slots=True)
class Source:
    """The merged text of a configuration, and where each key came from.

    `whole`: every file was there and read.  `lost`: keys that were left out as mistakes.
    `found`: files by the pattern of `include` that they match.  `marks`: what each file was before
    it was read.
    """

    values: JsonObject = field(default_factory=dict)
    places: dict[at.Path, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    whole: bool = True
    lost: set[at.Path] = field(default_factory=set)
    found: dict[str, list[Path]] = field(default_factory=dict)
    marks: dict[Path, Mark] = field(default_factory=dict)
    _left: dict[at.Path, list[int]] = field(default_factory=dict)

    def place(self, path: at.Path) -> tuple[str, int]:
        """The file and line of a key, or of its nearest parent."""
        path = self._written(path)
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, ("", 0))

    def problem(self, path: at.Path, message: str) -> Problem:
        """A mistake at a key."""
        file, line = self.place(path)
        return Problem(message=message, path=dotted(self._written(path)), file=file, line=line)

    def vanished(self, before: Source) -> list[Problem]:
        """Patterns whose files were there when it was read before, and are all gone.

        A folder that is not mounted for a moment must not take its tenants away.
        """
        text = "no file matches '{}' any more; keep one, if only with a comment, or start anew"
        return [
            self.problem(("include",), text.format(pattern))
            for pattern, files in self.found.items()
            if before.found.get(pattern) and not files
        ]

    def override(self, values: Mapping[at.Path, str], origin: str) -> None:
        """Values that take the place of the file's; `origin` says whose they are."""
        for path, value in values.items():
            here: Json = self.values
            for part in path[:-1]:
                inner = here.setdefault(part, {})
                if not isinstance(inner, dict):
                    break  # the file's mistake, told as such
                here = inner
            else:
                here[path[-1]] = value
                self.places[path] = (origin, 0)

    def without(self, paths: Iterable[at.Path]) -> Source:
        """The same without these values, or what holds them; list items keep their numbers."""
        less = Source(
            values=deepcopy(self.values),
            places=self.places,
            whole=self.whole,
            lost=set(self.lost),
            found=self.found,
            marks=self.marks,
            _left={path: list(left) for path, left in self._left.items()},
        )
        for path in sorted({less._there(path) for path in paths} - {()}, reverse=True):
            less._leave_out(path)
        return less

    def _leave_out(self, path: at.Path) -> None:
        written = self._written(path)
        self.lost.add(written)
        here: Json = self.values
        for part in path[:-1]:
            here = here[part]
        if isinstance(here, list):
            left = self._left.setdefault(written[:-1], list(range(len(here))))
            del left[int(path[-1])]
        del here[path[-1]]

    def _there(self, path: at.Path) -> at.Path:
        """As much of a path as there is."""
        here: Json = self.values
        for depth, part in enumerate(path):
            members = dict(enumerate(here)) if isinstance(here, list) else here
            if not isinstance(members, dict) or part not in members:
                return path[:depth]
            here = members[part]
        return path

    def _written(self, path: at.Path) -> at.Path:
        """A path with the numbers that list items have in the file."""
        if not self._left:
            return path
        written: at.Path = ()
        for part in path:
            left = self._left.get(written, [])
            known = isinstance(part, int) and part < len(left)
            written = (*written, left[int(part)] if known else part)
        return written


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
    _merge(source, path)
    if not source.values and source.whole:
        _empty(source, path)
    patterns = source.values.get("include", [])
    for pattern in patterns if isinstance(patterns, list) else []:
        for more in _matches(source, path, str(pattern)):
            if more not in source.marks:  # another pattern found it, too
                _merge(source, more)
    return source


def _matches(source: Source, path: Path, pattern: str) -> list[Path]:
    """The files of a pattern, without the first file itself."""
    try:
        found = sorted(path.parent.glob(pattern))
    except (ValueError, IndexError, NotImplementedError):
        text = f"'{pattern}' is no pattern below this file's folder"
        source.problems.append(source.problem(("include",), text))
        return []
    if not found and not _WILD.search(pattern):
        source.whole = False
        source.problems.append(source.problem(("include",), f"there is no file '{pattern}'"))
    found = [more for more in found if more != path]
    if len(found) > FILES_AT_MOST:
        text = f"{len(found)} files match '{pattern}', and {FILES_AT_MOST} are read at most"
        source.problems.append(source.problem(("include",), text))
        source.marks |= {more: mark_of(more) for more in found[FILES_AT_MOST:]}
    source.found[pattern] = found = found[:FILES_AT_MOST]
    return found


def _text(source: Source, path: Path) -> str:
    """A file's text; '' and a problem when it cannot be read, or is empty.

    An editor, or a disk that is full, leaves an empty file behind: it asks for nothing, and must
    not take away what was there.
    """
    try:
        found = path.read_text(encoding="utf-8-sig")  # as some editors write it
        if not found.strip():
            _empty(source, path)
        return found
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        text = "not valid TOML: it is not UTF-8"
    source.whole = False
    source.problems.append(Problem(message=text, file=str(path), line=1))
    return ""


def _empty(source: Source, path: Path) -> None:
    source.whole = False
    text = "there is nothing in it; was it cut off while it was written?"
    source.problems.append(Problem(message=text, file=str(path), line=1))


def _merge(source: Source, path: Path) -> None:
    first = not source.marks
    source.marks[path] = mark_of(path)
    name, text = str(path), _text(source, path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        where = _LINE.search(str(error))
        line = int(where[1]) if where else 1
        source.whole = False
        source.problems.append(Problem(message=f"not valid TOML: {error}", file=name, line=line))
        return
    lines = at.lines_of(text)
    ahead = {key: len(known) for key, known in source.values.items() if isinstance(known, list)}
    for place, line in lines.items():
        moved = place
        if len(place) > 1 and isinstance(place[1], int):  # it stands behind those of other files
            moved = (place[0], place[1] + ahead.get(str(place[0]), 0), *place[2:])
        source.places.setdefault(moved, (name, line))
    for key, value in values.items():
        if key == "include" and not first:
            text = "is read in the first file only; name these files there"
            line = lines.get((key,), 1)
            source.problems.append(Problem(message=text, path=key, file=name, line=line))
            continue
        for twice in _put(source, key, value):
            file, before = source.place(twice)
            text = f"is set in two files, in {file}:{before}, too"
            line = lines.get(twice, lines.get((key,), 1))
            source.problems.append(Problem(message=text, path=dotted(twice), file=name, line=line))


def _put(source: Source, key: str, value: Json) -> list[at.Path]:
    """Add a section of one more file; the answer is what of it was there already."""
    known = source.values.get(key)
    if known is None:
        source.values[key] = value
    elif isinstance(known, list) and isinstance(value, list):
        source.values[key] = [*known, *value]
    elif isinstance(known, dict) and isinstance(value, dict):
        source.values[key] = {**known, **value, **known}
        return [(key, each) for each in value if each in known]
    else:
        return [(key,)]
    return []
