"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

from modgate.plugin import Json, JsonObject, Sample, Units

PATH, COHERE, OLDER = "/v1/embeddings", "/v2/embed", "/v1/embed"
ID = "embd-" + "0" * 32  # of the request id that samples are shaped with

_ONE = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,-0.5]}],'
    b'"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}'
)
_TWO = (  # out of order, as an engine may answer
    b'{"object":"list","data":[{"object":"embedding","index":1,"embedding":[0.0,1.0]},'
    b'{"object":"embedding","index":0,"embedding":[1.0,-0.5]}],'
    b'"model":"m","usage":{"prompt_tokens":9,"total_tokens":9}}'
)
_SILENT = b'{"data":[{"index":0,"embedding":[0.25,0.5]}]}'
_LONG = (
    b'{"data":[{"index":0,"embedding":[3.0,4.0,12.0,84.0]}],'
    b'"usage":{"prompt_tokens":4,"total_tokens":4}}'
)


_EIGHT = (
    b'{"data":[{"index":0,"embedding":[0.5,-0.5,0.5,0,0.5,-0.0,-0.5,0]}],'
    b'"usage":{"prompt_tokens":4,"total_tokens":4}}'
)
_EIGHTS = (
    b'{"data":[{"index":0,"embedding":[0.5,-0.5,0.5,0,0.5,-0.0,-0.5,0]},'
    b'{"index":1,"embedding":[1,0,0,0,0,0,0,0]}],"usage":{"prompt_tokens":7,"total_tokens":7}}'
)


def _cohere(texts: list[str], tokens: int, *, version: str = "2", **forms: Json) -> JsonObject:
    meta = {"api_version": {"version": version}, "billed_units": {"input_tokens": tokens}}
    return {
        "id": ID,
        "response_type": "embeddings_by_type",
        "embeddings": forms,
        "texts": texts,
        "meta": meta,
    }


def _older(texts: list[str], tokens: int, *vectors: Json) -> JsonObject:
    meta = {"api_version": {"version": "1"}, "billed_units": {"input_tokens": tokens}}
    kind = "embeddings_floats"
    said = {"id": ID, "response_type": kind, "embeddings": list(vectors)}
    return {**said, "texts": texts, "meta": meta}


def _reply(tokens: int, *vectors: Json) -> JsonObject:
    rows = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    return {"id": ID, "object": "list", "data": rows, "model": "m", "usage": usage}


