"""Reading the four bodies: cohere v1 and v2, jina, voyage (wire.md 8.1)."""

from __future__ import annotations

from dataclasses import dataclass

from modgate.plugin import Fields, Json, Request
from modgate_rerank.config import Config

DOCUMENT_TOKENS = 500  # a longer document counts as several (wire.md 8.1)
DOCUMENTS_PER_UNIT = 100
TOKEN_BYTES = 3  # estimate without a tokenizer: ceil(utf8 bytes / 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A rerank request, whatever words it came in.  `top` None = all."""

    query: str
    documents: tuple[str, ...]
    top: int | None
    echo: bool
    voyage: bool
    version: str
    max_tokens_per_doc: int | None

    @property
    def tokens(self) -> int:
        """An estimate of what the engine reads: each document together with the query."""
        query = tokens_of(self.query)
        return sum(tokens_of(text) + query for text in self.documents)

    @property
    def search_units(self) -> int:
        """Billed units of a search: documents in hundreds, long documents counted several times."""
        counted = sum(max(1, -(-tokens_of(text) // DOCUMENT_TOKENS)) for text in self.documents)
        return -(-counted // DOCUMENTS_PER_UNIT)


def tokens_of(text: str) -> int:
    """Estimated tokens of a text."""
    return -(-len(text.encode()) // TOKEN_BYTES)


def read(request: Request, config: Config) -> Asked:
    """The request's fields, bounded; Refused names the one that is wrong."""
    fields = request.fields()
    voyage = request.surface.name == "voyage"
    given = fields.items("documents", at_most=config.max_documents)
    return Asked(
        query=fields.text("query", at_most=config.max_characters),
        documents=tuple(_document(fields, i, each, config) for i, each in enumerate(given)),
        top=fields.integer("top_k" if voyage else "top_n", None, at_least=1),
        echo=fields.flag("return_documents", False),
        voyage=voyage,
        version="2" if request.path.startswith("/v2") else "1",
        max_tokens_per_doc=fields.integer("max_tokens_per_doc", None, at_least=1),
    )


def _document(fields: Fields, index: int, value: Json, config: Config) -> str:
    """A document: a string, or an object with a `text` (cohere v1, jina)."""
    name = f"documents[{index}]"
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise fields.wrong(name, "a string, or an object with a 'text'")
    if not text:
        raise fields.fault(name, "invalid_value", f"'{name}' must not be empty")
    if len(text) > config.max_characters:
        reason = f"'{name}' has more than {config.max_characters} characters"
        raise fields.fault(name, "string_above_max_length", reason)
    return text
