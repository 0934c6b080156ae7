"""One gateway with its real local models for all tests here, and the SDKs that talk to it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sdks import cohere, mistral, openai

from clients.drawing import data_uri, page, png
from clients.serving import Served, serving, without
from clients.speaking import SAID, say

LOADED_S = 90.0  # a first call waits for its model


def _openai(served: Served) -> openai.OpenAI:
    """A retry would hide a fault."""
    return openai.OpenAI(base_url=served.v1, api_key=served.key, max_retries=0, timeout=LOADED_S)


def _cohere(served: Served) -> cohere.ClientV2:
    return cohere.ClientV2(
        base_url=served.root, api_key=served.key, max_retries=0, timeout=LOADED_S
    )


def _mistral(served: Served) -> mistral.Mistral:
    milliseconds = int(LOADED_S * 1000)
    return mistral.Mistral(server_url=served.root, api_key=served.key, timeout_ms=milliseconds)


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Mistral's SDK opens an event loop when a client of it is collected: here, and not in the
    midst of another test, where nobody may open a socket."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`modgate serve`, once each of its seven models has answered."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        _ask_each(running)
        yield running


def _ask_each(served: Served) -> None:
    """Models load side by side; one that is not installed says what to run."""
    picture = data_uri("image/png", png(page(["Ready"])))

    def chat(model: str, content: object) -> None:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}], max_tokens=1
        )

    def hear() -> None:
        client.audio.transcriptions.create(
            model="whisper-1", file=("ready.wav", say(client, "Ready."))
        )

    with ExitStack() as stack:
        client = stack.enter_context(_openai(served))
        ranker = stack.enter_context(_cohere(served))
        reader = stack.enter_context(_mistral(served))
        threads = stack.enter_context(ThreadPoolExecutor())
        asked: list[Callable[[], object]] = [
            hear,
            lambda: chat("gpt-4o-mini", "Ready?"),
            lambda: chat("gpt-4o", [{"type": "image_url", "image_url": {"url": picture}}]),
            lambda: client.embeddings.create(model="text-embedding-3-small", input="Ready?"),
            lambda: ranker.rerank(model="rerank-v3.5", query="ready", documents=["ready"]),
            lambda: reader.ocr.process(
                model="mistral-ocr-latest", document={"type": "image_url", "image_url": picture}
            ),
        ]
        errors = [each.exception() for each in [threads.submit(ask) for ask in asked]]
    if missing := served.missing():
        hints = "; ".join(f"{model}: {hint}" for model, hint in sorted(missing.items()))
        without(f"local models are not installed; {hints}")
    for error in errors:
        if error is not None:
            raise error


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[openai.OpenAI]:
    """The openai SDK."""
    with _openai(served) as client:
        yield client


@pytest.fixture(scope="session")
def ranker(served: Served) -> Iterator[cohere.ClientV2]:
    """The cohere SDK's second version."""
    with _cohere(served) as client:
        yield client


@pytest.fixture(scope="session")
def reader(served: Served) -> Iterator[mistral.Mistral]:
    """The mistralai SDK."""
    with _mistral(served) as client:
        yield client


@pytest.fixture
async def async_client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """The openai SDK's other half."""
    async with openai.AsyncOpenAI(base_url=served.v1, api_key=served.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def spoken(client: openai.OpenAI) -> bytes:
    """A WAV file in which the gateway says `SAID`."""
    return say(client, SAID)


@pytest.fixture(scope="session")
def picture_uri() -> str:
    """A picture of one line of text."""
    return data_uri("image/png", png(page(["Invoice 4711"])))
