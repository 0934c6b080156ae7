"""What engines say when an input is too long."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import Body, Call, Overloaded, Refused, Served, UpstreamFailed
from modgate_embedding.dialects import EmbeddingHome

# Source: wire.md 1.4 and 6.2.
TEXTS = [
    (
        "This model's maximum context length is 512 tokens. However, you requested 600 tokens in "
        "the input for embedding generation. Please reduce the length of the input.",
        "512",
        "600 tokens",
    ),
    (
        "Input validation error: `inputs` must have less than 512 tokens. Given: 700",
        "512",
        "700 tokens",
    ),
    ("The prompt is longer than the maximum model length of 512.", "512", "a longer input"),
    ("exceeds the model's context length (8192 tokens)", "8192", "a longer input"),
]


def home() -> EmbeddingHome:
    call = Call(path="/v1/embeddings", body=Body.of(input=["a"]))
    return EmbeddingHome(call, Served(asked="m", model="m", name="engine/m"))


@pytest.mark.parametrize(("text", "most", "given"), TEXTS)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_overflow_is_said_in_the_words_that_sdks_match(
    status: int, text: str, most: str, given: str
) -> None:
    body = orjson.dumps({"error": {"message": text, "type": "BadRequestError", "code": status}})
    error = home().refusal(status, {}, body)

    assert isinstance(error, Refused)
    assert (error.field, error.code) == ("input", "context_length_exceeded")
    assert error.message.startswith(f"This model's maximum context length is {most} tokens. ")
    assert given in error.message


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (429, Overloaded), (500, UpstreamFailed)]
)
def test_other_refusals_keep_their_kind(status: int, kind: type[Exception]) -> None:
    assert type(home().refusal(status, {}, b'{"error":"no"}')) is kind


def test_a_refusal_is_passed_on_under_the_clients_name_of_the_model() -> None:
    error = home().refusal(400, {}, b'{"error":"engine/m takes no pictures"}')

    assert error.message == "m takes no pictures"
