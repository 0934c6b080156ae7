"""Joining the replies to a request's slices: all scores, sorted, the best of them in the reply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import exp

from modgate.kit.told import told
from modgate.plugin import BadReply, Event, Fields, Json, JsonObject, Outcome, Relay, Units, Usage
from modgate_rerank.ask import Asked

ROUNDING = 1e-3  # how far a score in half precision may lie outside 0 to 1


def sigmoid(logit: float) -> float:
    """The probability of a logit, without overflow for large ones.  Source: wire.md B5."""
    if logit >= 0:
        return 1.0 / (1.0 + exp(-min(logit, 700.0)))
    small = exp(max(logit, -700.0))
    return small / (1.0 + small)


def probability(score: float) -> float:
    """A score that is a probability already, rounded into 0 to 1.

    BadReply when it lies further outside: then the model answers logits.  Those of its scores that
    happen to lie inside must not pass for probabilities.
    """
    if not -ROUNDING <= score <= 1.0 + ROUNDING:
        raise BadReply("the engine's scores are not from 0 to 1; set 'logits' of its model")
    return min(1.0, max(0.0, score))


class Ranked(Relay):
    """The reply to one request, over one or several calls.

    `bounds`: where each slice of documents starts, and the end.  `logits`: the model's scores are
    raw, whatever a reply says.  The tokens of a slice are counted by its engine where that tells
    them, and are estimated otherwise.
    """

    def __init__(
        self, asked: Asked, bounds: Sequence[int], *, model: str, reply_id: str, logits: bool
    ) -> None:
        self._asked = asked
        self._spans = list(pairwise(bounds))
        self._model = model
        self._id = reply_id
        self._logits = logits
        self._scores: dict[int, float] = {}  # by document
        self._tokens: dict[int, int | None] = {}  # by slice; None where the engine tells none
        self._shared = False  # some tokens are a share of what a trip cost

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """The scores of one slice.  BadReply unless every document has exactly one."""
        start, end = self._spans[index]
        fields = event.fields()
        logits = self._logits or fields.flag("logits", False)
        scores: dict[int, float] = {}
        for row in fields.each("results", at_most=end - start):
            at = row.integer("index", at_least=0, at_most=end - start - 1)
            score = row.number("relevance_score")
            scores[start + at] = sigmoid(score) if logits else probability(score)
        if len(scores) != end - start:
            raise BadReply("the engine did not score every document once")
        self._tokens[index], shared = read_tokens(fields)
        self._scores.update(scores)
        self._shared = self._shared or shared
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The reply, in the words of the wire that the request came in."""
        ranked = sorted(self._scores.items(), key=lambda pair: (-pair[1], pair[0]))
        rows = [self._row(at, score) for at, score in ranked[: self._asked.top]]
        yield self.json(self._voyage(rows) if self._asked.voyage else self._cohere(rows))

    def _row(self, at: int, score: float) -> JsonObject:
        row: JsonObject = {"index": at, "relevance_score": score}
        if self._asked.echo:
            asked = self._asked
            row["document"] = asked.documents[at] if asked.voyage else asked.given[at]
        return row

    def _voyage(self, rows: list[JsonObject]) -> Json:
        usage = {"total_tokens": self._counted()[0]}
        return {"object": "list", "data": rows, "model": self._model, "usage": usage}

    def _cohere(self, rows: list[JsonObject]) -> Json:
        tokens = self._counted()[0]
        meta = {
            "api_version": {"version": self._asked.version},
            "billed_units": {"search_units": self._asked.search_units},
            "tokens": {"input_tokens": tokens},
        }
        reply: JsonObject = {"id": self._id, "results": rows, "meta": meta}
        if self._asked.version == "1":
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            reply |= {"object": "list", "model": self._model, "usage": usage}
        return reply

    def _counted(self) -> tuple[int, bool]:
        """The tokens so far, and whether engines counted all of them."""
        total, known = 0, True
        for index, tokens in self._tokens.items():
            if tokens is None:
                known = False
                total += self._asked.tokens(*self._spans[index])
            else:
                total += tokens
        return total, known

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The documents that were scored, and their tokens; search units only of a whole search."""
        whole = len(self._tokens) == len(self._spans)
        tokens, known = self._counted()
        units = Units(
            documents=len(self._scores),
            input_tokens=tokens,
            search_units=self._asked.search_units if whole else 0,
        )
        if self._shared or not known:
            return Usage(units, exact=False, by="estimate")
        return Usage(units, exact=whole, by="engine")


def read_tokens(reply: Fields) -> tuple[int | None, bool]:
    """The engine's count of tokens, and whether it is this search's share of a shared call's.

    It is read where cohere writes it (`meta.tokens`), or where others do (`usage`).  None when
    there is none.  0 counts as none, because no text is empty; only a share can be 0.
    """
    if tokens := told(reply.values, "meta", "tokens", "input_tokens"):
        return tokens, False
    tokens = told(reply.values, "usage", "total_tokens")
    shared = tokens is not None and reply.inner("usage").flag("apportioned", False)
    return (tokens if tokens or shared else None), shared
