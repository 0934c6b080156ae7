"""Which sections need an extra that is not installed: told before serving fails for want of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from modgate.config.schema import File
from modgate.limits.hosted import SCHEME
from modgate.problems import Problem

# What serving imports first of each.
MODULES = {
    "redis": "redis.asyncio",
    "otel": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}

Wrong = Callable[[tuple[str | int, ...], str], Problem]


def extra_problems(file: File, wrong: Wrong) -> list[Problem]:
    """A mistake for each section whose extra cannot be imported.

    Sinks and tokens tell of theirs where they are made (rehearsal.py, auth.py).
    """
    return [
        wrong(path, f"needs modgate[{extra}]: pip install 'modgate[{extra}]'")
        for path, extra in _needed(file)
        if not _there(MODULES[extra])
    ]


def _needed(file: File) -> Iterator[tuple[tuple[str, ...], str]]:
    store = file.limits.store
    if store is not None and not store.url.startswith(SCHEME):
        yield ("limits", "store", "url"), "redis"
    if file.peers is not None:
        yield ("peers", "url"), "redis"
    if file.trace.otlp is not None:
        yield ("trace", "otlp"), "otel"


def _there(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True
