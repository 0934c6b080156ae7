"""What a client is told that a limit refuses.

Source: wire.md 1.5; algorithms.md 3.1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine

from modgate.kit.chat_relay import ChatRelay
from modgate.plugin import Outcome, Usage

SECTION = (
    'limits = {{ requests = "{requests}/min", units = {{ "llm.output_tokens" = "100/min", '
    '"llm.input_tokens" = "50/min" }} }}'
)


async def test_a_refusal_for_requests_says_how_the_limit_stands(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": SECTION.format(requests=1)}
    async with await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running:
        chat = ask.chat(1, model="chat", max_tokens=5)
        clients = [await send(running.url, chat, key=running.key) for _ in range(2)]

    assert [client.status for client in clients] == [200, 429]
    for client in clients:
        assert client.headers["x-ratelimit-limit-requests"] == "1"
        assert client.headers["x-ratelimit-remaining-requests"] == "0"
        assert client.headers["x-ratelimit-reset-requests"] != "0s"


async def test_a_refusal_costs_no_request_of_its_modality(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": 'limits = { units = { "llm.requests" = "2/min" } }'}
    async with await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running:
        chat = ask.chat(1, model="chat", max_tokens=5)
        clients = [await send(running.url, chat, key=running.key) for _ in range(6)]

    assert [client.status for client in clients] == [200] * 2 + [429] * 4
    assert all(int(client.headers["retry-after"]) <= 30 for client in clients[2:])


@pytest.mark.parametrize("plugins", [("llm",), ("llm", "vlm")])
@pytest.mark.parametrize("unit", ["bytes_in", "bytes_out"])
async def test_bytes_that_are_spent_are_refused_also_on_a_route_of_two_modalities(
    tmp_path: Path, engine: ScriptedEngine, unit: str, plugins: tuple[str, ...]
) -> None:
    """Before the body is read nobody knows of which modality a chat is; then it is known."""
    tenants = {"acme": f'limits = {{ units = {{ "llm.{unit}" = "50/day" }} }}'}
    backends = [{"url": engine.url}]
    async with await start(tmp_path, backends, plugins=plugins, tenants=tenants) as running:
        chat = ask.chat(1, model="chat", max_tokens=5)
        clients = [await send(running.url, chat, key=running.key) for _ in range(3)]

    assert [client.status for client in clients] == [200, 429, 429]


MANY = """limits = { requests = "100/min", units = { "llm.input_tokens" = "50k/min",
"vlm.input_tokens" = "3/min", "embedding.input_tokens" = "7/min",
"llm.output_tokens" = { rate = "5/min", shadow = true } },
models = { eyes = { requests = "2/min" } } }""".replace("\n", " ")


async def test_headers_tell_of_the_limits_that_such_a_request_meets(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    asked = [
        ask.chat(1, model="chat", max_tokens=5),
        ask.vision(2, model="eyes"),
        ask.chat(3, model="none"),
    ]
    async with await start(tmp_path, [{"url": engine.url}], tenants={"acme": MANY}) as running:
        clients = [await send(running.url, each, key=running.key) for each in asked]
    limits = [
        {
            name.removeprefix("x-ratelimit-limit-"): value
            for name, value in client.headers.items()
            if name.startswith("x-ratelimit-limit-")
        }
        for client in clients
    ]

    assert [client.status for client in clients] == [200, 413, 404]
    assert limits[0] == {"requests": "100", "input-tokens": "50000"}
    assert limits[1] == {"requests": "2", "input-tokens": "3"}
    assert limits[2]["requests"] == "100"
    assert "7" not in limits[2].values()


async def test_a_guess_of_speech_above_the_limit_is_taken_and_settled_to_what_was_spoken(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": 'limits = { units = { "tts.speech_seconds" = "10/hour" } }'}
    async with await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running:
        clients = [
            await send(running.url, ask.speech(at, model="voice", sentences=2), key=running.key)
            for at in (1, 2)
        ]

    assert [client.status for client in clients] == [200, 429]
    assert clients[0].units["tts.speech_ms"] < 10_000


async def test_a_bound_above_the_limit_is_taken_once_and_a_prompt_above_it_never(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    tenants = {"acme": SECTION.format(requests=99)}
    async with await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running:
        long = ask.chat(1, model="chat", text="hello " * 100)
        prompt = await send(running.url, long, key=running.key)
        bound = await send(running.url, ask.chat(2, model="chat", max_tokens=101), key=running.key)

    assert prompt.status == 413
    assert json.loads(prompt.body)["error"]["code"] == "request_too_large"
    assert "retry-after" not in prompt.headers
    assert bound.status == 200
    assert bound.headers["x-ratelimit-remaining-output-tokens"] == "0"
    assert engine.of(1) == []


def fails(relay: ChatRelay, outcomes: Sequence[Outcome]) -> Usage:
    raise RuntimeError("broken")


async def test_what_nobody_could_count_stays_charged_as_it_was_reserved(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = {"acme": 'limits = { units = { "llm.output_tokens" = "150/day" } }'}
    chat = ask.chat(1, model="chat", max_tokens=100)
    async with await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running:
        with monkeypatch.context() as broken:
            broken.setattr(ChatRelay, "usage", fails)
            bad = await send(running.url, chat, key=running.key)
        after = await send(running.url, chat, key=running.key)

    assert (bad.status, after.status) == (500, 429)
