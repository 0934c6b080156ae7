"""What an engine tells of its load by the way, in the head of a reply: ORCA.

An engine works for it (vLLM collects all of its metrics and writes a line of its log), so it is
asked now and then, and not with every call.

Source: Open Request Cost Aggregation (cncf/xds, data/orca/v3); wire.md 10; vllm-project/vllm,
vllm/entrypoints/openai/orca_metrics.py (08408b8): whole replies only, `kv_cache_usage_perc` and
`num_requests_waiting`; Triton's user guide (`kv_cache_utilization`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite

import orjson

from modgate.api.json import Json
from modgate.api.select import Backend
from modgate.api.vitals import Load
from modgate.telemetry.families import FAMILIES, believed

ASKS = "endpoint-load-metrics-format"
FORM = "json"
TELLS = "endpoint-load-metrics"
TEXT_AT_MOST = 4096
ENGINES_AT_MOST = 10_000
KV_USE = ("kv_cache_usage_perc", "kv_cache_utilization")
NAMED = "named_metrics."
_NO_NUMBER = re.compile(r"-?\b(?:NaN|Infinity)\b")  # so Python's json writes it

Remark = Callable[[str, Load, float, float], None]


def load_of(text: str) -> Load | None:
    """What a header says, `JSON {...}` or `TEXT name=value, ...`; None = nothing of use.

    Never fails, for a call must not: what cannot be read is not known.
    """
    kind, _, rest = text.strip().partition(" ")
    if len(text) > TEXT_AT_MOST:
        return None
    if kind.upper() == "JSON":
        told = dict(_json(rest))
    elif kind.upper() == "TEXT":
        told = dict(_pairs(rest))
    else:
        return None
    load = believed(
        running=told.get("num_requests_running"),
        waiting=told.get("num_requests_waiting"),
        kv_use=next((told[name] for name in KV_USE if name in told), None),
    )
    return None if load == Load() else load


def _json(text: str) -> Iterator[tuple[str, float]]:
    try:
        value: Json = orjson.loads(_NO_NUMBER.sub("null", text))
    except orjson.JSONDecodeError:
        return
    named = value.get("named_metrics") if isinstance(value, dict) else None
    for name, each in named.items() if isinstance(named, dict) else ():
        if isinstance(each, int | float) and not isinstance(each, bool):
            yield name, float(each)


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    """An older form has a colon in place of the equals sign."""
    for pair in text.split(","):
        name, _, written = pair.strip().replace(":", "=", 1).partition("=")
        try:
            value = float(written)
        except ValueError:
            continue
        if name.startswith(NAMED) and isfinite(value):
            yield name.removeprefix(NAMED), value


class Remarks:
    """Asks engines of families that answer it, each at most once in `every_s`; 0 = never.

    `remark(identity, load, now, every_s)` is told what they say.
    """

    def __init__(self, every_s: float, now: Callable[[], float], remark: Remark) -> None:
        self._every_s = every_s
        self._now = now
        self._remark = remark
        self._due: dict[str, float] = {}
        tells = {name for name, family in FAMILIES.items() if family.orca}
        self._tells = frozenset(tells if every_s > 0 else ())

    def ask(self, backend: Backend) -> bool:
        """Whether an engine is to tell of its load with this whole reply; then its turn is over."""
        if (backend.metrics_family or backend.family) not in self._tells:
            return False
        now = self._now()
        if now < self._due.get(backend.identity, now):
            return False
        if len(self._due) >= ENGINES_AT_MOST:
            self._due.clear()
        self._due[backend.identity] = now + self._every_s
        return True

    def hear(self, backend: Backend, headers: Mapping[str, str]) -> None:
        """The head of a reply that was asked for it."""
        load = load_of(headers.get(TELLS, ""))
        if load is not None:
            self._remark(backend.identity, load, self._now(), self._every_s)


SILENT = Remarks(0.0, lambda: 0.0, lambda identity, load, now, every_s: None)
