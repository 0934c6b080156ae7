"""JSON compared as JSON: whitespace and the order of members mean nothing, types do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from modgate.api.json import Json

SHOWN = 200


def parsed(text: str | bytes) -> Json:
    """A JSON value with numbers of any size; `...` when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return ...


def difference(wanted: Json, got: Json, at: str = "") -> str:
    """Where two JSON values part, in words; '' when they are the same."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return _of_members(wanted, got, at)
    if isinstance(wanted, list) and isinstance(got, list):
        return _of_items(wanted, got, at)
    same = wanted == got and isinstance(wanted, bool) == isinstance(got, bool)
    return "" if same else f"{at or 'the value'} is {shown(got)}, wanted {shown(wanted)}"


def _of_members(wanted: Mapping[str, Json], got: Mapping[str, Json], at: str) -> str:
    inside = f"{at}." if at else ""
    for name in wanted:
        if name not in got:
            return f"{inside}{name} is missing, wanted {shown(wanted[name])}"
    for name in got:
        if name not in wanted:
            return f"{inside}{name} is {shown(got[name])}, not wanted"
    return next(filter(None, (difference(wanted[n], got[n], inside + n) for n in wanted)), "")


def _of_items(wanted: Sequence[Json], got: Sequence[Json], at: str) -> str:
    inside = f"{at}." if at else ""
    for index, (one, other) in enumerate(zip(wanted, got, strict=False)):
        if told := difference(one, other, f"{inside}{index}"):
            return told
    if len(wanted) != len(got):
        return f"{at or 'the list'} has {len(got)} items, wanted {len(wanted)}"
    return ""


def shown(value: Json) -> str:
    """A value for a message, not too long."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
