"""Rules of the plugin's own dialects: there and back in the home wire, and errors that are ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from modgate.api.dialect import Dialect
from modgate.api.modality import Sample
from modgate.api.plan import Call
from modgate.api.relay import Event
from modgate.api.select import Served
from modgate.errors import GatewayError, Unsupported
from modgate.testing.rules_engine import BAIT, GARBAGE
from modgate.testing.rules_shape import contents
from modgate.testing.suite import Suite, played, replies, require

STATUSES = (400, 401, 403, 404, 408, 413, 415, 422, 424, 429, 500, 502, 503, 504, 529)
TALKATIVE = (
    BAIT.encode(),
    b'{"error":{"message":"' + BAIT.encode() + b'","type":"x","param":null,"code":500}}',
    b'{"detail":"' + BAIT.encode() + b'"}',
    b'{"message":"' + BAIT.encode() + b'"}',
)


class DialectRules(Suite):
    """Of each of `dialects` that spells this modality."""

    def test_a_dialect_leaves_the_call_alone(self, tmp_path: Path) -> None:
        """What is encoded for one backend must be there, unchanged, for the next."""
        for label, call, dialect in self._spoken(tmp_path):
            before = (call.path, list(contents(call.body)))
            try:
                first = dialect.encode()
            except Unsupported:
                continue
            again = dialect.encode()
            same = list(contents(first.body)) == list(contents(again.body))
            require(same and first.path == again.path, f"{label}: encoded twice it differs")
            require(first.path.startswith("/"), f"{label}: {first.path} is no path")
            after = (call.path, list(contents(call.body)))
            require(after == before, f"{label}: encode changed the call")

    def test_the_home_dialect_changes_nothing_but_the_name(self, tmp_path: Path) -> None:
        """Samples are in the home wire, so its dialect gives back what a sample says."""
        home = [kind for kind in self._spelled() if kind.family == "home"]
        with self.rig(tmp_path) as rig:
            for kind in home:
                for label, sample in self.samples():
                    plain = played(rig, sample)
                    through = rig.drive(rig.plan(sample)).play(_through(kind, sample))
                    require(
                        through.reply == plain.reply and through.usage == plain.usage,
                        f"{label}: {kind.__name__} changes the reply to {through.reply[:200]!r}",
                    )

    def test_a_dialects_errors_are_ours(self, tmp_path: Path) -> None:
        """Any refusal becomes a typed error; a 5xx may name hosts and files, so its text stays."""
        for label, call, dialect in self._spoken(tmp_path):
            for status in STATUSES:
                for body in (*GARBAGE, *TALKATIVE):
                    error = dialect.refusal(status, {"retry-after": "soon"}, body)
                    typed = isinstance(error, GatewayError)
                    require(typed, f"{label}: {status} becomes {type(error).__name__}")
                    inside = status < 500 or BAIT not in f"{error} {error.field} {error.code}"
                    require(inside, f"{label}: the text of a {status} is passed on")
            for data in GARBAGE:
                _decoded(dialect, data, f"{label}: {data[:40]!r}", done=call.reply == "sse")

    def _spelled(self) -> Iterator[type[Dialect]]:
        return (kind for kind in self.dialects if kind.modality == self.modality.name)

    def _spoken(self, directory: Path) -> Iterator[tuple[str, Call, Dialect]]:
        """Every call of every sample in every dialect."""
        with self.rig(directory) as rig:
            for kind in self._spelled():
                for label, sample in self.samples():
                    for call in rig.calls(rig.plan(sample)):
                        dialect = kind(call, served(sample))
                        yield f"{label} in {kind.__name__}", call, dialect


def served(sample: Sample) -> Served:
    """An engine that has another name for the model."""
    return Served(asked=sample.model, model=sample.model, name="vendor/engines-own-name")


def _through(kind: type[Dialect], sample: Sample) -> Callable[[int, Call], Iterator[Event]]:
    reply = replies(sample)

    def events(index: int, call: Call) -> Iterator[Event]:
        dialect = kind(call, Served(asked=sample.model, model=sample.model, name=sample.model))
        for event in reply(index, call):
            yield from dialect.decode(event)
        if call.reply != "whole":
            yield from dialect.end(True)

    return events


def _decoded(dialect: Dialect, data: bytes, label: str, *, done: bool) -> None:
    try:
        _drained(dialect.decode(Event(data)))
        _drained(dialect.end(done))
    except GatewayError:
        return
    except Exception as error:
        raise AssertionError(f"{label} ended in {type(error).__name__}") from error


def _drained(events: Iterable[Event]) -> None:
    for event in events:
        require(isinstance(event, Event), "a dialect gave what is no Event")
