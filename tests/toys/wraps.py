"""Any modality with a bug planted around its relay, its shape, its split or its config."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace

from modgate.plugin import (
    Endpoint,
    Event,
    GatewayError,
    Json,
    Modality,
    Need,
    Outcome,
    Plan,
    Refused,
    Relay,
    Request,
    Units,
    Usage,
)


class Wrapped(Relay):
    """The plugin's own relay, unharmed."""

    def __init__(self, inner: Relay, plan: Plan, counted: frozenset[str]) -> None:
        self.inner, self.plan, self.counted = inner, plan, counted
        self.closed = False

    @property
    def head(self) -> Json:
        return self.inner.head

    @property
    def observes(self) -> bool:
        return self.inner.observes

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        return self.inner.feed(index, event)

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        self.closed = True
        return self.inner.close(outcomes)

    def fail(self, error: GatewayError) -> Iterable[bytes] | None:
        return self.inner.fail(error)

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return self.inner.usage(outcomes)


class DropsTheLastEvent(Wrapped):
    held: tuple[int, Event] | None = None

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        before, self.held = self.held, (index, event)
        return () if before is None else self.inner.feed(*before)


class BillsTwice(Wrapped):
    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        once = self.inner.usage(outcomes)
        return Usage(once.units + once.units, once.exact, once.by)


class SwapsTwoCalls(Wrapped):
    """What the first call said is taken for the second's, and the other way round."""

    def __init__(self, inner: Relay, plan: Plan, counted: frozenset[str]) -> None:
        super().__init__(inner, plan, counted)
        self.came: dict[int, list[Event]] = {}

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self.came.setdefault(index, []).append(event)
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        if len(self.came) > 1:
            self.came[0], self.came[1] = self.came[1], self.came[0]
        for index in sorted(self.came):
            for event in self.came[index]:
                yield from self.inner.feed(index, event)
        yield from self.inner.close(outcomes)


class OutlivesACancel(Wrapped):
    kept: list[Wrapped] = []

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self.kept.append(self)
        return self.inner.feed(index, event)

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        self.kept.clear()
        return self.inner.close(outcomes)


class TrustsTheEngine(Wrapped):
    told = 0

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        given = b"".join(self.inner.feed(index, Event(event.data, event.name, event.headers)))
        self.told += said_by(event)
        return [given] if given else ()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        mine = self.inner.usage(outcomes)
        return Usage(mine.units + Units(dict.fromkeys(self.counted, self.told)), mine.exact)


def said_by(event: Event) -> int:
    """All whole numbers and all items that an engine wrote."""
    try:
        return total(event.json())
    except GatewayError:
        return 0


def total(value: Json) -> int:
    if isinstance(value, dict):
        return sum(map(total, value.values()))
    if isinstance(value, list):
        return len(value) + sum(map(total, value))
    return value if type(value) is int else 0


class BillsACutReplyAsWhole(Wrapped):
    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        usage = self.inner.usage(outcomes)
        return Usage(usage.units, True, usage.by)


class LetsUsageFall(Wrapped):
    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        mine = self.inner.usage(outcomes)
        if self.closed or not mine.units:
            return mine
        return Usage(mine.units + mine.units, mine.exact, mine.by)


class BuffersTheStream(Wrapped):
    def __init__(self, inner: Relay, plan: Plan, counted: frozenset[str]) -> None:
        super().__init__(inner, plan, counted)
        self.held: list[bytes] = []

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self.held += self.inner.feed(index, event)
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        return [*self.held, *self.inner.close(outcomes)]

    observes = False


Before = Callable[[Request], None]


def nothing(request: Request) -> None:
    del request


def changes_the_request(request: Request) -> None:
    request.parsed.pop(next(iter(request.parsed)), None)


def tells_a_secret(request: Request) -> None:
    if "api_key" in request.parsed:
        raise Refused("api_key", "invalid_value", f"what is {request.parsed['api_key']}")


def spoilt(
    kind: type[Modality[Json]],
    relay: type[Wrapped] = Wrapped,
    before: Before = nothing,
    swap: bool = False,
) -> type[Modality[Json]]:
    """The modality with every endpoint wrapped."""

    def shaping(endpoint: Endpoint, request: Request) -> Generator[Need, Json, Plan]:
        made = endpoint.shape(request)
        plan = made if isinstance(made, Plan) else (yield from made)
        before(request)
        return replace(plan, relay=relay(plan.relay, plan, kind.gateway_counts))

    def wrapped(endpoint: Endpoint) -> Endpoint:
        batch = endpoint.batch
        if batch is not None and swap:
            split = batch.split
            batch = replace(batch, split=lambda calls, event: split(calls, event)[::-1])
        return replace(endpoint, shape=lambda request: shaping(endpoint, request), batch=batch)

    def endpoints(self: Modality[Json]) -> list[Endpoint]:
        return [wrapped(endpoint) for endpoint in kind.endpoints(self)]

    return type(f"Spoilt{kind.__name__}", (kind,), {"endpoints": endpoints})


def loose(kind: type[Modality[Json]]) -> type[Modality[Json]]:
    config = type("Loose", (kind.config_type,), {}, extra="ignore")
    return type(f"Spoilt{kind.__name__}", (kind,), {"config_type": config})
