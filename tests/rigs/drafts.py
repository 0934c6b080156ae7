"""Drafts and attempts of which a test says what it looks at; the other members say nothing."""

from __future__ import annotations

from typing import Any

from modgate.draft import Draft
from modgate.observe.tracing import Trace
from modgate.tries import Try


def drafted(**said: Any) -> Draft:
    """The draft of a request that began at 0, when it still is."""
    plain: dict[str, Any] = {
        "request_id": "req_1",
        "trace": Trace(trace_id="7e", span_id="5b"),
        "now": lambda: 0.0,
        "began": 0.0,
        "wall": 0.0,
    }
    return Draft(**{**plain, **said})


def attempted(call: int = 0, **said: Any) -> Try:
    """An attempt of a call, from the beginning of its request on."""
    plain: dict[str, Any] = {
        "backend": "b",
        "region": "",
        "family": "home",
        "model": "m",
        "span": "5a",
        "now": lambda: 0.0,
        "zero": 0.0,
        "began_s": 0.0,
    }
    return Try(call=call, **{**plain, **said})
