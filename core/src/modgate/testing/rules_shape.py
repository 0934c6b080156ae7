"""Rules of `shape`: repeatable, bounded, without I/O, and ready for anything a client may send."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modgate.api.body import Body, Content
from modgate.api.json import Json
from modgate.api.modality import Sample
from modgate.api.need import Ask, Fetch, Need, Work
from modgate.api.plan import Call, Plan
from modgate.api.request import Request
from modgate.errors import GatewayError, Refused, UpstreamFailed
from modgate.testing import mutate
from modgate.testing.rig import Answer, Rig
from modgate.testing.suite import Suite, fuzzed, played, replies, require

CALLS_AT_MOST = 64


class ShapeRules(Suite):
    """From a client's body to a plan."""

    def test_shape_is_repeatable_and_leaves_the_request_alone(self, tmp_path: Path) -> None:
        """The same request gives the same plan; a retry or a second look must not find another."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                request = rig.request(sample)
                before = snapshot(request)
                first = rig.shape(request, rig.answers(sample))
                seen = fingerprint(rig, first)
                require(snapshot(request) == before, f"{label}: shape changed the request")
                again = fingerprint(rig, rig.shape(request, rig.answers(sample)))
                require(again == seen, f"{label}: shaped twice, one request gave two plans")
                other = fingerprint(rig, rig.plan(sample))
                require(other == seen, f"{label}: equal requests gave two plans")
                rig.drive(rig.shape(request, rig.answers(sample))).play(replies(sample))
                require(snapshot(request) == before, f"{label}: the relay changed the request")

    def test_shape_is_bounded_and_opens_no_socket(self, tmp_path: Path) -> None:
        """Needs and calls are few, nobody sleeps, sockets are the core's; the rig ends all else."""
        with self.rig(tmp_path) as rig:
            for _, sample in self.samples():
                played(rig, sample)
            heavy = ", ".join(rig.inline.heavy())
            told = "functions for decoders want a module that imports neither modgate nor aiohttp"
            require(not heavy, f"{told}, not {heavy}")

    def test_any_body_is_shaped_or_refused(self, tmp_path: Path) -> None:
        """Whatever comes: a plan, or an error that blames the client and names no fault of ours."""
        for index, (label, sample) in enumerate(self.samples()):
            with self.rig(tmp_path / str(index)) as rig:
                self._fuzz_bodies(rig, sample, label)

    def _fuzz_bodies(self, rig: Rig, sample: Sample, label: str) -> None:
        # Built in here: a @given method inherited by two suites fails Hypothesis's own check.
        @fuzzed(self.share(sample))
        @given(body=bodies(rig, sample))
        def property_holds(body: Body) -> None:
            try:
                raised = attempted(rig, sample, body)
            except Exception as error:
                name = type(error).__name__
                raise AssertionError(f"{label}: a client's body ended in {name}") from error
            blames = raised is None or raised.status < 500
            require(blames, f"{label}: a client's body ended in {type(raised).__name__}: {raised}")

        property_holds()


def bodies(rig: Rig, sample: Sample) -> st.SearchStrategy[Body]:
    """Bodies near a sample's."""
    if sample.json is not None:
        return mutate.json_bodies(copy.deepcopy(dict(sample.json)))
    return mutate.form_bodies(rig.body(sample).parts, rig)


def attempted(rig: Rig, sample: Sample, body: Body) -> GatewayError | None:
    """The error that a body ends in before an engine is asked; None = its calls are fine."""
    excused: list[GatewayError] = []
    try:
        request = rig.request(sample, body)
        plan = rig.shape(request, hostile(rig, sample, excused))
        for call in islice(rig.calls(plan), CALLS_AT_MOST):
            contents(call.body)
        rig.drive(plan).usage()
    except GatewayError as error:
        return None if error in excused else error
    return None


def hostile(rig: Rig, sample: Sample, excused: list[GatewayError]) -> Answer:
    """Answers to Needs that no sample foresaw: work is done, the rest fails as it may.

    What is raised here goes to `excused`: a plugin may let it through.
    """
    given = {step: answer for step, answer in enumerate(sample.answers) if answer is not ...}

    def failed(error: GatewayError) -> GatewayError:
        excused.append(error)
        return error

    def answer(step: int, need: Need) -> Json:
        if isinstance(need, Work):
            return rig.inline.work(need)
        fits = isinstance(given.get(step), bytes if isinstance(need, Fetch) else list)
        if fits:
            return rig.as_answer(need, given[step])
        if isinstance(need, Ask):
            raise failed(UpstreamFailed("the engine of a side call does not answer"))
        raise failed(Refused(need.field, "fetch_failed", "the file could not be fetched"))

    return answer


def contents(body: Body) -> Iterator[bytes] | list[bytes]:
    """What a body sends, in memory."""
    if body.kind != "form":
        return [bytes_of(body.content)]
    return [
        repr((part.name, part.filename, part.content_type)).encode() + bytes_of(part.content)
        for part in body.parts
    ]


def bytes_of(content: Content) -> bytes:
    """A content that may lie in a file."""
    if isinstance(content, bytes):
        return content
    return content.prefix + content.file.read(content.start, content.length)


def snapshot(request: Request) -> object:
    """All that could be changed in a request."""
    return (copy.deepcopy(request.parsed), list(contents(request.body)), dict(request.query))


def fingerprint(rig: Rig, plan: Plan) -> object:
    """All that a plan sends and promises."""
    drive = rig.drive(plan)
    calls = [_call(call) for call in _all(drive.draw)]
    return (calls, dict(drive.reserve), plan.width, plan.partial)


def _all(draw: Callable[[], Call | None]) -> Iterator[Call]:
    while (call := draw()) is not None:
        yield call


def _call(call: Call) -> object:
    sent = list(contents(call.body))
    wished = (call.reply, call.requires, call.affinity, call.model)
    return (call.path, call.body.content_type, sent, dict(call.size), wished)
