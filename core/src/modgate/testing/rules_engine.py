"""Rules of distrust: an engine's garbage is a bad reply, its counts are its own, and no secret of
a client or an engine gets into what others read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st

from modgate.api.body import Body, Part
from modgate.api.json import Json
from modgate.api.modality import Sample
from modgate.api.need import Ask, Need
from modgate.api.plan import Call
from modgate.api.relay import Event
from modgate.errors import GatewayError, Upstream
from modgate.testing import mutate
from modgate.testing.drive import Played
from modgate.testing.guards import listening
from modgate.testing.rig import Incomplete, Rig, events_of
from modgate.testing.rules_shape import hostile
from modgate.testing.suite import Suite, fuzzed, played, positions, replies, require

HTML = b"<html><body>502 \xff</body></html>"
GARBAGE = (
    HTML,
    b"",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'"text"',
    b'{"error":{"message":"no","code":5}}',
)
LIES = (0, 1, 10**9)
BAIT = "planted-3f9d2c71-secret"
PLACES_AT_MOST = 200


class EngineRules(Suite):
    """From an engine that is broken, wrong or talkative."""

    def test_garbage_from_an_engine_is_a_bad_reply(self, tmp_path: Path) -> None:
        """Instead of any event, anything: it is taken, or it is the engine's fault; never ours."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                whole = played(rig, sample)
                for at in positions(len(whole.steps) - 1):
                    for data in (*GARBAGE, _half(sample, whole, at)):
                        told = f"{label}: {data[:40]!r} in place of event {at}"
                        taken = _ended(rig, sample, at, data, told)
                        must = data == HTML and _is_json(_event(sample, whole, at))
                        require(not (taken and must), f"{told} was taken for a good reply")
                    for data in _breaking(_event(sample, whole, at)):
                        _ended(rig, sample, at, data, f"{label}: {data[:80]!r} for event {at}")
                for call in whole.calls:
                    _counted(rig, call, label)
                _asked(rig, sample, label)
                if len(whole.steps) > 1:
                    self._fuzz_events(rig, sample, whole, label)

    def _fuzz_events(self, rig: Rig, sample: Sample, whole: Played, label: str) -> None:
        @fuzzed(self.share(sample))
        @given(drawn=st.data())
        def property_holds(drawn: st.DataObject) -> None:
            at = drawn.draw(st.integers(0, len(whole.steps) - 2))
            event = _event(sample, whole, at)
            noise: st.SearchStrategy[bytes] = st.binary(max_size=64)
            if _is_json(event):
                noise = mutate.mutated(orjson.loads(event)).map(mutate.dumped) | noise
            data = drawn.draw(noise)
            _ended(rig, sample, at, data, f"{label}: {data[:200]!r} in place of event {at}")

        property_holds()

    def test_an_engine_cannot_change_what_the_gateway_counts(self, tmp_path: Path) -> None:
        """Whatever numbers it writes, and however many items: refused, or billed the same."""
        counted = self.modality.gateway_counts
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                honest = played(rig, sample)
                for at in positions(len(honest.steps) - 1):
                    for lie, what in _lies(_event(sample, honest, at)):
                        told = _told(rig, sample, at, lie)
                        if told is None:
                            continue
                        for name in counted:
                            mine = honest.usage.units.get(name, 0)
                            said = told.usage.units.get(name, 0)
                            require(
                                mine == said,
                                f"{label}: event {at} with {what} makes {name} {said}, not {mine}",
                            )

    def test_a_planted_secret_reaches_no_output(self, tmp_path: Path) -> None:
        """What clients write and engines answer is in no error, log line or note of a receipt."""
        with self.rig(tmp_path) as rig, listening() as heard:
            for label, sample in self.samples():
                for body, where in _planted(rig, sample):
                    said = _said_of(partial(_shaped, rig, sample, body))
                    require(BAIT not in said, f"{label}: a secret in {where} is told: {said}")
                whole = played(rig, sample)
                for at in positions(len(whole.steps) - 1):
                    for data in _talkative(_event(sample, whole, at)):
                        said = _said_of(partial(_spoilt, rig, sample, at, data))
                        require(BAIT not in said, f"{label}: an engine's secret is told: {said}")
            require(BAIT not in heard.text, "a secret was logged or printed")


def _event(sample: Sample, whole: Played, at: int) -> bytes:
    """The data of event number `at` of a sample, over all calls."""
    data = [
        event.data
        for call, said in zip(whole.calls, sample.upstream, strict=False)
        for event in events_of(call, said)
    ]
    return data[at]


