"""A dialect of another plugin's modality is at fault for what it answers, and not the modality."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import httpx
import pytest
from gateways import start
from made_plugins import Words, plugin

from modgate.plugin import (
    SSE,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    Head,
    Outcome,
    Outgoing,
    Plan,
    Relay,
    Request,
    Units,
    Usage,
)
from modgate.testing import FakeBackend, Scripted


class Told(Relay):
    """Repeats what comes."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def feed(self, index: int, event: Event) -> list[bytes]:
        return [self.sse(event.json()) if self.head.kind == "sse" else event.data]

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=1))


class Repeats(Words):
    """Words by calls side by side."""

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint(path="/v1/words", shape=self.shape)]

    def shape(self, request: Request) -> Plan:
        fields = request.fields()
        stream = fields.flag("stream", False)
        size = Units(input_tokens=1)
        call = (
            Call(path="/stream", body=Body.of(), size=size, reply="sse")
            if stream
            else Call(path="/words", body=Body.of(), size=size)
        )
        count = fields.integer("calls", 1)
        return Plan(calls=[call] * count, relay=Told(SSE if stream else Head()), width=count)


class Spoilt(Dialect):
    """Answers with what is nothing, where a test says."""

    modality = "words"
    family = "acme"
    answers: ClassVar[Mapping[str, Any]] = {}

    def encode(self) -> Outgoing:
        return self.answers.get("encode", super().encode())

    def decode(self, event: Event) -> Any:
        return self.answers.get("decode", super().decode(event))

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Any:
        return self.answers.get("refusal", super().refusal(status, headers, body))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize(
    ("where", "what"),
    [("encode", None), ("decode", [b"{}"]), ("decode", None), ("refusal", None)],
)
async def test_the_dialects_own_plugin_is_named(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    what: object,
    calls: int,
    stream: bool,
) -> None:
    monkeypatch.setattr(Spoilt, "answers", {where: what})
    status = 400 if where == "refusal" else 200
    made = {
        "words": plugin(modgate_modalities=[Repeats]),
        "acme": plugin(modgate_dialects=[Spoilt]),
    }
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(reply=b'{"word": "hello"}', status=status))
        engine.answer("/stream", Scripted(reply=[b'{"word": "hello"}'], status=status))
        body = {"model": "w", "stream": stream, "calls": calls}
        reply = await asked(tmp_path, engine, "words", made, "/v1/words", body)

    assert "internal_error" in reply.text
    assert faults(caplog) == [("fault", "in the dialect acme of words", "acme (acme 0)")]


async def test_nor_is_it_the_modality_where_calls_share_a_trip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spoilt, "answers", {"encode": None})
    monkeypatch.setattr(Spoilt, "modality", "embedding")
    made = {"acme": plugin(modgate_dialects=[Spoilt])}
    async with FakeBackend() as engine:
        body = {"model": "w", "input": "hello"}
        reply = await asked(tmp_path, engine, "embedding", made, "/v1/embeddings", body)

    assert reply.status_code == 500
    assert faults(caplog) == [("fault", "in the dialect acme of embedding", "acme (acme 0)")]


async def asked(
    folder: Path,
    engine: FakeBackend,
    modality: str,
    made: Mapping[str, ModuleType],
    path: str,
    body: Mapping[str, object],
) -> httpx.Response:
    """The reply of a gateway whose one engine is of the family `acme`."""
    backend = {"url": engine.url, "family": "acme", "serves": {"w": "w"}}
    plugins = list(dict.fromkeys([modality, *made]))
    async with (
        await start(
            folder, [backend], plugins=plugins, models={"w": modality}, extra=made
        ) as gateway,
        httpx.AsyncClient(base_url=gateway.url, headers=gateway.headers, verify=False) as client,
    ):
        reply = await client.post(path, json=body)
        await asyncio.sleep(0)  # what a task left behind is told now
    return reply


def faults(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str | None]]:
    """What was told as an error: the event, where it broke, and whose it is."""
    told = [vars(each) for each in caplog.records if each.levelname == "ERROR"]
    return [
        (each["msg"], " ".join(each.get("fault", "").split()[1:]), each.get("plugin"))
        for each in told
    ]
