"""llama.cpp's server behind `modgate serve`: text, streams and vectors by the openai SDK."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from sdks import openai

from modgate_llm.engine import GGUF
from peers.engines import PEERS, Engine, Fronted, Row, dot, fronted, model_data, shown

pytestmark = [pytest.mark.models, pytest.mark.slow]

SERVER = PEERS / "llama_server.py"
SAY = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    pytest.importorskip("xllamacpp")  # of the local engine
    model_data(GGUF)
    writes = Engine(
        family="llamacpp",
        modality="llm",
        served="smollm2-135m",
        command=lambda port: [sys.executable, SERVER, str(port)],
    )
    embeds = Engine(
        family="llamacpp",
        modality="embedding",
        served="smollm2-135m",
        command=lambda port: [sys.executable, SERVER, str(port), "mean"],
    )
    with fronted(tmp_path_factory.mktemp("llamacpp"), writes, embeds) as front:
        yield front


@pytest.fixture(scope="module")
def client(front: Fronted) -> Iterator[openai.OpenAI]:
    served = front.gateway
    with openai.OpenAI(base_url=served.v1, api_key=served.key, max_retries=0) as client:
        yield client


def test_chat_is_billed_as_the_engine_counted(
    front: Fronted, client: openai.OpenAI, row: Row
) -> None:
    whole = client.chat.completions.create(model="llm", messages=SAY, max_tokens=8, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="llm",
            messages=SAY,
            max_tokens=8,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    with openai.OpenAI(base_url=f"{front.engines[0]}/v1", api_key="none") as direct:
        own = direct.chat.completions.create(
            model="smollm2-135m", messages=SAY, max_tokens=8, temperature=0
        )
    bill = front.bill("llm", 2)
    row("llama.cpp server", "openai chat", repr(whole.choices[0].message.content), shown(bill))

    told = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    assert told == whole.choices[0].message.content
    assert "hello" in told.lower()
    assert told == own.choices[0].message.content
    assert bill["input_tokens"] == 2 * own.usage.prompt_tokens
    assert bill["output_tokens"] == 2 * own.usage.completion_tokens


def test_vectors_tell_near_from_far(front: Fronted, client: openai.OpenAI, row: Row) -> None:
    texts = ["A cat sat on the mat.", "A cat sat on a mat.", "Interest rates rose by 2 % in May."]
    reply = client.embeddings.create(model="embedding", input=texts)
    bill = front.bill("embedding", 1)
    mat, same, money = (each.embedding for each in reply.data)
    near, far = dot(mat, same), dot(mat, money)
    what = f"3 x {len(mat)}, cosines {near:.2f} and {far:.2f}"
    row("llama.cpp server", "openai embeddings", what, shown(bill))

    assert len(mat) == 576
    assert near > far
    assert bill["input_tokens"] == reply.usage.prompt_tokens
