"""How engines spell reranking.

The home wire is cohere's v2, always with all documents and without `top_n`.  A call may have two
more members: `max_tokens_per_doc` says where a document is to be cut, and `truncation` false that a
pair which is too long is to be refused.  A reply may say `logits` true: its scores are raw then,
and no probabilities yet.  For an engine that cannot cut a document the gateway cuts it, by its own
estimate of tokens.

Source: wire.md 8.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import orjson

from modgate.kit.families.infinity import Infinity, characters
from modgate.kit.families.llamacpp_absence import absence
from modgate.kit.families.tei import Tei, tokens_read
from modgate.kit.told import told
from modgate.plugin import (
    BadReply,
    Body,
    Dialect,
    Event,
    Fields,
    GatewayError,
    Json,
    Outgoing,
    Refused,
    Unsupported,
    engine_message,
)
from modgate_rerank.ask import cut
from modgate_rerank.batching import PATH, is_shared

_TOO_LONG = re.compile(
    r"too large to process|exceeds the available context|maximum context length|"
    r"longer than the (?:maximum model length|model's context length)|"
    r"must have less than \d+ tokens",
    re.IGNORECASE,
)


class RerankHome(Dialect):
    """Any engine that speaks cohere's v2; and what all dialects have in common."""

    modality = "rerank"

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error; that a pair is too long is told by its text."""
        message = engine_message(body)
        if status in (400, 413, 422) and _TOO_LONG.search(message):
            return too_long()
        return super().refusal(status, headers, body)

    def encode(self) -> Outgoing:
        """One query with all documents, as it is."""
        self.one_query()
        return super().encode()

    def decode(self, event: Event) -> Iterable[Event]:
        """The reply as it is.  BadReply for one without scores, while another engine may serve."""
        if not {"results", "scores"} & event.fields().values.keys():
            raise BadReply("the engine's reply is not a list of scores")
        return super().decode(event)

    def texts(self) -> Sequence[str]:
        """The documents, each cut where the client asked."""
        documents: Sequence[str] = self.call.body.member("documents", [])
        most = self.call.body.member("max_tokens_per_doc")
        return documents if most is None else [cut(text, most) for text in documents]

    def one_query(self) -> None:
        """Raise Unsupported for a call that holds several searches."""
        if is_shared(self.call):
            raise Unsupported(f"engines of family '{self.family}' take one query a call")


def too_long() -> Refused:
    """The error when the query with a document is longer than the model's context."""
    reason = "the query and a document together are longer than this model's maximum context length"
    return Refused("documents", "context_length_exceeded", reason)


def reply(event: Event, rows: Sequence[Json], tokens: int | None, *, logits: bool = False) -> Event:
    """A reply of the home wire, made of results.

    `tokens`: what the engine read, None when it does not say.  `logits`: the scores are raw.
    """
    value: dict[str, Json] = {"results": rows}
    if tokens is not None:
        value["usage"] = {"total_tokens": tokens}
    if logits:
        value["logits"] = True
    return Event(orjson.dumps(value), headers=event.headers)


def listed(event: Event) -> list[Fields]:
    """The rows of a reply that is a bare list.

    BadReply when it is none, or when a row has no index or no number under the name `score`.
    """
    value = event.json()
    if not isinstance(value, list):
        raise BadReply("the engine's reply is not a list of scores")
    rows = list(Event(b'{"rows":%b}' % event.data).fields().each("rows", empty=True))
    for row in rows:
        row.integer("index", at_least=0)
        row.number("score")
    return rows


def ranked(rows: Iterable[Fields], score: str) -> list[Json]:
    """An engine's rows as results of the home wire, without the documents that it repeats.

    `score`: the name of the member that holds the score.
    """
    return [
        {"index": row.integer("index", at_least=0), "relevance_score": row.number(score)}
        for row in rows
    ]


