"""A dialect of the toy with transcripts, and the same with planted bugs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import orjson

from modgate.plugin import (
    Body,
    Dialect,
    Event,
    GatewayError,
    Outgoing,
    Refused,
    Unsupported,
    UpstreamFailed,
    engine_message,
)


class Parrot(Dialect):
    """An engine with words of its own: a stream ends with its counts, raw words end in newlines."""

    modality = "toy"
    family = "parrot"

    def encode(self) -> Outgoing:
        members = self.call.body.members()
        texts = orjson.loads(members["texts"])
        if len(texts) != 1:
            raise Unsupported("a parrot repeats one text")
        return self.said(texts[0])

    def said(self, text: str) -> Outgoing:
        body = Body.of(bird=self.served.name, hear=text)
        return Outgoing(path="/say", body=body, reply=self.call.reply)

    def decode(self, event: Event) -> Iterable[Event]:
        if self.call.reply == "chunked":
            return (Event(event.data.replace(b"\n", b"")),)
        return self.heard(event)

    def heard(self, event: Event) -> Iterable[Event]:
        fields = event.fields()
        if "bitten" in fields:
            raise UpstreamFailed("the engine reported an error")
        if "said" not in fields:
            return ()
        said = {"text": fields.text("said")}
        tokens = fields.integer("cost", None, at_least=0)
        self.ended = tokens is not None
        return (Event(orjson.dumps(said if tokens is None else {**said, "tokens": tokens})),)

    ended = False

    def end(self, done: bool) -> Iterable[Event]:
        return () if self.ended else super().end(done)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        if status == 422 and "long" in engine_message(body):
            return Refused("text", "string_above_max_length", "the text is too long for the engine")
        return super().refusal(status, headers, body)


def spoilt(**methods: Callable[..., object]) -> type[Parrot]:
    return type("SpoiltParrot", (Parrot,), dict(methods))


def sends_the_name_that_the_client_wrote() -> type[Parrot]:
    def said(self: Parrot, text: str) -> Outgoing:
        body = Body.of(bird=self.served.asked, hear=text)
        return Outgoing(path="/say", body=body, reply=self.call.reply)

    return spoilt(said=said)


def sends_a_number_as_text() -> type[Parrot]:
    def said(self: Parrot, text: str) -> Outgoing:
        sent = Parrot.said(self, text)
        return Outgoing(path=sent.path, body=sent.body.put(loud="1"), reply=sent.reply)

    return spoilt(said=said)


def takes_a_chunk_for_a_word() -> type[Parrot]:
    def decode(self: Parrot, event: Event) -> Iterable[Event]:
        if self.call.reply == "chunked":
            return (Event(event.data.removesuffix(b"\n")),)
        return self.heard(event)

    return spoilt(decode=decode)


def loses_the_count() -> type[Parrot]:
    def heard(self: Parrot, event: Event) -> Iterable[Event]:
        for given in Parrot.heard(self, event):
            yield Event(orjson.dumps({"text": given.json()["text"]}))

    return spoilt(heard=heard)


def swallows_an_error_in_a_stream() -> type[Parrot]:
    def heard(self: Parrot, event: Event) -> Iterable[Event]:
        self.ended = True
        return () if b"bitten" in event.data else Parrot.heard(self, event)

    return spoilt(heard=heard)


def blames_the_engine_for_a_long_text() -> type[Parrot]:
    return spoilt(refusal=lambda self, status, headers, body: UpstreamFailed("it did not"))


def wants_every_event_to_say_something() -> type[Parrot]:
    def heard(self: Parrot, event: Event) -> Iterable[Event]:
        event.fields().text("said") if b"bitten" not in event.data else None
        return Parrot.heard(self, event)

    return spoilt(heard=heard)


def wants_no_other_keys() -> type[Parrot]:
    def heard(self: Parrot, event: Event) -> Iterable[Event]:
        if event.json().keys() - {"said", "cost", "bitten"} == event.json().keys():
            return ()
        text, *tokens = event.json().values()
        self.ended = bool(tokens)
        return Parrot.heard(self, event) if isinstance(text, str) else ()

    return spoilt(heard=heard)


def finds_its_key_only_in_compact_json() -> type[Parrot]:
    def heard(self: Parrot, event: Event) -> Iterable[Event]:
        return Parrot.heard(self, event) if b'"said":"' in event.data else ()

    return spoilt(heard=heard)


def is_of_a_family_without_transcripts() -> type[Parrot]:
    return spoilt(family="cockatoo")


DIALECT_BUGS: dict[Callable[[], type[Parrot]], str] = {
    sends_the_name_that_the_client_wrote: "test_a_transcripts_request_is_what_the_engine_wants",
    sends_a_number_as_text: "test_a_transcripts_request_is_what_the_engine_wants",
    takes_a_chunk_for_a_word: "test_a_transcripts_reply_is_the_same_at_any_cut",
    loses_the_count: "test_a_transcripts_reply_is_the_same_at_any_cut",
    swallows_an_error_in_a_stream: "test_a_transcripts_reply_is_the_same_at_any_cut",
    blames_the_engine_for_a_long_text: "test_a_transcripts_reply_is_the_same_at_any_cut",
    wants_every_event_to_say_something: "test_what_a_newer_engine_adds_breaks_nothing",
    wants_no_other_keys: "test_what_a_newer_engine_adds_breaks_nothing",
    finds_its_key_only_in_compact_json: "test_what_a_newer_engine_adds_breaks_nothing",
    is_of_a_family_without_transcripts: "test_every_dialect_has_transcripts",
}