def _half(sample: Sample, whole: Played, at: int) -> bytes:
    data = _event(sample, whole, at)
    return data[: len(data) // 2]


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(orjson.loads(data), dict | list)
    except orjson.JSONDecodeError:
        return False


def instead(sample: Sample, at: int, data: bytes) -> Callable[[int, Call], Iterator[Event]]:
    """A sample's upstream replies with another event number `at`."""
    reply = replies(sample)
    count = 0

    def events(index: int, call: Call) -> Iterator[Event]:
        nonlocal count
        for event in reply(index, call):
            yield Event(data) if count == at else event
            count += 1

    return events


def _spoilt(rig: Rig, sample: Sample, at: int, data: bytes) -> Played:
    return rig.drive(rig.plan(sample)).play(instead(sample, at, data))


def _told(rig: Rig, sample: Sample, at: int, data: bytes) -> Played | None:
    try:
        return _spoilt(rig, sample, at, data)
    except GatewayError:
        return None


def _ended(rig: Rig, sample: Sample, at: int, data: bytes, label: str) -> bool:
    """Whether a spoilt reply is taken; when not, the error is the engine's and the relay lives."""
    drive = rig.drive(rig.plan(sample))
    try:
        drive.play(instead(sample, at, data))
    except Upstream as error:
        for piece in drive.relay.fail(error) or ():
            require(isinstance(piece, bytes), f"{label}: fail gave what is no bytes")
    except Exception as error:
        raise AssertionError(f"{label} ended in {type(error).__name__}, no BadReply") from error
    else:
        return True
    drive.end("failed")
    drive.usage()
    return False


def _counted(rig: Rig, call: Call, label: str) -> None:
    """Asked by another plugin, it costs what it costs, or is its engine's fault."""
    for data in GARBAGE if call.reply == "whole" else ():
        try:
            rig.modality.count(call, Event(data))
        except Upstream:
            continue
        except Exception as error:
            told = f"{label}: count of {data[:40]!r} ended in {type(error).__name__}, no BadReply"
            raise AssertionError(told) from error


def _asked(rig: Rig, sample: Sample, label: str) -> None:
    """What `shape` is answered to an Ask is an engine's word, too."""
    said: list[tuple[int, list[Event]]] = []
    honest = rig.answers(sample)

    def heard(step: int, need: Need) -> Json:
        given = honest(step, need)
        if isinstance(need, Ask):
            said.append((step, list(given)))
        return given

    rig.shape(rig.request(sample), heard)
    for step, events in said:
        for at, event in enumerate(events):
            half = event.data[: len(event.data) // 2]
            for data in (*GARBAGE, half, *_breaking(event.data)):
                spoilt = [*events[:at], Event(data), *events[at + 1 :]]
                told = f"{label}: {data[:40]!r} as answer {at} to the Ask of need {step}"
                _shaped_with(rig, sample, {step: spoilt}, told)


def _shaped_with(
    rig: Rig, sample: Sample, spoilt: Mapping[int, Sequence[Event]], label: str
) -> None:
    """It is taken, or the error is the engine's."""
    honest = rig.answers(sample)
    try:
        rig.shape(
            rig.request(sample),
            lambda step, need: spoilt[step] if step in spoilt else honest(step, need),
        )
    except (Upstream, Incomplete):  # taken, it may lead to Needs that the sample does not foresee
        return
    except Exception as error:
        raise AssertionError(f"{label} ended in {type(error).__name__}, no BadReply") from error


def _lies(event: bytes) -> Iterator[tuple[bytes, str]]:
    """An event with one number changed, or an item of a list once more or gone."""
    if not _is_json(event):
        return
    value = orjson.loads(event)
    for path in list(mutate.paths(value))[:PLACES_AT_MOST]:
        here = mutate.value_at(value, path)
        where = ".".join(map(str, path))
        if type(here) is int:
            for lie in (*LIES, here + 1):
                yield mutate.dumped(mutate.replaced(value, path, lie)), f"{lie} at {where}"
        if path and isinstance(path[-1], int):
            yield mutate.dumped(mutate.twice(value, path)), f"{where} twice"
            yield mutate.dumped(mutate.without(value, path)), f"{where} gone"


def _planted(rig: Rig, sample: Sample) -> Iterator[tuple[Body, str]]:
    """A sample's body with the secret in one place: a text (not the model's name), or a new key."""
    if sample.json is None:
        yield from _planted_form(rig, sample)
        return
    asked = dict(sample.json)
    yield Body.json(mutate.dumped({**asked, "api_key": BAIT})), "an unknown field"
    for path in mutate.strings(asked):
        if path != ("model",):
            where = ".".join(map(str, path))
            yield Body.json(mutate.dumped(mutate.replaced(asked, path, BAIT))), where


def _planted_form(rig: Rig, sample: Sample) -> Iterator[tuple[Body, str]]:
    body = rig.body(sample)
    planted = BAIT.encode()
    yield body.put_part(Part(name="api_key", content=planted)), "an unknown field"
    for part in body.parts:
        if part.name == "model":
            continue
        if isinstance(part.content, bytes):
            yield body.put_part(Part(name=part.name, content=planted)), part.name
        else:
            file = rig.file(planted).slice()
            yield (
                body.put_part(Part(name=part.name, content=file, filename=BAIT + ".bin")),
                f"the file {part.name}",
            )


def _shaped(rig: Rig, sample: Sample, body: Body) -> None:
    """Shape it, and draw its calls."""
    plan = rig.shape(rig.request(sample, body), hostile(rig, sample, []))
    for _ in rig.calls(plan):
        pass


def _said_of(attempt: Callable[[], object]) -> str:
    """What an attempt tells: the words of its error."""
    try:
        attempt()
    except GatewayError as error:
        return f"{error} {error.message} {error.field} {error.code}"
    return ""


def _breaking(event: bytes) -> Iterator[bytes]:
    """An engine's event with a text of two lines, the second like a header."""
    if _is_json(event):
        value: Json = orjson.loads(event)
        for path in mutate.strings(value)[:PLACES_AT_MOST]:
            yield mutate.dumped(mutate.replaced(value, path, "a\r\nset-cookie: b"))


def _talkative(event: bytes) -> Iterator[bytes]:
    """An engine's event with the secret in a text, in an error, or in garbage."""
    yield BAIT.encode()
    yield mutate.dumped({"error": {"message": BAIT, "type": BAIT, "code": 500}})
    if _is_json(event):
        value: Json = orjson.loads(event)
        for path in list(mutate.paths(value))[:PLACES_AT_MOST]:
            yield mutate.dumped(mutate.replaced(value, path, BAIT))
