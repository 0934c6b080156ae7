"""The clean toy, spoilt: each function plants one bug, and `BUGS` names the rule it must break."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat

from msgspec import structs
from pydantic import BaseModel

from modgate.plugin import (
    Ask,
    Call,
    Event,
    Head,
    Json,
    ModelFacts,
    Outcome,
    Plan,
    Refused,
    Request,
    Sample,
    Unit,
    Units,
    Usage,
    Work,
)
from toys.echo import TONES, Joined, Raw, Streamed, Toy, split


def spoilt_relay(**methods: Callable[..., object]) -> type[Toy]:
    return type("Spoilt", (Toy,), {"joined": type("SpoiltJoined", (Joined,), dict(methods))})


def spoilt_stream(**methods: Callable[..., object]) -> type[Toy]:
    return type("Spoilt", (Toy,), {"streamed": type("SpoiltStreamed", (Streamed,), dict(methods))})


def spoilt(**members: object) -> type[Toy]:
    return type("Spoilt", (Toy,), members)


# 1 to 12: the bugs of plugin-api.md, in its order


def drops_the_last_event() -> type[Toy]:
    def feed(self: Streamed, index: int, event: Event) -> Iterator[bytes]:
        held = getattr(self, "held", None)
        self.held = event
        self.tokens = event.fields().integer("tokens", None)
        self.words += 1
        if held is not None:
            yield self.sse({"text": held.fields().text("text")})

    return spoilt_stream(feed=feed)


def bills_twice() -> type[Toy]:
    def usage(self: Joined, outcomes: Sequence[Outcome]) -> Usage:
        once = Joined.usage(self, outcomes)
        return Usage(once.units + once.units, once.exact, once.by)

    return spoilt_relay(usage=usage)


def swaps_two_calls() -> type[Toy]:
    def close(self: Joined, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        yield self.json({"text": "".join(self.done[1::-1] + self.done[2:])})

    return spoilt_relay(close=close)


def keeps_what_a_cancel_should_end() -> type[Toy]:
    kept: list[Joined] = []

    def feed(self: Joined, index: int, event: Event) -> Iterable[bytes]:
        kept.append(self)
        return Joined.feed(self, index, event)

    def close(self: Joined, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        kept.clear()
        return Joined.close(self, outcomes)

    return spoilt_relay(feed=feed, close=close)


def trusts_the_engines_count() -> type[Toy]:
    def feed(self: Joined, index: int, event: Event) -> Iterable[bytes]:
        self.told = getattr(self, "told", 0) + event.fields().integer("characters", at_least=0)
        return Joined.feed(self, index, event)

    def usage(self: Joined, outcomes: Sequence[Outcome]) -> Usage:
        mine = Joined.usage(self, outcomes)
        units = Units(characters=getattr(self, "told", 0), tokens=self.tokens)
        return Usage(units, mine.exact, mine.by)

    return spoilt_relay(feed=feed, usage=usage)


def bills_a_cut_reply_as_whole() -> type[Toy]:
    def usage(self: Joined, outcomes: Sequence[Outcome]) -> Usage:
        characters = sum(map(len, self.pieces))
        return Usage(Units(characters=characters, tokens=self.tokens), exact=True)

    return spoilt_relay(usage=usage)


def lets_usage_fall() -> type[Toy]:
    def usage(self: Streamed, outcomes: Sequence[Outcome]) -> Usage:
        units = Units(characters=len(self.text), tokens=7 if self.words == 1 else self.tokens or 0)
        return Usage(units, exact=self.words == 3, by="engine")

    return spoilt_stream(usage=usage)


def buffers_the_stream() -> type[Toy]:
    def feed(self: Streamed, index: int, event: Event) -> Iterable[bytes]:
        self.held = [*getattr(self, "held", ()), *Streamed.feed(self, index, event)]
        return ()

    def close(self: Streamed, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        return self.held

    return spoilt_stream(feed=feed, close=close)


def changes_the_request() -> type[Toy]:
    def text(self: Toy, request: Request) -> str:
        found = Toy.text(self, request)
        request.parsed.pop("tone", None)
        return found

    return spoilt(text=text)


def tells_a_secret_in_an_error() -> type[Toy]:
    def text(self: Toy, request: Request) -> str:
        tone = request.parsed.get("tone")
        if isinstance(tone, str) and tone not in TONES:
            raise Refused("tone", "invalid_value", f"there is no tone {tone}")
        return Toy.text(self, request)

    return spoilt(text=text)


def swaps_members_in_split() -> type[Toy]:
    return spoilt(splitter=staticmethod(lambda calls, event: split(calls, event)[::-1]))


def takes_unknown_config_keys() -> type[Toy]:
    class Loose(BaseModel, frozen=True):
        most: int = 1000

    return spoilt(config_type=Loose)


# and more of their kind


def logs_a_body() -> type[Toy]:
    def text(self: Toy, request: Request) -> str:
        logging.getLogger("toy").debug("asked", extra={"body": request.parsed})
        return Toy.text(self, request)

    return spoilt(text=text)


def opens_a_socket() -> type[Toy]:
    def text(self: Toy, request: Request) -> str:
        with contextlib.suppress(Exception):
            socket.create_connection(("127.0.0.1", 9), timeout=0.01).close()
        return Toy.text(self, request)

    return spoilt(text=text)


def reads_by_chunk() -> type[Toy]:
    class ByChunk(Raw):
        def feed(self, index: int, event: Event) -> Iterator[bytes]:
            self.seen += 1
            yield event.data.capitalize()

    return spoilt(raw=ByChunk, samples=_other_reply("/v1/echo/raw", b"Hi You"))


def _other_reply(path: str, reply: Json) -> Sequence[Sample]:
    return [replace(s, reply=reply) if s.path == path else s for s in Toy.samples]


def trips_over_a_body() -> type[Toy]:
    def text(self: Toy, request: Request) -> str:
        return str(request.parsed["text"])[: self.config.most]

    return spoilt(text=text)


def trips_over_a_side_call() -> type[Toy]:
    def count(self: Toy, call: Call, event: Event) -> Usage:
        return Usage(Units(tokens=event.json()["tokens"]))

    return spoilt(count=count)


def trips_over_what_it_asked() -> type[Toy]:
    def shape_raw(self: Toy, request: Request) -> Generator[Ask, Json, Plan]:
        plan = Toy.shape_raw(self, request)
        [event] = yield Ask(list(plan.calls))
        return plan if event.json()["fine"] else replace(plan, width=2)

    samples = [replace(each, answers=[[b'{"fine":true}']]) for each in Toy.samples]
    return spoilt(shape_raw=shape_raw, samples=samples)


def trips_over_an_event() -> type[Toy]:
    def feed(self: Joined, index: int, event: Event) -> Iterable[bytes]:
        self.done.append(event.json()["text"])
        self.tokens += event.json()["tokens"]
        return ()

    return spoilt_relay(feed=feed)


def uses_an_undeclared_unit() -> type[Toy]:
    def usage(self: Joined, outcomes: Sequence[Outcome]) -> Usage:
        mine = Joined.usage(self, outcomes)
        return Usage(mine.units + Units(words=1), mine.exact, mine.by)

    return spoilt_relay(usage=usage)


def reserves_too_little() -> type[Toy]:
    def shape_stream(self: Toy, request: Request) -> Plan:
        plan = Toy.shape_stream(self, request)
        return Plan(calls=plan.calls, relay=plan.relay, reserve=Units(characters=1))

    return spoilt(shape_stream=shape_stream)


def goes_on_when_shape_is_closed() -> type[Toy]:
    def shape(self: Toy, request: Request) -> Generator[Work, Json, Plan]:
        with contextlib.suppress(GeneratorExit):
            yield Work(answered)
        yield Work(answered)
        return Toy.shape_stream(self, request)

    return spoilt(shape=shape)


def answered() -> str:
    return "yes"


def shapes_by_chance() -> type[Toy]:
    turn = iter(range(1, 10**9))

    def shape_raw(self: Toy, request: Request) -> Plan:
        plan = Toy.shape_raw(self, request)
        return Plan(calls=plan.calls, relay=plan.relay, width=next(turn))

    return spoilt(shape_raw=shape_raw)


def has_a_bad_name() -> type[Toy]:
    return spoilt(name="Toy-1")


def shows_two_units_alike() -> type[Toy]:
    return spoilt(units=(*Toy.units, Unit("more", "of it", shown=Toy.units[0].public)))


def frames_the_reply_itself() -> type[Toy]:
    return spoilt_relay(head=Head(headers={"Content-Length": "3"}))


def is_measured_by_nobody() -> type[Toy]:
    def usage(self: Joined, outcomes: Sequence[Outcome]) -> Usage:
        return structs.replace(Joined.usage(self, outcomes), by="nobody")

    return spoilt_relay(usage=usage)


def waits_for_no_call_at_all() -> type[Toy]:
    def shape(self: Toy, request: Request) -> Plan:
        return replace(Toy.shape(self, request), width=0)

    return spoilt(shape=shape)


def has_facts_that_take_anything() -> type[Toy]:
    class Loose(ModelFacts, frozen=True, extra="allow"):
        pass

    return spoilt(model_type=Loose)


def sleeps() -> type[Toy]:
    def feed(self: Joined, index: int, event: Event) -> Iterable[bytes]:
        time.sleep(0)
        return Joined.feed(self, index, event)

    return spoilt_relay(feed=feed)


def never_stops_talking() -> type[Toy]:
    def close(self: Streamed, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        return repeat(self.sse({"text": "and"}))

    return spoilt_stream(close=close)


def never_stops_calling() -> type[Toy]:
    def shape_raw(self: Toy, request: Request) -> Plan:
        [call] = Toy.shape_raw(self, request).calls
        calls = repeat(call)
        return Plan(calls=calls, relay=Raw("text"), reserve=Units(characters=10**6))

    return spoilt(shape_raw=shape_raw)


def tears_an_event() -> type[Toy]:
    def feed(self: Streamed, index: int, event: Event) -> Iterator[bytes]:
        for whole in Streamed.feed(self, index, event):
            yield whole[:3]
            yield whole[3:]

    return spoilt_stream(feed=feed)


def calls_what_is_no_path() -> type[Toy]:
    def shape(self: Toy, request: Request) -> Plan:
        plan = Toy.shape(self, request)
        return replace(plan, calls=[replace(call, path="/a b") for call in plan.calls])

    return spoilt(shape=shape)


def bills_what_never_came() -> type[Toy]:
    def usage(self: Joined, outcomes: Sequence[Outcome]) -> Usage:
        mine = Joined.usage(self, outcomes)
        return structs.replace(
            mine, units=mine.units.most(Units(characters=sum(map(len, self.pieces))))
        )

    return spoilt_relay(usage=usage)


def lets_an_engine_write_headers() -> type[Toy]:
    def feed(self: Joined, index: int, event: Event) -> Iterable[bytes]:
        self.head = Head(headers={"x-text": event.fields().text("text")})
        return Joined.feed(self, index, event)

    return spoilt_relay(feed=feed)


BUGS: dict[Callable[[], type[Toy]], str] = {
    drops_the_last_event: "test_a_sample_has_its_reply_and_its_usage",
    bills_twice: "test_a_sample_has_its_reply_and_its_usage",
    swaps_two_calls: "test_a_sample_has_its_reply_and_its_usage",
    keeps_what_a_cancel_should_end: "test_a_cancelled_request_leaves_nothing_open",
    trusts_the_engines_count: "test_an_engine_cannot_change_what_the_gateway_counts",
    bills_a_cut_reply_as_whole: "test_a_cut_reply_costs_no_more_and_is_not_exact",
    lets_usage_fall: "test_usage_never_falls",
    buffers_the_stream: "test_a_stream_is_relayed_as_it_comes",
    changes_the_request: "test_shape_is_repeatable_and_leaves_the_request_alone",
    tells_a_secret_in_an_error: "test_a_planted_secret_reaches_no_output",
    swaps_members_in_split: "test_calls_that_share_a_trip_get_their_own",
    takes_unknown_config_keys: "test_defaults_build_and_unknown_keys_are_refused",
    logs_a_body: "test_a_planted_secret_reaches_no_output",
    opens_a_socket: "test_shape_is_bounded_and_opens_no_socket",
    reads_by_chunk: "test_the_reply_is_the_same_wherever_the_network_cuts",
    trips_over_a_body: "test_any_body_is_shaped_or_refused",
    trips_over_a_side_call: "test_garbage_from_an_engine_is_a_bad_reply",
    trips_over_what_it_asked: "test_garbage_from_an_engine_is_a_bad_reply",
    trips_over_an_event: "test_garbage_from_an_engine_is_a_bad_reply",
    uses_an_undeclared_unit: "test_only_declared_units_are_used",
    reserves_too_little: "test_the_reserve_covers_what_the_gateway_counts",
    goes_on_when_shape_is_closed: "test_a_cancelled_request_leaves_nothing_open",
    shapes_by_chance: "test_shape_is_repeatable_and_leaves_the_request_alone",
    has_a_bad_name: "test_names_are_well_formed",
    shows_two_units_alike: "test_names_are_well_formed",
    frames_the_reply_itself: "test_a_sample_has_its_reply_and_its_usage",
    is_measured_by_nobody: "test_only_declared_units_are_used",
    waits_for_no_call_at_all: "test_a_sample_has_its_reply_and_its_usage",
    has_facts_that_take_anything: "test_defaults_build_and_unknown_keys_are_refused",
    sleeps: "test_shape_is_bounded_and_opens_no_socket",
    never_stops_talking: "test_a_sample_has_its_reply_and_its_usage",
    never_stops_calling: "test_shape_is_bounded_and_opens_no_socket",
    tears_an_event: "test_a_stream_is_relayed_as_it_comes",
    calls_what_is_no_path: "test_shape_is_bounded_and_opens_no_socket",
    bills_what_never_came: "test_a_cut_reply_costs_no_more_and_is_not_exact",
    lets_an_engine_write_headers: "test_garbage_from_an_engine_is_a_bad_reply",
}
