"""Bad input that the head or the JSON of a request shows: who asks, for what, in which words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from oracle import requests as ask
from oracle.requests import ClientRequest

from junk.case import Case

Make = Callable[[int], ClientRequest]

CAP_BYTES = 64 * 1024
CHAT, PAGES, VECTORS = "/v1/chat/completions", "/v1/ocr", "/v1/embeddings"
NO_JSON = "We could not parse the JSON body of your request."


def chat(**extra: object) -> Make:
    """A chat with more members."""
    return lambda tag: ask.chat(tag, model="chat", **extra)


def with_body(make: Make, body: bytes) -> Make:
    """The same request with other bytes."""
    return lambda tag: replace(make(tag), body=body)


def changed(make: Make, **members: object) -> Make:
    """The same request with other members; `...` takes one away."""

    def made(tag: int) -> ClientRequest:
        request = make(tag)
        body = {**json.loads(request.body), **members}
        kept = {name: value for name, value in body.items() if value is not ...}
        return replace(request, body=json.dumps(kept).encode())

    return made


def pages(tag: int) -> ClientRequest:
    """An OCR request."""
    return ask.ocr(tag, model="pages")


def vectors(tag: int) -> ClientRequest:
    """An embeddings request."""
    return ask.embeddings(tag, model="vectors")


def ranks(tag: int) -> ClientRequest:
    """A rerank request in Cohere's words."""
    return ask.rerank(tag, model="ranks")


def voyage_ranks(tag: int) -> ClientRequest:
    """A rerank request in Voyage's words."""
    return ask.rerank(tag, model="ranks", body="voyage")


def voyage_vectors(tag: int) -> ClientRequest:
    """An embeddings request in Voyage's words."""
    return changed(vectors, truncation=True)(tag)


def speech(tag: int) -> ClientRequest:
    """A speech request."""
    return ask.speech(tag, model="voice")


def sound(tag: int) -> ClientRequest:
    """A transcription."""
    return ask.transcription(tag, model="ears")


def _json_cases() -> Iterator[Case]:
    broken = b'{"model": "chat", "messages": ['
    refused = {"status": 400, "said": (NO_JSON,)}
    where = {**refused, "said": (NO_JSON, "line 1, column 32: unexpected end of data")}
    yield Case(name="broken JSON", request=with_body(chat(), broken), **where)
    yield Case(name="JSON that is no UTF-8", request=with_body(chat(), b'{"a": "\xff"}'), **refused)
    deep = b'{"model": "chat", "messages": ' + b"[" * 20_000
    yield Case(name="JSON without an end to its depth", request=with_body(chat(), deep), **refused)
    text = "the body must be a JSON object"
    yield Case(
        name="JSON that is no object",
        request=with_body(chat(), b"[1]"),
        status=400,
        code="invalid_type",
        said=(text,),
    )
    yield Case(
        name="broken JSON for mistral",
        request=with_body(pages, broken),
        status=422,
        envelope="mistral",
        said=(NO_JSON,),
    )
    yield Case(
        name="broken JSON for cohere",
        request=with_body(ranks, broken),
        status=400,
        envelope="cohere",
        said=(NO_JSON,),
    )
    for name, make in (("rerank", voyage_ranks), ("embeddings", vectors)):
        yield Case(
            name=f"broken JSON on the shared {name} path",
            request=with_body(make, broken),
            status=400,
            envelope="superset",
            said=(NO_JSON,),
        )


def _type_cases() -> Iterator[Case]:
    wrong = {"status": 400, "code": "invalid_type"}
    yield Case(
        name="a number for messages", request=changed(chat(), messages=7), param="messages", **wrong
    )
    yield Case(
        name="a string for temperature",
        request=chat(temperature="warm"),
        param="temperature",
        **wrong,
    )
    yield Case(
        name="an object for model", request=changed(chat(), model={}), param="model", **wrong
    )
    yield Case(
        name="a role that is none",
        request=changed(chat(), messages=[{"role": "boss", "content": "x"}]),
        status=400,
        code="invalid_value",
        param="messages[0].role",
    )
    yield Case(
        name="a number for input",
        request=changed(vectors, input=7),
        envelope="shared",
        param="input",
        **wrong,
    )
    yield Case(
        name="a list for speech", request=changed(speech, input=["x"]), param="input", **wrong
    )
    yield Case(
        name="a string for document",
        request=changed(pages, document="x"),
        status=422,
        envelope="mistral",
        param="document",
    )
    yield Case(
        name="a string for documents, cohere",
        request=changed(ranks, documents="x"),
        status=400,
        envelope="cohere",
        said=("documents",),
    )
    yield Case(
        name="a string for documents, voyage",
        request=changed(voyage_ranks, documents="x"),
        status=400,
        envelope="voyage",
        said=("documents",),
    )
    yield Case(
        name="an object for input, voyage",
        request=changed(voyage_vectors, input={}),
        status=400,
        envelope="voyage",
        said=("input",),
    )
    strange = chat()
    yield Case(
        name="a deadline that is no number",
        request=lambda tag: strange(tag).with_headers(x_request_timeout="\u00c2\u00b2"),
        status=200,
    )
    for name in ("max_tokens", "max_completion_tokens"):
        yield Case(
            name=f"{name}=2**64",
            request=chat(**{name: 2**64}),
            status=400,
            param=name,
            code="integer_above_max_value",
        )
    for make, name, envelope in (
        (chat(), "seed", "openai"),
        (vectors, "dimensions", "shared"),
    ):
        yield Case(
            name=f"{name} beyond 64 bits",
            envelope=envelope,
            request=changed(make, **{name: 10**20}),
            status=400,
            param=name,
            code="integer_above_max_value",
        )
    yield Case(
        name="documents cut beyond 64 bits",
        request=changed(ranks, max_tokens_per_doc=10**20),
        status=400,
        envelope="cohere",
        said=("max_tokens_per_doc",),
    )
    yield Case(
        name="n=1000", request=chat(n=1000), status=400, param="n", code="integer_above_max_value"
    )


