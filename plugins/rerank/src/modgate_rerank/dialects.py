"""How engines spell reranking.

The home wire is cohere's v2: all documents, no `top_n`.  It may say `max_tokens_per_doc`, and
`truncation` false where a long pair is to be refused.  A reply may say `logits` true: then its
scores are no probabilities yet.  Of an engine that cannot cut a document the gateway cuts it, by
its own estimate of tokens.

Source: wire.md 8.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import orjson

from modgate.kit.families.infinity import Infinity, characters
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
    ModelLoading,
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
    """Any engine that speaks cohere's v2."""

    modality = "rerank"

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error; a pair that is too long for it by its text."""
        message = engine_message(body)
        if status in (400, 413, 422) and _TOO_LONG.search(message):
            return too_long()
        return super().refusal(status, headers, body)

    def encode(self) -> Outgoing:
        """One query, all documents."""
        self.one_query()
        return super().encode()

    def decode(self, event: Event) -> Iterable[Event]:
        """BadReply here, where the call may still be tried elsewhere, for what holds no scores."""
        if not {"results", "scores"} & event.fields().values.keys():
            raise BadReply("the engine's reply is not a list of scores")
        return super().decode(event)

    def texts(self) -> Sequence[str]:
        """The documents, cut as the client asked."""
        documents: Sequence[str] = self.call.body.member("documents", [])
        most = self.call.body.member("max_tokens_per_doc")
        return documents if most is None else [cut(text, most) for text in documents]

    def one_query(self) -> None:
        """Unsupported for a trip of several searches."""
        if is_shared(self.call):
            raise Unsupported(f"engines of family '{self.family}' take one query a call")


def too_long() -> Refused:
    """The query with a document is over the model's context."""
    reason = "the query and a document together are longer than this model's maximum context length"
    return Refused("documents", "context_length_exceeded", reason)


def reply(event: Event, rows: Sequence[Json], tokens: int | None, *, logits: bool = False) -> Event:
    """A reply of the home wire."""
    value: dict[str, Json] = {"results": rows}
    if tokens is not None:
        value["usage"] = {"total_tokens": tokens}
    if logits:
        value["logits"] = True
    return Event(orjson.dumps(value), headers=event.headers)


def listed(event: Event, score: str) -> list[Fields]:
    """The rows of a bare list, each with an index and a score; BadReply when it is none."""
    value = event.json()
    if not isinstance(value, list):
        raise BadReply("the engine's reply is not a list of scores")
    rows = list(Event(b'{"rows":%b}' % event.data).fields().each("rows", empty=True))
    for row in rows:
        row.integer("index", at_least=0)
        row.number(score)
    return rows


def ranked(rows: Iterable[Fields], score: str) -> list[Json]:
    """Rows of an engine as results of the home wire, without the documents that it repeats."""
    return [
        {"index": row.integer("index", at_least=0), "relevance_score": row.number(score)}
        for row in rows
    ]


class RerankVllm(RerankHome):
    """vLLM: cohere's wire with documents repeated, and pairs by `/score`."""

    family = "vllm"

    def encode(self) -> Outgoing:
        """Long pairs are cut at the model's length unless the client forbids it."""
        said: dict[str, Json] = {"model": self.served.name}
        if self.call.body.member("truncation", True):
            said["truncate_prompt_tokens"] = -1
        path = "/score" if is_shared(self.call) else PATH
        return Outgoing(path=path, body=self.call.body.drop("truncation").put(**said))

    def decode(self, event: Event) -> Iterable[Event]:
        """Results without their documents; of pairs, the scores in order."""
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
    """TEI: texts in, a bare list out, tokens in a header; at most `batch` texts a call."""

    items = "documents"

    def encode(self) -> Outgoing:
        """Probabilities, no texts; `truncate` is always said."""
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
        rows = ranked(listed(event, "score"), "score")
        return (reply(event, rows, tokens_read(event.headers)),)


class RerankInfinity(Infinity, RerankHome):
    """Infinity: no prefix in front of its paths; it always cuts long pairs.

    `in_characters`: its count may be one of characters (`kit/families/infinity.py`).
    """

    use = "reranking"
    in_characters: ClassVar[bool] = True
    path: ClassVar[str] = "/rerank"
    extra: ClassVar[Mapping[str, Json]] = {"return_documents": False, "raw_scores": False}
    logits: ClassVar[bool] = False

    def encode(self) -> Outgoing:
        """Only what it knows."""
        self.one_query()
        body = Body.of(
            model=self.served.name,
            query=self.call.body.member("query", ""),
            documents=self.texts(),
            **self.extra,
        )
        return Outgoing(path=self.path, body=body)

    def decode(self, event: Event) -> Iterable[Event]:
        """Results and its count, without one of characters: then the gateway estimates."""
        fields = event.fields()
        tokens = told(fields.values, "usage", "total_tokens")
        if self.in_characters and tokens == self._characters():
            tokens = None
        rows = ranked(fields.each("results", empty=True), "relevance_score")
        return (reply(event, rows, tokens, logits=self.logits),)

    def _characters(self) -> int:
        """Of all pairs."""
        texts = self.texts()
        return len(texts) * characters(self.call.body.member("query", "")) + sum(
            map(characters, texts)
        )


class RerankLlamaCpp(RerankInfinity):
    """llama.cpp's server, started with `--reranking`: its scores are always logits."""

    family = "llamacpp"
    path = "/v1/rerank"
    extra: ClassVar[Mapping[str, Json]] = {}
    logits = True
    in_characters = False

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A pair over its physical batch comes with status 500."""
        message = engine_message(body)
        if _TOO_LONG.search(message):
            return too_long()
        if status == 503 and "loading" in message.lower():
            return ModelLoading("the model is still loading")
        return super().refusal(status, headers, body)


class RerankSglang(RerankInfinity):
    """SGLang: a bare list, sorted; its tokens stand in each row."""

    family = "sglang"
    path = "/v1/rerank"
    extra: ClassVar[Mapping[str, Json]] = {"return_documents": False}

    def decode(self, event: Event) -> Iterable[Event]:
        """The list as results."""
        rows = listed(event, "score")
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
