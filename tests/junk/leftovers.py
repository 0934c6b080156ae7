"""What a gateway holds: tasks, sockets, files, and the length of every map that it keeps.

The maps are found, not named: whatever a later change adds to State is looked at too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any

from junk.world import World
from modgate.auth.attempts import Attempts
from modgate.complaints import Complaints
from modgate.decoders.pool import Decoders, _Pool
from modgate.explain.trails import Trails
from modgate.ledger.audit import Audit
from modgate.ledger.fresh import Fresh, Group
from modgate.money.statements import Recent
from modgate.observe.metrics import Codes
from modgate.upstream.client import Client
from modgate.upstream.pool import Pool

PATIENCE_S = 6.0
LOOK_S = 0.05
# Kept on purpose, and bounded: each has a test of its bound.
# Complaints are by plugin and step, and come on a machine that is slow.
BOUNDED = (Pool, Recent, Trails, Attempts, Audit, Complaints, Fresh, Group, Codes, _Pool)
# Parts of the configuration, which no request changes, and what the process shares with the test.
DEPTH = 9


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held at one moment; `busy` is what must be nothing whenever no request is in hand."""

    tasks: int
    sockets: int
    busy: Mapping[str, int] = field(default_factory=dict)
    maps: Mapping[str, int] = field(default_factory=dict)

    def beyond(self, before: Holding) -> list[str]:
        """What has grown since, and what should be nothing and is not."""
        wrong = [f"{name}: {count}" for name, count in self.busy.items() if count]
        if self.tasks > before.tasks:
            wrong.append(f"tasks: {before.tasks} -> {self.tasks}")
        if self.sockets > before.sockets:
            wrong.append(f"sockets: {before.sockets} -> {self.sockets}")
        for name, size in self.maps.items():
            if size > before.maps.get(name, 0):
                wrong.append(f"{name}: {before.maps.get(name, 0)} -> {size}")
        return wrong


def holding(world: World, *, maps_too: bool = True) -> Holding:
    """Look now; to find every map takes long."""
    busy: dict[str, int] = {}
    maps: dict[str, int] = {}
    for name, running in world.gateways.items():
        state = running.app.state
        state.observer.count()  # receipts wait to be counted, a few at a time
        busy |= {
            f"{name}: requests in hand": state.live,
            f"{name}: calls that wait": state.fleet.queued,
            f"{name}: slots taken": sum(each.taken for each in state.fleet.slots.values()),
            f"{name}: connections in use": sum(map(_in_use, state.connections)),
            f"{name}: decoders at work": at_work(state.decoders),
            f"{name}: spool files": state.spool.files,
            f"{name}: spool bytes": state.spool.used,
            f"{name}: limits held": sum(state.limits.total.values()),
        }
        if maps_too:
            _maps(running.app, name, 0, set(), maps)
    # An engine's idle connections are kept on purpose; each has both its ends in this process.
    return Holding(len(asyncio.all_tasks()), _sockets() - 2 * world.engine.connections, busy, maps)


async def settled(world: World, before: Holding) -> list[str]:
    """What is left once everything had the time to go."""
    loop = asyncio.get_running_loop()
    end, look_s = loop.time() + PATIENCE_S, LOOK_S
    while wrong := holding(world, maps_too=False).beyond(before) or holding(world).beyond(before):
        if loop.time() > end:
            return wrong
        await asyncio.sleep(look_s)
        look_s *= 2  # what does not go soon goes after some deadline, and a look takes long
    return []


def _in_use(client: Client) -> int:
    live, idle = client.connections
    return live - idle


def at_work(decoders: Decoders) -> int:
    """How many decoder processes do something."""
    return len(decoders._work._busy) + len(decoders.streams._busy)


def _sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count


def _maps(value: Any, path: str, depth: int, seen: set[int], maps: dict[str, int]) -> None:
    """Every collection that modgate's own objects hold, by where it hangs, and how long it is."""
    if id(value) in seen or depth > DEPTH:
        return
    kind = type(value)
    if (looks := _looks(kind)) is None:
        return
    seen.add(id(value))
    if looks.sized:
        maps[path] = max(len(value), maps.get(path, 0))
    if looks.inside:
        path += "[]"
        inside = [(path, each) for each in (value.values() if looks.mapping else value)]
    else:
        names = (*looks.slots, *getattr(value, "__dict__", ()))
        inside = [(f"{path}.{name}", getattr(value, name, None)) for name in names]
    for where, each in inside:
        if _looks(type(each)) is not None:  # the same without this: most are numbers and texts
            _maps(each, where, depth + 1, seen, maps)


@dataclass(frozen=True, slots=True)
class _Looks:
    """How to look into what is of a type.  `sized`: a named tuple has as many members as ever."""

    inside: bool
    sized: bool
    mapping: bool = False
    slots: Sequence[str] = ()


@cache
def _looks(kind: type) -> _Looks | None:
    if issubclass(kind, (type, ModuleType, str, bytes, int, float, *BOUNDED)):
        return None
    if issubclass(kind, Collection):
        sized, mapping = not hasattr(kind, "_fields"), issubclass(kind, Mapping)
        return _Looks(inside=True, sized=sized, mapping=mapping)
    if not kind.__module__.startswith("modgate."):
        return None
    slots = chain.from_iterable(map(_slots, kind.__mro__))
    return _Looks(inside=False, sized=False, slots=tuple(slots))


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(
        f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name for name in names
    )