def _accepted_cases() -> Iterator[Case]:
    nulls = dict.fromkeys(
        (
            "temperature",
            "top_p",
            "n",
            "stop",
            "stream",
            "stream_options",
            "max_tokens",
            "tools",
            "tool_choice",
            "response_format",
            "seed",
            "logprobs",
            "top_logprobs",
            "user",
        )
    )
    yield Case(name="null for every optional field", request=chat(**nulls), status=200)
    strange = {"verbosity": "low", "store": True, "x_unknown": {"a": [1]}}
    yield Case(name="unknown fields", request=chat(**strange), status=200)
    yield Case(
        name="null in embeddings",
        request=changed(vectors, dimensions=None, encoding_format=None, user=None),
        status=200,
    )
    yield Case(name="null in ocr", request=changed(pages, pages=None, image_limit=None), status=200)
    yield Case(name="unknown fields in rerank", request=changed(ranks, x_unknown=1), status=200)


def _route_cases() -> Iterator[Case]:
    unknown = {"status": 404, "code": "model_not_found", "param": "model"}
    yield Case(
        name="unknown model",
        request=changed(chat(), model="nobody"),
        said=("`nobody`", "chat, eyes"),
        **unknown,
    )
    yield Case(
        name="unknown model for mistral",
        request=changed(pages, model="nobody"),
        envelope="mistral",
        said=("`nobody`", "pages"),
        **unknown,
    )
    yield Case(
        name="unknown model for cohere",
        request=changed(ranks, model="nobody"),
        status=404,
        envelope="cohere",
        said=("`nobody`", "ranks"),
    )
    yield Case(
        name="unknown model for embeddings in nobody's own words",
        request=changed(vectors, model="nobody"),
        envelope="shared",
        said=("`nobody`", "vectors"),
        **unknown,
    )
    yield Case(
        name="unknown model for voyage",
        request=changed(voyage_vectors, model="nobody"),
        status=404,
        envelope="voyage",
        said=("`nobody`", "vectors"),
    )
    yield Case(
        name="a model of another modality",
        request=changed(chat(), model="vectors"),
        status=400,
        code="unsupported_endpoint",
        param="model",
        said=(VECTORS,),
    )
    yield Case(
        name="no model",
        request=changed(chat(), model=...),
        status=400,
        code="missing_required_parameter",
        param="model",
    )
    for path, make, envelope in (
        (CHAT, chat(), "openai"),
        (VECTORS, vectors, "superset"),
        (PAGES, pages, "mistral"),
    ):
        yield Case(
            name=f"wrong method on {path}",
            envelope=envelope,
            request=lambda tag, make=make: replace(make(tag), method="GET", body=b""),
            status=405,
            code="method_not_supported",
            headers={"allow": "POST"},
        )
    yield Case(
        name="an unknown path",
        request=lambda tag: replace(chat()(tag), path="/v1/nothing"),
        status=404,
        code="unknown_url",
    )
    yield Case(
        name="a body of another type",
        request=lambda tag: replace(chat()(tag), content_type="text/plain"),
        status=415,
        code="unsupported_media_type",
    )


def _key_cases() -> Iterator[Case]:
    asks = {"www-authenticate": "Bearer"}
    for name, make, envelope in (
        ("chat", chat(), "openai"),
        ("ocr", pages, "mistral"),
        ("rerank", ranks, "cohere"),
        ("embeddings", vectors, "superset"),
    ):
        shape = {"request": make, "status": 401, "headers": asks, "envelope": envelope}
        yield Case(name=f"no key, {name}", key="none", said=("an API key is needed",), **shape)
        bad = {**shape, "code": "invalid_api_key"}
        yield Case(name=f"a bad key, {name}", key="bad", said=("not valid",), slowed=True, **bad)
        yield Case(name=f"two keys, {name}", key="two", said=("disagree",), **bad)


def _size_cases() -> Iterator[Case]:
    def large(tag: int) -> ClientRequest:
        return ask.chat(tag, model="chat", text="x" * (2 * CAP_BYTES))

    def upload(tag: int) -> ClientRequest:
        return ask.transcription(tag, model="ears", duration_ms=8_000)

    over = {"status": 413, "code": "request_too_large"}
    yield Case(name="a body over the cap", request=large, **over)
    yield Case(name="a body over the cap by its head", request=large, how="head", **over)
    yield Case(name="a body over the cap in chunks", request=large, how="chunked", **over)
    yield Case(name="an upload over the cap", request=upload, **over)
    yield Case(name="an upload over the cap in chunks", request=upload, how="chunked", **over)


def plain_cases() -> list[Case]:
    """All of these."""
    return [
        *_json_cases(),
        *_type_cases(),
        *_accepted_cases(),
        *_route_cases(),
        *_key_cases(),
        *_size_cases(),
    ]
