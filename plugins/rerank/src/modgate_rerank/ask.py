"""Reading what clients send: bodies of cohere v1 and v2, jina and voyage.

Source: wire.md 8.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from modgate.kit.tokens import BYTES_PER_TOKEN, estimate
from modgate.plugin import Fields, Json, Refused, Request
from modgate_rerank.config import Config, Facts

# Source: wire.md 8.1, how cohere bills a search.
DOCUMENT_TOKENS = 500  # a longer document counts as several
DOCUMENTS_PER_UNIT = 100
FIELDS_AT_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A rerank request, whichever wire it came in.

    `documents`: the text of each, which is ranked.
    `given`: each as the reply shows it; empty when the reply shows none.
    `top`: how many the reply has; None is all.
    `echo`: the reply shows the documents.
    `voyage`, `version`: which wire the reply is written in: voyage's, or cohere's `1` or `2`.
    `max_tokens_per_doc`: where a document is cut.
    `read_at_most`: how many tokens of a document count: up to where it is cut, or where the model
    stops reading.
    `truncation`: False when a pair that is too long is to be refused, and not cut.
    """

    query: str
    documents: tuple[str, ...]
    given: tuple[Json, ...]
    top: int | None
    echo: bool
    voyage: bool
    version: str
    max_tokens_per_doc: int | None
    read_at_most: int | None
    truncation: bool

    def tokens(self, start: int, end: int) -> int:
        """Estimated tokens of the documents from `start` to `end`, each together with the query."""
        query = estimate(self.query)
        return sum(self._tokens_of(text) + query for text in self.documents[start:end])

    @property
    def search_units(self) -> int:
        """What cohere bills: hundreds of documents, where a long one counts several times."""
        counted = sum(-(-self._tokens_of(text) // DOCUMENT_TOKENS) for text in self.documents)
        return -(-counted // DOCUMENTS_PER_UNIT)

    def _tokens_of(self, text: str) -> int:
        tokens = estimate(text)
        return tokens if self.read_at_most is None else min(tokens, self.read_at_most)


def cut(text: str, tokens: int) -> str:
    """The beginning of a text, of at most so many estimated tokens; no character is split."""
    most = tokens * BYTES_PER_TOKEN
    data = text.encode("utf-8", "surrogatepass")
    return text if len(data) <= most else data[:most].decode("utf-8", "ignore")


def read(request: Request, config: Config, facts: Facts) -> Asked:
    """Read a request.  Refused names the field that is missing, wrong or too long."""
    fields = request.fields()
    voyage = request.surface.name == "voyage"
    version = "2" if request.path.startswith("/v2") else "1"
    given = fields.items("documents", at_most=config.max_documents)
    echo = fields.flag("return_documents", False) and version == "1"
    names = _rank_fields(fields)
    most = fields.integer("max_tokens_per_doc", facts.max_tokens_per_doc, at_least=1)
    bounds = [each for each in (most, facts.max_tokens) if each is not None]
    return Asked(
        query=_query(fields, config),
        documents=tuple(_document(fields, i, each, names, config) for i, each in enumerate(given)),
        given=tuple(_given(fields, i, each) for i, each in enumerate(given)) if echo else (),
        top=_top(fields, voyage),
        echo=echo,
        voyage=voyage,
        version=version,
        max_tokens_per_doc=most,
        read_at_most=min(bounds, default=None),
        truncation=fields.flag("truncation", True),
    )


def _top(fields: Fields, voyage: bool) -> int | None:
    """How many documents are wanted: `top_n`, or before that `top_k` of voyage.  None is all."""
    top = fields.integer("top_n", None, at_least=1)
    return fields.integer("top_k", top, at_least=1) if voyage else top


def _query(fields: Fields, config: Config) -> str:
    """The query: a string, or jina's `{"text": "..."}`."""
    value = fields.get("query")
    if not isinstance(value, dict):
        return fields.text("query", at_most=config.max_characters)
    if value.get("text") is None or value.get("image") is not None:
        raise _no_text("query", value)
    return fields.inner("query").text("text", at_most=config.max_characters)


def _rank_fields(fields: Fields) -> Sequence[str]:
    """The members of a document that are ranked, in order; clients of cohere v1 name them."""
    if "rank_fields" not in fields:
        return ("text",)
    return fields.texts("rank_fields", at_most=FIELDS_AT_MOST)


def _document(fields: Fields, index: int, value: Json, names: Sequence[str], config: Config) -> str:
    """The text of a document: a string, or an object's ranked members, a line each."""
    name = f"documents[{index}]"
    text = value
    if isinstance(value, dict):
        texts = [_shown(value[each]) for each in names if value.get(each) is not None]
        if not texts:
            raise _no_text(name, value)
        text = "\n".join(texts)
    if not isinstance(text, str):
        raise fields.wrong(name, "a string, or an object with a 'text'")
    if not text:
        raise fields.fault(name, "invalid_value", f"'{name}' must not be empty")
    if len(text) > config.max_characters:
        reason = f"'{name}' has more than {config.max_characters} characters"
        raise fields.fault(name, "string_above_max_length", reason)
    return text


def _given(fields: Fields, index: int, value: Json) -> Json:
    """A document as the reply shows it.

    It is encoded now, because one that cannot be encoded can still be refused.
    """
    if not isinstance(value, dict):
        return {"text": value}
    name = f"documents[{index}]"
    try:
        return orjson.Fragment(orjson.dumps(value))
    except TypeError:
        reason = f"'{name}' is nested too deeply"
        raise fields.fault(name, "invalid_value", reason) from None


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else str(value)


def _no_text(name: str, value: dict[str, Json]) -> Refused:
    """The error for an object without a text; that it is a picture is said."""
    if value.get("image") is not None:
        where = f"{name}.image"
        return Refused(where, "unsupported_input", f"'{where}': this model ranks text only")
    reason = f"'{name}' must be a string, or an object with a 'text' or one of the 'rank_fields'"
    return Refused(name, "invalid_type", reason)
