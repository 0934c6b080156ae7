"""Playing a transcript: the call as the core hands it out, and what its dialect makes of the reply.

The reply goes through `modgate.reply_decoder`, as it does behind a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modgate.api.body import Body, Part
from modgate.api.dialect import Dialect, Outgoing
from modgate.api.plan import Call
from modgate.api.relay import Event
from modgate.api.select import Served
from modgate.errors import GatewayError
from modgate.reply_decoder import ReplyDecoder
from modgate.testing.compare import difference, parsed, shown
from modgate.testing.rig import Rig
from modgate.testing.rules_shape import bytes_of, contents
from modgate.testing.transcript import Failed, FormPart, Gives, Said, Sent, Transcript

Cut = Callable[[bytes], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What came out of a dialect: events, and the error behind them."""

    events: Sequence[bytes]
    error: GatewayError | None = None


def spoken(rig: Rig, kind: type[Dialect], transcript: Transcript) -> Dialect:
    """A dialect for one attempt of the transcript's call."""
    sent = transcript.call
    if sent.json is not None:
        body = Body.json(sent.json.encode())
    elif sent.form is not None:
        body = Body.form(_part(rig, each) for each in sent.form)
    else:
        body = Body.of_bytes(rig.file(sent.raw or b"").slice(), "application/octet-stream")
    call = Call(path=sent.path, body=body, reply=transcript.reply_kind)
    asked = transcript.asked
    return kind(call, Served(asked=asked, model=asked, name=transcript.served))


def _part(rig: Rig, part: FormPart) -> Part:
    """A part as the core reads it: a file is in the spool."""
    content = part.content if part.filename is None else rig.file(part.content).slice()
    return Part(
        name=part.name,
        content=content,
        filename=part.filename,
        content_type=part.content_type,
    )


def heard(dialect: Dialect, outgoing: Outgoing, said: Said, cut: Cut) -> Got:
    """What becomes of an engine's reply when the network cuts it so."""
    if not 200 <= said.status < 300:
        return Got(events=(), error=dialect.refusal(said.status, said.headers, said.body))
    decoder = ReplyDecoder(dialect, outgoing.reply, said.headers)
    events: list[Event] = []
    try:
        if outgoing.reply == "whole":
            events += decoder.whole(said.body, said.headers)
        else:
            for given in _pieces(decoder, cut(said.body)):
                events += given
    except GatewayError as error:
        return Got(events=[event.data for event in events], error=error)
    return Got(events=[event.data for event in events])


def _pieces(decoder: ReplyDecoder, pieces: Iterable[bytes]) -> Iterator[list[Event]]:
    for piece in pieces:
        yield decoder.feed(piece)
        if decoder.error is not None:
            raise decoder.error
        if decoder.over:
            return
    yield decoder.end()


def told_of(gives: Gives, got: Got) -> str:
    """In what a result is not the one that the transcript promises; '' when it is."""
    if wrong := _error_told(gives.error, got.error):
        return wrong
    if gives.content is not None:
        joined = b"".join(got.events)
        same = joined == gives.content
        return "" if same else f"it gives {shown(joined)}, wanted {shown(gives.content)}"
    for index, (wanted, given) in enumerate(zip(gives.events, got.events, strict=False)):
        if wrong := _data_told(wanted.encode(), given):
            return f"in event {index} {wrong}"
    if len(gives.events) != len(got.events):
        more = [*got.events[len(gives.events) :], *(e.encode() for e in gives.events)][:1]
        told = f"it gives {len(got.events)} events, wanted {len(gives.events)}"
        return f"{told}; at the seam: {shown(more[0])}" if more else told
    return ""


def _data_told(wanted: bytes, given: bytes) -> str:
    one, other = parsed(wanted), parsed(given)
    if one is not ... and other is not ...:
        return difference(one, other)
    return "" if wanted == given else f"the data is {shown(given)}, wanted {shown(wanted)}"


def _error_told(wanted: Failed | None, error: GatewayError | None) -> str:
    if wanted is None:
        return "" if error is None else f"it ends in {error!r}"
    if error is None:
        return f"it ends well, wanted {wanted}"
    pairs: Mapping[str, tuple[object, object]] = {
        "status": (wanted.status, error.status),
        "code": (wanted.code, error.code),
        "field": (wanted.field, error.field),
        "message": (wanted.message, error.message if wanted.message is not None else None),
        "retry_after": (
            wanted.retry_after,
            error.retry_after if wanted.retry_after is not None else None,
        ),
    }
    parts = (f"{k} is {got!r}, wanted {one!r}" for k, (one, got) in pairs.items() if one != got)
    told = ", ".join(parts)
    return f"the error's {told} ({error!r})" if told else ""


def request_told(wanted: Sent, call: Sent, outgoing: Outgoing) -> str:
    """In what a request is not the one that the engine wants; '' when it is."""
    if outgoing.path != wanted.path:
        return f"it goes to {outgoing.path}, wanted {wanted.path}"
    sent = {name.lower(): value for name, value in outgoing.headers.items()}
    for name, value in wanted.headers.items():
        if sent.get(name.lower()) != value:
            return f"the header {name} is {sent.get(name.lower())!r}, wanted {value!r}"
    body = outgoing.body
    if wanted.form is not None:
        return _form_told(wanted.form, call.form or (), body)
    if body.kind == "form":
        return "it is a form, wanted none"
    data = b"".join(contents(body))
    if wanted.json is None:
        return "" if data == wanted.raw else f"the body is {shown(data)}"
    return _data_told(wanted.json.encode(), data)


def _form_told(wanted: Sequence[FormPart], call: Sequence[FormPart], body: Body) -> str:
    """Part by part; parts of different names may come in any order."""
    if body.kind != "form":
        return f"it is {body.kind}, wanted a form"
    parts = sorted(body.parts, key=lambda part: part.name)
    names, found = sorted(part.name for part in wanted), [part.name for part in parts]
    if names != found:
        return f"its parts are {found}, wanted {names}"
    pairs = zip(sorted(wanted, key=lambda part: part.name), parts, strict=True)
    return next(filter(None, (_part_told(one, call, part) for one, part in pairs)), "")


def _part_told(wanted: FormPart, call: Sequence[FormPart], part: Part) -> str:
    source = next((each for each in call if each.name == wanted.same_as), wanted)
    data = bytes_of(part.content)
    if data != source.content:
        return f"the part {part.name} is {shown(data)}, wanted {shown(source.content)}"
    if part.filename != wanted.filename:
        return f"the part {part.name} is called {part.filename!r}, wanted {wanted.filename!r}"
    if wanted.content_type not in (None, part.content_type):
        return f"the part {part.name} is {part.content_type}, wanted {wanted.content_type}"
    return ""
