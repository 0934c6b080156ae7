"""Every engine's way to say that a prompt is too long, in the words that SDKs match on."""

from __future__ import annotations

import pytest

from modgate.kit.chat_overflow import overflow

FRONT = "This model's maximum context length is 4096 tokens. However, "
LONG = f"{FRONT}your messages resulted in 5012 tokens. Please reduce the length of the messages."
MANY = (
    f"{FRONT}your messages resulted in at least 4097 tokens. "
    "Please reduce the length of the messages."
)
LEAST = (
    f"{FRONT}you requested at least 4097 tokens (at least 97 in the messages, 4000 in the "
    "completion). Please reduce the length of the messages or completion."
)
BOTH = (
    f"{FRONT}you requested 4500 tokens (500 in the messages, 4000 in the completion). "
    "Please reduce the length of the messages or completion."
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # LM Studio, which says it as an event of a stream with status 200
        (
            "Trying to keep the first 5012 tokens when context the overflows. However, the model "
            "is loaded with context length of only 4096 tokens, which is not enough. Try to load "
            "the model with a larger context length, or provide a shorter input",
            LONG,
        ),
        # TGI
        (
            "Input validation error: `inputs` must have less than 4096 tokens. Given: 5012",
            LONG,
        ),
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: "
            "500 `inputs` tokens and 4000 `max_new_tokens`",
            BOTH,
        ),
        # vLLM
        (f"{FRONT}your request has 5012 input tokens. Please reduce it.", LONG),
        (f"{FRONT}it was 5012.", LONG),
        (
            f"{FRONT}you requested 0 output tokens and your prompt contains at least 5012 input "
            "tokens, for a total of at least 5012 tokens. Please reduce the length of the prompt.",
            LONG.replace("5012", "at least 5012"),
        ),
        (
            f"{FRONT}you requested 64 output tokens and your prompt contains 10000 input tokens, "
            "for a total of 10064 tokens. Please reduce the length of the input prompt.",
            LONG.replace("5012", "10000"),
        ),
        (
            f"{FRONT}you requested 4000 output tokens and your prompt contains at least 97 input "
            "tokens, for a total of at least 4097 tokens. Please reduce the length of the prompt.",
            LEAST,
        ),
        (
            f"{FRONT}you requested 4000 output tokens and your prompt contains 99999 characters "
            "(more than 960 characters, which is the upper bound for 96 input tokens).",
            LEAST,
        ),
        (
            f"{FRONT}you requested 4096 output tokens and your prompt contains 300 characters "
            "(more than 0 characters, which is the upper bound for 0 input tokens).",
            f"{FRONT}you requested at least 4097 tokens (at least 1 in the messages, 4096 in the "
            "completion). Please reduce the length of the messages or completion.",
        ),
        (f"{FRONT}your prompt contains 99999 characters (more than fit).", MANY),
        (
            f"{FRONT}you requested 4500 tokens (500 in the messages, 4000 in the completion). "
            "Please reduce the length of the messages or completion.",
            BOTH,
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum "
            "context length is 4096 tokens and your request has 500 input tokens "
            "(4000 > 4096 - 500).",
            BOTH,
        ),
        (
            "The decoder prompt (length 5012) is longer than the maximum model length of 4096. "
            "Make sure that `max_model_len` is no smaller than the number of text tokens.",
            LONG,
        ),
        (
            "You passed 5012 input tokens and requested 100 output tokens. However, the model's "
            "context length is only 4096 tokens, resulting in a maximum input length of 3996 "
            "tokens. Please reduce the length of the input prompt.",
            LONG,
        ),
        (
            "You passed 500 input tokens and requested 4000 output tokens. However, the model's "
            "context length is only 4096 tokens, resulting in a maximum input length of 96 "
            "tokens. Please reduce the length of the input prompt.",
            BOTH,
        ),
        (
            "You passed 99999 input characters and requested 4000 output tokens. However, the "
            "model's context length is only 4096 tokens, resulting in a maximum input length of "
            "96 tokens (at most 768 characters).",
            LEAST,
        ),
        # SGLang
        ("Input length (5012 tokens) exceeds the maximum allowed length (4096 tokens).", LONG),
        ("Input length (5012) exceeds model's maximum context length (4096).", LONG),
        (
            "The input (5012 tokens) is longer than the model's context length (4096 tokens).",
            LONG,
        ),
        (
            "Requested token count exceeds the model's maximum context length of 4096 tokens. "
            "You requested a total of 4500 tokens: 500 tokens from the input messages and 4000 "
            "tokens for the completion. Please reduce the number of tokens.",
            BOTH,
        ),
        # llama.cpp
        (
            "request (5012 tokens) exceeds the available context size (4096 tokens), "
            "try increasing it",
            LONG,
        ),
        # OpenAI itself
        (LONG, LONG),
        (BOTH, BOTH),
    ],
)
def test_an_engines_text_becomes_ours_with_its_numbers(text: str, told: str) -> None:
    refused = overflow(text, "messages")

    assert refused is not None
    assert refused.message == told
    assert (refused.status, refused.code, refused.field) == (
        400,
        "context_length_exceeded",
        "messages",
    )


def test_a_text_without_numbers_is_still_that_error() -> None:
    text = "the request exceeds the available context size. try increasing the context size"
    refused = overflow(text, "prompt")

    assert refused is not None
    assert (refused.code, refused.field) == ("context_length_exceeded", "prompt")
    assert "maximum context length" in refused.message


@pytest.mark.parametrize("text", ["", "temperature must be at most 2", "length of stop is 5000"])
def test_other_texts_are_other_errors(text: str) -> None:
    assert overflow(text, "messages") is None
