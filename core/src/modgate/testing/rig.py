"""What stands in for the core before there is a plan: requests from samples, and answered Needs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import assert_never

import orjson

from modgate.api.body import Body, File, Part
from modgate.api.json import Json, JsonObject
from modgate.api.modality import AnyModality, Endpoint, Sample
from modgate.api.model import Model
from modgate.api.need import Ask, Fetch, Need, Work
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.relay import Event
from modgate.api.request import Request
from modgate.api.surface import Surface
from modgate.errors import GatewayError, Unsupported
from modgate.host.load import EACH_AT_MOST, few
from modgate.http.surfaces import built_in
from modgate.needs import check_need, check_plan
from modgate.spool import Spool
from modgate.table import parse
from modgate.testing.drive import Drive, taken
from modgate.testing.inline import Inline

REQUEST_ID = "req_" + "0" * 32
SPOOL_BYTES = 1 << 30
STEPS_AT_MOST = 1000

Answer = Callable[[int, Need], Json]
Around = Callable[[], AbstractContextManager[object]]


class Incomplete(AssertionError):
    """A sample lacks what is needed to play it."""


class Rig:
    """One modality with its endpoints and a spool, without sockets, clocks or an event loop.

    `around` is entered whenever code of the plugin runs (a guard, a profiler).  Use it as a context
    manager: at the end its files are freed.
    """

    def __init__(
        self,
        modality: AnyModality,
        directory: Path,
        *,
        facts: Mapping[str, Json] | None = None,
        surfaces: Iterable[type[Surface]] = (),
        around: Around = nullcontext,
    ) -> None:
        self.modality = modality
        self.scope = Spool(directory, SPOOL_BYTES).scope()
        self.inline = Inline(self.scope)
        self.endpoints = _endpoints(modality)
        self.surfaces = {**built_in(), **{kind.name: kind() for kind in surfaces}}
        self._facts = facts or {}
        self._around = around

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.scope.close()

    def endpoint(self, sample: Sample) -> Endpoint:
        """The endpoint that a sample is for."""
        found = self.endpoints.get(sample.path)
        if found is None:
            raise Incomplete(f"no endpoint has the path {sample.path} of a sample")
        return found

    def body(self, sample: Sample) -> Body:
        """A sample's body, as the core reads it from a client: files are in the spool."""
        if sample.form is None:
            return Body.json(orjson.dumps(sample.json))
        return Body.form(self._part(name, value) for name, value in sample.form.items())

    def _part(self, name: str, value: str | tuple[str, bytes]) -> Part:
        if isinstance(value, str):
            return Part(name=name, content=value.encode())
        file = self.file(value[1])
        return Part(name=name, content=file.slice(), filename=value[0], content_type=file.kind)

    def file(self, data: bytes) -> File:
        """Bytes as a spool file."""
        writer = self.scope.writer()
        writer.write(data)
        return writer.done()

    def request(self, sample: Sample, body: Body | None = None) -> Request:
        """A sample's request, or the same with another body.

        Refused by the core's own rules when the body is none.
        """
        endpoint = self.endpoint(sample)
        body = self.body(sample) if body is None else body
        parsed = parse(body)
        facts = self.modality.model_type.model_validate({**self._facts, **sample.facts})
        asked = parsed.get("model")
        return Request(
            id=REQUEST_ID,
            path=endpoint.path,
            model=Model(name=sample.model, modality=self.modality.name, facts=facts),
            asked=asked if isinstance(asked, str) else sample.model,
            body=body,
            surface=self._claimed(endpoint, parsed),
            parsed=parsed,
        )

    def _claimed(self, endpoint: Endpoint, parsed: JsonObject) -> Surface:
        missing = [name for name in endpoint.surfaces if name not in self.surfaces]
        if missing:
            raise Incomplete(f"{endpoint.path} names a surface that is not known: {missing[0]}")
        spoken = [self.surfaces[name] for name in endpoint.surfaces]
        return next((surface for surface in spoken if surface.claims(parsed)), spoken[-1])

    def answers(self, sample: Sample) -> Answer:
        """Answers of a sample, in order.

        Bytes for a Fetch become a file, bytes for an Ask its events, an exception is raised; `...`
        and what lies behind the last one: a Work really runs.
        """

        def answer(step: int, need: Need) -> Json:
            given = sample.answers[step] if step < len(sample.answers) else ...
            if isinstance(given, Exception):
                raise _fresh(given)
            if given is ...:
                if isinstance(need, Work):
                    return self.inline.work(need)
                which = f"need {step} ({type(need).__name__})"
                raise Incomplete(f"the sample has no answer for {which}; give it in `answers`")
            return self.as_answer(need, given)

        return answer

    def as_answer(self, need: Need, given: Json) -> Json:
        """A sample's answer in the type that `shape` is sent."""
        match need:
            case Fetch():
                return self.file(given) if isinstance(given, bytes) else given
            case Ask():
                return [Event(each) if isinstance(each, bytes) else each for each in given]
            case Work():
                return given
            case _:
                assert_never(need)

    def shape(self, request: Request, answer: Answer) -> Plan:
        """The plan of a request; raises what `shape` refuses."""
        with self._around():
            shaping = self.endpoints[request.path].shape(request)
        if not isinstance(shaping, Generator):
            return taken(check_plan, shaping)
        try:
            return self._driven(shaping.send, shaping.throw, answer)
        finally:
            shaping.close()

    def _driven(
        self,
        send: Callable[[Json], Need],
        throw: Callable[[Exception], Need],
        answer: Answer,
    ) -> Plan:
        given: Json = None
        failed: Exception | None = None
        for step in range(STEPS_AT_MOST):
            try:
                with self._around():
                    need = send(given) if failed is None else throw(failed)
            except StopIteration as stop:
                plan: Plan = stop.value
                return taken(check_plan, plan)
            taken(check_need, need)
            given, failed = None, None
            try:
                given = answer(step, need)
            except (GatewayError, Unsupported) as error:
                failed = error
        raise AssertionError(f"shape asked more than {STEPS_AT_MOST} times")

    def calls(self, plan: Plan) -> Iterator[Call]:
        """The calls of a plan; those of `Drawn` are decoded here."""
        if not isinstance(plan.calls, Drawn):
            return iter(plan.calls)
        return self._drawn(plan.calls)

    def _drawn(self, drawn: Drawn) -> Iterator[Call]:
        index = 0
        for piece in self.inline.pieces(drawn):
            call = drawn.to_call(index, piece)
            if call is not None:
                index += 1
                yield call

    def drive(self, plan: Plan) -> Drive:
        """A plan on its way."""
        return Drive(plan, self.calls(plan), around=self._around)

    def plan(self, sample: Sample) -> Plan:
        """The plan of a sample."""
        return self.shape(self.request(sample), self.answers(sample))


def _fresh(error: Exception) -> Exception:
    """An equal error: a raised one keeps its frames alive, and a sample lives for ever."""
    made = type(error).__new__(type(error))
    made.args = error.args
    made.__dict__.update(error.__dict__)
    return made


def events_of(call: Call, said: bytes | Sequence[bytes]) -> list[Event]:
    """A sample's upstream reply as the events that a relay is fed."""
    if call.reply == "whole":
        return [Event(said if isinstance(said, bytes) else b"".join(said))]
    return [Event(each) for each in ([said] if isinstance(said, bytes) else said)]


def _endpoints(modality: AnyModality) -> dict[str, Endpoint]:
    answer: object = modality.endpoints()
    answers = few(answer) if isinstance(answer, Iterable) else [answer]
    if len(answers) > EACH_AT_MOST:
        raise Incomplete(f"'endpoints' of {modality.name} answers over {EACH_AT_MOST} Endpoints")
    found: dict[str, Endpoint] = {}
    for each in answers:
        if not isinstance(each, Endpoint):
            kind = type(each).__name__
            raise Incomplete(f"'endpoints' of {modality.name} answers {kind}, and no Endpoints")
        found[each.path] = each
    return found
