"""Bodies and replies that nobody meant: JSON with something wrong in one place, and plain noise."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from modgate.api.body import Body, Part
from modgate.api.json import Json, JsonObject
from modgate.testing.rig import Rig

Path = tuple[str | int, ...]

NASTY: Sequence[Json] = (
    *(None, True, False, -1, 0, 1, 2**31, 2**63, 10**30, 0.5, -1e308, "", " ", "0", "null"),
    *("\x00", "a" * 5000, "data:,", "\u202e\U0001f600", [], {}, [[]], [None], {"": {}}),
)

# All but surrogates, as `text` takes by itself; it asks the codec of a million code points first.
CHARACTERS = st.characters(exclude_categories=["Cs"])

values: st.SearchStrategy[Json] = st.one_of(
    st.sampled_from(NASTY),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(CHARACTERS, max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(CHARACTERS, max_size=6), inner, max_size=4)
        ),
        max_leaves=6,
    ),
)


def paths(value: Json, at: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value, its root last."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*at, index))
    yield at


def value_at(value: Json, path: Path) -> Json:
    """What is at a place."""
    for step in path:
        value = value[step]
    return value


def replaced(value: Json, path: Path, new: Json) -> Json:
    """A copy with something else at a place."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    value_at(changed, path[:-1])[path[-1]] = new
    return changed


def without(value: Json, path: Path) -> Json:
    """A copy without what is at a place."""
    changed = copy.deepcopy(value)
    del value_at(changed, path[:-1])[path[-1]]
    return changed


def twice(value: Json, path: Path) -> Json:
    """A copy with an item of a list twice."""
    changed = copy.deepcopy(value)
    items = value_at(changed, path[:-1])
    items.insert(path[-1], copy.deepcopy(items[path[-1]]))
    return changed


@st.composite
def mutated(draw: st.DrawFn, value: Json) -> Json:
    """A JSON value with one to three things wrong."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(value))))
        how = draw(st.sampled_from(("replace", "replace", "remove", "twice", "add")))
        inside = bool(path)
        if how == "remove" and inside:
            value = without(value, path)
        elif how == "twice" and inside and isinstance(path[-1], int):
            value = twice(value, path)
        elif how == "add" and isinstance(value_at(value, path), dict):
            value = replaced(value, (*path, draw(st.text(CHARACTERS, max_size=12))), draw(values))
        else:
            value = replaced(value, path, draw(values))
    return value


def dumped(value: Json) -> bytes:
    """A value as JSON; numbers of any size, which orjson would refuse."""
    return json.dumps(value).encode()


def strings(value: Json) -> list[Path]:
    """The places that hold text."""
    return [path for path in paths(value) if isinstance(value_at(value, path), str)]


@st.composite
def json_bodies(draw: st.DrawFn, asked: JsonObject) -> Body:
    """Bodies near a good one; the model stays, because the core has looked at it before."""
    if draw(st.integers(0, 9)) == 0:
        return Body.json(draw(st.binary(max_size=64)))
    changed = draw(mutated(asked))
    if isinstance(changed, dict) and "model" in asked:
        changed = {**changed, "model": asked["model"]}
    return Body.json(dumped(changed))


@st.composite
def form_bodies(draw: st.DrawFn, parts: Sequence[Part], rig: Rig) -> Body:
    """Forms near a good one, with broken texts, files and names."""
    changed = list(parts)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed) - 1)) if changed else -1
        if at < 0 or changed[at].name == "model":
            changed.append(
                Part(
                    name=draw(st.text(CHARACTERS, max_size=9)), content=draw(st.binary(max_size=9))
                )
            )
            continue
        how = draw(st.sampled_from(("content", "content", "remove", "twice", "rename")))
        part = changed.pop(at)
        if how == "content":
            changed.insert(at, _spoilt(draw, part, rig))
        elif how == "twice":
            changed += [part, part]
        elif how == "rename":
            name = draw(st.sampled_from((part.name + "[]", part.name + "[a]", "", "x")))
            changed.append(_with(part, name=name))
    return Body.form(changed)


def _spoilt(draw: st.DrawFn, part: Part, rig: Rig) -> Part:
    """A part with other content: a file is cut short, changed in one byte, or noise."""
    if isinstance(part.content, bytes):
        text = draw(
            st.one_of(
                st.text(CHARACTERS, max_size=20), st.sampled_from(("-1", "1e999", "true", "{}"))
            )
        )
        return _with(part, content=text.encode("utf-8", "surrogatepass"))
    whole = part.content.file.read()
    how = draw(st.sampled_from(("cut", "byte", "noise", "empty")))
    at = draw(st.integers(0, max(0, len(whole) - 1)))
    spoilt = {
        "cut": whole[:at],
        "byte": whole[:at] + bytes([draw(st.integers(0, 255))]) + whole[at + 1 :],
        "noise": draw(st.binary(max_size=64)),
        "empty": b"",
    }[how]
    return _with(part, content=rig.file(spoilt).slice())


def _with(part: Part, **changes: Json) -> Part:
    fields = {name: getattr(part, name) for name in ("name", "content", "filename", "content_type")}
    return Part(**{**fields, **changes})