class RerankVllm(RerankHome):
    """vLLM: cohere's wire, and `/score` for the pairs of several searches."""

    family = "vllm"

    def encode(self) -> Outgoing:
        """Ask it to cut long pairs at the model's length, unless the client forbids that."""
        said: dict[str, Json] = {"model": self.served.name}
        if self.call.body.member("truncation", True):
            said["truncate_prompt_tokens"] = -1
        path = "/score" if is_shared(self.call) else PATH
        return Outgoing(path=path, body=self.call.body.drop("truncation").put(**said))

    def decode(self, event: Event) -> Iterable[Event]:
        """Results without their documents; or, of several searches, the scores in order."""
        fields = event.fields()
        tokens = told(fields.values, "usage", "total_tokens")
        if not is_shared(self.call):
            rows = ranked(fields.each("results", empty=True), "relevance_score")
            return (reply(event, rows, tokens),)
        pairs = sorted(ranked(fields.each("data"), "score"), key=lambda row: row["index"])
        if [row["index"] for row in pairs] != list(range(len(pairs))):
            raise BadReply("the engine did not score every pair once")
        value: dict[str, Json] = {"scores": [row["relevance_score"] for row in pairs]}
        if tokens is not None:
            value["usage"] = {"total_tokens": tokens}
        return (Event(orjson.dumps(value), headers=event.headers),)


class RerankTei(Tei, RerankHome):
    """TEI: the reply is a bare list, and its tokens are in a header."""

    items = "documents"

    def encode(self) -> Outgoing:
        """Ask for probabilities and no texts.  `truncate` is always said: its default varies."""
        self.one_query()
        body = Body.of(
            query=self.call.body.member("query", ""),
            texts=self.texts(),
            raw_scores=False,
            return_text=False,
            truncate=self.call.body.member("truncation", True),
        )
        return Outgoing(path="/rerank", body=body)

    def decode(self, event: Event) -> Iterable[Event]:
        """The list as results."""
        rows = ranked(listed(event), "score")
        return (reply(event, rows, tokens_read(event.headers)),)


class RerankPlain(RerankHome):
    """What engines have in common that take a model, a query and documents, and little else.

    They take one query a call.  They cut no documents where the client asks, so we do.

    `path`: where they take it.  `switches`: members that are always sent.  `logits`: their scores
    are raw.
    """

    path: ClassVar[str] = "/v1/rerank"
    switches: ClassVar[Mapping[str, Json]] = {}
    logits: ClassVar[bool] = False

    def encode(self) -> Outgoing:
        """Only the members that they know."""
        self.one_query()
        body = Body.of(
            model=self.served.name,
            query=self.call.body.member("query", ""),
            documents=self.texts(),
            **self.switches,
        )
        return Outgoing(path=self.path, body=body)

    def decode(self, event: Event) -> Iterable[Event]:
        """Cohere's results, with the tokens in `usage`."""
        fields = event.fields()
        rows = ranked(fields.each("results", empty=True), "relevance_score")
        return (reply(event, rows, self.tokens(fields), logits=self.logits),)

    def tokens(self, fields: Fields) -> int | None:
        """The engine's count of what it read; None leaves it to the gateway to estimate."""
        return told(fields.values, "usage", "total_tokens")


class RerankInfinity(Infinity, RerankPlain):
    """Infinity: no prefix in front of its paths; it always cuts long pairs."""

    use = "reranking"
    path = "/rerank"
    switches: ClassVar[Mapping[str, Json]] = {"return_documents": False, "raw_scores": False}

    def tokens(self, fields: Fields) -> int | None:
        """Its count, unless that is one of characters (`kit/families/infinity.py`)."""
        count = super().tokens(fields)
        return None if count == self._characters() else count

    def _characters(self) -> int:
        """The characters of all pairs: each document with the query."""
        texts = self.texts()
        return len(texts) * characters(self.call.body.member("query", "")) + sum(
            map(characters, texts)
        )


class RerankLlamaCpp(RerankPlain):
    """llama.cpp's server, started with `--reranking`: its scores are always logits."""

    family = "llamacpp"
    logits = True

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A pair that is too long for its physical batch comes with status 500."""
        message = engine_message(body)
        if _TOO_LONG.search(message):
            return too_long()
        return absence(status, message) or super().refusal(status, headers, body)


class RerankSglang(RerankPlain):
    """SGLang: the reply is a bare list, sorted, and each row has the tokens of its pair."""

    family = "sglang"
    switches: ClassVar[Mapping[str, Json]] = {"return_documents": False}

    def decode(self, event: Event) -> Iterable[Event]:
        """The list as results; tokens only when every row tells them."""
        rows = listed(event)
        counts = [told(row.values, "meta_info", "prompt_tokens") for row in rows]
        known = [count for count in counts if count is not None]
        tokens = sum(known) if rows and len(known) == len(rows) else None
        return (reply(event, ranked(rows, "score"), tokens),)


DIALECTS: tuple[type[Dialect], ...] = (
    RerankHome,
    RerankVllm,
    RerankSglang,
    RerankLlamaCpp,
    RerankTei,
    RerankInfinity,
)
