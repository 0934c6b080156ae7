"""Joining the calls of a request: vectors in the order of the inputs, in the client's format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modgate.plugin import BadReply, Event, Outcome, Relay, Units, Usage
from modgate_embedding.ask import Asked
from modgate_embedding.reply import Row, numbers, packed, parse, shortened, written


class Vectors(Relay):
    """One request's vectors.

    `spans`: the inputs of each call.  `reply_id` and `model` are what the reply says.
    """

    def __init__(
        self, asked: Asked, spans: Sequence[tuple[int, int]], *, reply_id: str, model: str
    ) -> None:
        self._asked = asked
        self._spans = spans
        self._id = reply_id
        self._model = model
        self._length = asked.length
        self._vectors: list[bytes] = []
        self._tokens = 0
        self._ended = 0
        self._counted = True

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """The vectors of one call."""
        start, end = self._spans[index]
        if index != self._ended:
            raise BadReply("the engine answered one call twice")
        reply = parse(event.data, end - start)
        vectors = [self._vector(row) for row in reply.data]
        tokens = reply.usage.tokens if reply.usage is not None else None
        if tokens is None or (reply.usage is not None and reply.usage.apportioned):
            self._counted = False
        if tokens is None:
            tokens = sum(self._asked.weight(at) for at in range(start, end))
        self._vectors += vectors
        self._tokens += tokens
        self._ended += 1
        return ()

    def _vector(self, row: Row) -> bytes:
        vector = numbers(row)
        if self._length is None:
            self._length = len(vector)
        if len(vector) != self._length:
            raise BadReply(f"an embedding has {len(vector)} numbers, not {self._length}")
        if self._asked.cut is not None:
            vector = shortened(vector, self._asked.cut)
        if self._asked.base64:
            return packed(vector)
        return bytes(row.embedding) if self._asked.cut is None else written(vector)

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The reply: the engine's numbers as it wrote them, unless they had to be changed."""
        rows = (
            b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector)
            for index, vector in enumerate(self._vectors)
        )
        usage = {"prompt_tokens": self._tokens, "total_tokens": self._tokens}
        yield (
            b'{"id":%b,"object":"list","data":[' % self.json(self._id)
            + b",".join(rows)
            + b'],"model":%b,"usage":%b}' % (self.json(self._model), self.json(usage))
        )

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Inputs whose vectors came, and the tokens that the engine says it read for them."""
        units = Units(inputs=len(self._vectors), input_tokens=self._tokens)
        if self._ended == 0:
            return Usage(units, exact=False, by="gateway")
        whole = self._ended == len(self._spans)
        exact = whole and self._counted
        return Usage(units, exact=exact, by="engine" if self._counted else "estimate")


class ManyVectors(Vectors):
    """A reply that is large enough to be parsed and packed in a thread."""

    heavy = True
