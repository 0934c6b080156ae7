"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

from modgate.plugin import Json, JsonObject, Sample, Units

PATH = "/v1/embeddings"
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


def _reply(tokens: int, *vectors: Json) -> JsonObject:
    rows = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
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
)
