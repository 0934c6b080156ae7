"""Joining the replies to a request's calls: all vectors, in the order of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from modgate.plugin import NOTHING, BadReply, Event, Json, Outcome, Relay, Units, Usage
from modgate_embedding.ask import Asked
from modgate_embedding.formats import shortened
from modgate_embedding.reply import Row, numbers, parse

MeasuredBy = Literal["engine", "gateway", "estimate"]
Written = Sequence[bytes]  # one vector as JSON, in each of the forms that were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyIdentity:
    """Whose reply it is: its id, and the model as the client named it."""

    reply_id: str
    model: str


Writer = Callable[[Asked, ReplyIdentity, Sequence[Written], int], Iterator[bytes]]


class Vectors(Relay):
    """The reply to one request.

    `spans`: the first input of each call, and the one behind its last.  `write`: makes the reply,
    in the words of the wire that the request came in.
    """

    def __init__(
        self,
        asked: Asked,
        spans: Sequence[tuple[int, int]],
        *,
        identity: ReplyIdentity,
        write: Writer,
    ) -> None:
        self._asked = asked
        self._spans = spans
        self._identity = identity
        self._write = write
        self._length = asked.length
        self._vectors: list[Written] = []
        self._tokens = 0
        self._ended = 0
        self._by: MeasuredBy = "engine"

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """Take the vectors of one call: one for each input, all of one length, else BadReply."""
        start, end = self._spans[index]
        if index != self._ended:
            raise BadReply("the engine answered one call twice")
        reply = parse(event.data, end - start)
        vectors = [self._vector(row) for row in reply.data]
        tokens = reply.usage.tokens if reply.usage is not None else None
        if tokens is None:
            tokens = sum(self._asked.weight(at) for at in range(start, end))
            known = self._asked.counts is not None and self._by != "estimate"
            self._by = "gateway" if known else "estimate"
        elif reply.usage is not None and reply.usage.apportioned:
            self._by = "estimate"
        self._vectors += vectors
        self._tokens += tokens
        self._ended += 1
        return ()

    def _vector(self, row: Row) -> Written:
        vector = numbers(row)
        if self._length is None:
            self._length = len(vector)
        if len(vector) != self._length:
            raise BadReply(f"an embedding has {len(vector)} numbers, not {self._length}")
        cut = self._asked.cut
        if cut is not None:
            vector = shortened(vector, cut)
        return [
            bytes(row.embedding) if form.untouched and cut is None else form.written(vector)
            for form in self._asked.forms
        ]

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The reply.  Numbers are the engine's own digits, unless they had to be changed."""
        return self._write(self._asked, self._identity, self._vectors, self._tokens)

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The inputs whose vectors came, and the tokens that were read for them."""
        units = Units(inputs=len(self._vectors), input_tokens=self._tokens)
        if self._ended == 0:
            return Usage(units, exact=False, by="gateway")
        whole = self._ended == len(self._spans)
        return Usage(units, exact=whole and self._by != "estimate", by=self._by, other=self._own())

    def _own(self) -> Units:
        """The gateway's own count of the same inputs, to be compared with the engine's."""
        if self._asked.counts is None or self._by != "engine":
            return NOTHING
        return Units(input_tokens=sum(self._asked.counts[: len(self._vectors)]))


class ManyVectors(Vectors):
    """A reply that is so large that it is parsed and packed in a thread."""

    heavy = True


def openai_reply(
    asked: Asked, identity: ReplyIdentity, vectors: Sequence[Written], tokens: int
) -> Iterator[bytes]:
    """The reply of openai, voyage, mistral and jina, which has one form.

    `completion_tokens` is for Mistral's older SDKs, which read no reply without it.
    """
    del asked
    rows = (
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector[0])
        for index, vector in enumerate(vectors)
    )
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    yield (
        b'{"id":%b,"object":"list","data":[' % orjson.dumps(identity.reply_id)
        + b",".join(rows)
        + b'],"model":%b,"usage":%b}' % (orjson.dumps(identity.model), orjson.dumps(usage))
    )


def cohere_reply(
    asked: Asked,
    identity: ReplyIdentity,
    vectors: Sequence[Written],
    tokens: int,
    *,
    version: str = "2",
) -> Iterator[bytes]:
    """Cohere's reply: the vectors by form, the texts, and what was billed.  Source: wire.md 6.2."""
    forms = (
        b"%b:[%b]" % (orjson.dumps(form.name), b",".join(vector[at] for vector in vectors))
        for at, form in enumerate(asked.forms)
    )
    yield _cohere(
        asked,
        identity,
        tokens,
        b"{%b}" % b",".join(forms),
        kind="embeddings_by_type",
        version=version,
    )


def floats_reply(
    asked: Asked, identity: ReplyIdentity, vectors: Sequence[Written], tokens: int
) -> Iterator[bytes]:
    """The reply of `/v1/embed` without `embedding_types`.  Source: cohere 7.3, `EmbedResponse`."""
    rows = b"[%b]" % b",".join(vector[0] for vector in vectors)
    yield _cohere(asked, identity, tokens, rows, kind="embeddings_floats", version="1")


def _cohere(
    asked: Asked,
    identity: ReplyIdentity,
    tokens: int,
    embeddings: bytes,
    *,
    kind: str,
    version: str,
) -> bytes:
    meta: Json = {"api_version": {"version": version}, "billed_units": {"input_tokens": tokens}}
    return b'{"id":%b,"response_type":%b,"embeddings":%b,"texts":%b,"meta":%b}' % (
        orjson.dumps(identity.reply_id),
        orjson.dumps(kind),
        embeddings,
        orjson.dumps(asked.texts),
        orjson.dumps(meta),
    )
