"""Reading Prometheus text: the lines of wanted names only, strictly, and within bounds.

Source: Prometheus text exposition format 0.0.4; OpenMetrics 1.0 (exemplars, which are passed over).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

TEXT_AT_MOST = 1 << 20
LINE_AT_MOST = 8 << 10
SAMPLES_AT_MOST = 2048
_LABEL = re.compile(rb'[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*+)"[ \t]*(,?)')
_VALUE = re.compile(rb"[ \t]*([^ \t#]+)(?:[ \t]+-?[0-9.]+)?[ \t]*(?:#.*)?")
_NEW_LINE = 10
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


class BadText(ValueError):
    """A line of a wanted name cannot be read, or there is too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value.  `labels`: as written, without escapes."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: bytes, names: Iterable[str]) -> list[Sample]:
    """The finite values of these names; others are not looked at, so a long page costs little.

    BadText when a line of theirs is no such line: then nothing of the page is to be believed.
    """
    if len(text) > TEXT_AT_MOST:
        raise BadText(f"more than {TEXT_AT_MOST} bytes")
    found = []
    for name in sorted(set(names)):
        for rest in _lines(text, name.encode("ascii")):
            made = _sample(name, rest)
            if math.isfinite(made.value):
                found.append(made)
            if len(found) > SAMPLES_AT_MOST:
                raise BadText(f"more than {SAMPLES_AT_MOST} values")
    return found


def _lines(text: bytes, name: bytes) -> Iterator[bytes]:
    """What stands behind a name on each line that begins with it."""
    at = text.find(name)
    while at >= 0:
        after = at + len(name)
        end = text.find(b"\n", after)
        end = len(text) if end < 0 else end
        begins = at == 0 or text[at - 1] == _NEW_LINE
        if begins and text[after : after + 1] in (b"{", b" ", b"\t"):
            if end - at > LINE_AT_MOST:
                raise BadText(f"a line of more than {LINE_AT_MOST} bytes")
            yield text[after:end].rstrip(b"\r")
        at = text.find(name, end)


def _sample(name: str, rest: bytes) -> Sample:
    """What stands behind a name."""
    labels: dict[str, str] = {}
    rest = rest.lstrip(b" \t")
    if rest.startswith(b"{"):
        at = 1
        more = True
        while more and (label := _LABEL.match(rest, at)) is not None:
            key = label[1].decode("ascii")
            if key in labels:
                raise BadText(f"a label of {name} is there twice")
            labels[key] = _unescaped(name, label[2])
            at, more = label.end(), bool(label[3])
        rest = rest[at:].lstrip(b" \t")
        if not rest.startswith(b"}"):
            raise BadText(f"the labels of {name} cannot be read")
        rest = rest[1:]
    value = _VALUE.fullmatch(rest)
    if value is None:
        raise BadText(f"a value of {name} cannot be read")
    return Sample(name=name, labels=labels, value=_number(name, value[1]))


def _unescaped(name: str, text: bytes) -> str:
    try:
        return _ESCAPE.sub(lambda found: _ESCAPED[found[1]], text.decode())
    except (UnicodeDecodeError, KeyError):
        raise BadText(f"a label of {name} cannot be read") from None


def _number(name: str, text: bytes) -> float:
    try:
        if b"_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise BadText(f"a value of {name} is no number") from None
