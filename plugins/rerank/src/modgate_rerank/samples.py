"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

from modgate.plugin import Sample, Units

QUERY = "What is the capital of France?"
DOCUMENTS = ["Berlin is in Germany.", "Paris is the capital of France.", "Bananas are yellow."]

_ENGINE = (
    b'{"results":[{"index":0,"relevance_score":0.2},{"index":1,"relevance_score":0.9},'
    b'{"index":2,"relevance_score":0.1}],"meta":{"tokens":{"input_tokens":42}}}'
)
_USAGE = Units(documents=3, input_tokens=42, search_units=1)
_BODY = {"model": "m", "query": QUERY, "documents": DOCUMENTS}
_VOYAGE = {
    "object": "list",
    "data": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}],
    "model": "m",
    "usage": {"total_tokens": 42},
}


_LOGITS = (
    b'{"results":[{"index":0,"relevance_score":0.0},{"index":1,"relevance_score":800.5},'
    b'{"index":2,"relevance_score":-800.5}],"usage":{"total_tokens":42},"logits":true}'
)


def _paired(path: str) -> tuple[Sample, ...]:
    """Two searches that may share a call."""
    other = {**_BODY, "query": "Which fruit is yellow?", "top_n": 1}
    facts = {"pairs": True}
    return (
        Sample(path=path, json=_BODY, facts=facts, upstream=[_LOGITS], usage=_USAGE),
        Sample(path=path, json=other, facts=facts, upstream=[_ENGINE], usage=_USAGE),
    )


def _samples(path: str) -> tuple[Sample, ...]:
    top = {**_BODY, "top_n": 2}
    echo = {**_BODY, "return_documents": True}
    plain = Sample(path=path, json=_BODY, upstream=[_ENGINE], usage=_USAGE)
    cut = Sample(path=path, json=top, upstream=[_ENGINE], usage=_USAGE)
    if path.startswith("/v2"):
        objects = {**_BODY, "documents": [{"text": text} for text in DOCUMENTS]}
        return plain, cut, Sample(path=path, json=objects, upstream=[_ENGINE], usage=_USAGE)
    voyage = {**_BODY, "top_k": 2, "truncation": True}
    shaped = Sample(path=path, json=voyage, upstream=[_ENGINE], reply=_VOYAGE, usage=_USAGE)
    return plain, cut, Sample(path=path, json=echo, upstream=[_ENGINE], usage=_USAGE), shaped


SAMPLES = tuple(
    sample
    for path in ("/v2/rerank", "/v1/rerank", "/rerank", "/v1/reranking")
    for sample in (*_samples(path), *_paired(path))
)