SAMPLES = (
    Sample(
        path=PATH,
        json={"model": "m", "input": "The quick brown fox"},
        upstream=[_ONE],
        reply=_reply(5, [1.0, -0.5]),
        usage=Units(inputs=1, input_tokens=5),
    ),
    Sample(  # what the openai and voyage SDKs send
        path=PATH,
        json={"model": "m", "input": ["The quick brown fox", "jumps"], "encoding_format": "base64"},
        upstream=[_TWO],
        reply=_reply(9, "AACAPwAAAL8=", "AAAAAAAAgD8="),
        usage=Units(inputs=2, input_tokens=9),
    ),
    Sample(  # voyage: a prefix by input type, and a shorter vector
        path=PATH,
        json={
            "model": "m",
            "input": ["fox"],
            "input_type": "query",
            "truncation": True,
            "output_dimension": 2,
            "output_dtype": "float",
        },
        facts={"dimensions": 4, "matryoshka": True, "prefixes": {"query": "query: "}},
        upstream=[_LONG],
        reply=_reply(4, [0.6, 0.8]),
        usage=Units(inputs=1, input_tokens=4),
    ),
    Sample(  # more inputs than the engine takes at once
        path=PATH,
        json={"model": "m", "input": ["a fox", "a dog", "a hen"], "user": "u-1"},
        facts={"batch": 2},
        upstream=[_TWO, _ONE],
        reply=_reply(14, [1.0, -0.5], [0.0, 1.0], [1.0, -0.5]),
        usage=Units(inputs=3, input_tokens=14),
    ),
    Sample(  # token numbers in the model's own vocabulary
        path=PATH,
        json={"model": "m", "input": [[464, 2068, 7586], [9, 8]], "user": "u-1"},
        facts={"token_ids": "native", "max_tokens": 512},
        upstream=[_TWO],
        reply=_reply(9, [1.0, -0.5], [0.0, 1.0]),
        usage=Units(inputs=2, input_tokens=9),
    ),
    Sample(  # token numbers in OpenAI's, as langchain sends them
        path=PATH,
        json={"model": "m", "input": [[15339, 1917]]},
        facts={"token_ids": "openai-cl100k"},
        answers=[["hello world"]],
        upstream=[_ONE],
        reply=_reply(5, [1.0, -0.5]),
        usage=Units(inputs=1, input_tokens=5),
    ),
    Sample(  # an engine that counts nothing: 10 bytes are estimated
        path=PATH,
        json={"model": "m", "input": "a fox jump"},
        upstream=[_SILENT],
        reply=_reply(4, [0.25, 0.5]),
        usage=Units(inputs=1, input_tokens=4),
        exact=False,
    ),
    Sample(  # jina: objects, a task that is a prefix, and bits
        path=PATH,
        json={"model": "m", "input": [{"text": "fox"}], "task": "x", "embedding_type": "ubinary"},
        facts={"prefixes": {"x": "x: "}},
        upstream=[_EIGHT],
        reply=_reply(4, [0b10111101]),
        usage=Units(inputs=1, input_tokens=4),
    ),
    Sample(  # cohere
        path=COHERE,
        json={"model": "m", "texts": ["a fox"], "input_type": "search_query"},
        upstream=[_ONE],
        reply=_cohere(["a fox"], 5, float=[[1.0, -0.5]]),
        usage=Units(inputs=1, input_tokens=5),
    ),
    Sample(  # cohere, mixed parts, and each form once
        path=COHERE,
        json={
            "model": "m",
            "inputs": [
                {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "fox"}]},
                {"content": [{"type": "text", "text": "a dog"}]},
            ],
            "input_type": "search_document",
            "embedding_types": ["float", "int8", "uint8", "binary", "ubinary", "base64"],
        },
        facts={"int8_bound": 0.5, "dimensions": 8, "prefixes": {"document": "passage: "}},
        upstream=[_EIGHTS],
        reply=_cohere(
            ["a\nfox", "a dog"],
            7,
            float=[[0.5, -0.5, 0.5, 0, 0.5, -0.0, -0.5, 0], [1, 0, 0, 0, 0, 0, 0, 0]],
            int8=[[127, -127, 127, 0, 127, 0, -127, 0], [127, 0, 0, 0, 0, 0, 0, 0]],
            uint8=[[255, 1, 255, 128, 255, 128, 1, 128], [255, *[128] * 7]],
            binary=[[0b10111101 - 128], [127]],
            ubinary=[[0b10111101], [255]],
            base64=[
                "AAAAPwAAAL8AAAA/AAAAAAAAAD8AAACAAAAAvwAAAAA=",
                "AACAPwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ],
        ),
        usage=Units(inputs=2, input_tokens=7),
    ),
    Sample(  # cohere, cut on the left if need be
        path=COHERE,
        json={
            "model": "m",
            "texts": ["a fox", "jumps"],
            "input_type": "clustering",
            "truncate": "START",
            "output_dimension": 2,
        },
        upstream=[_TWO],
        reply=_cohere(["a fox", "jumps"], 9, float=[[1.0, -0.5], [0.0, 1.0]]),
        usage=Units(inputs=2, input_tokens=9),
    ),
    Sample(  # cohere's older client: no forms
        path=OLDER,
        json={"model": "m", "texts": ["a fox", "jumps"]},
        upstream=[_TWO],
        reply=_older(["a fox", "jumps"], 9, [1.0, -0.5], [0.0, 1.0]),
        usage=Units(inputs=2, input_tokens=9),
    ),
    Sample(  # the same again: it may share a trip
        path=OLDER,
        json={"model": "m", "texts": ["a hen"]},
        upstream=[_ONE],
        reply=_older(["a hen"], 5, [1.0, -0.5]),
        usage=Units(inputs=1, input_tokens=5),
    ),
    Sample(  # forms, from the older client
        path=OLDER,
        json={
            "model": "m",
            "texts": ["a hen"],
            "input_type": "search_query",
            "embedding_types": ["float"],
        },
        upstream=[_ONE],
        reply=_cohere(["a hen"], 5, version="1", float=[[1.0, -0.5]]),
        usage=Units(inputs=1, input_tokens=5),
    ),
    Sample(  # the same again: it may share a trip
        path=COHERE,
        json={
            "model": "m",
            "texts": ["a hen"],
            "input_type": "clustering",
            "truncate": "START",
            "output_dimension": 2,
        },
        upstream=[_ONE],
        reply=_cohere(["a hen"], 5, float=[[1.0, -0.5]]),
        usage=Units(inputs=1, input_tokens=5),
    ),
)
