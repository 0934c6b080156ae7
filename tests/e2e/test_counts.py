"""Counts that no ledger row can hold, and counts of engine and gateway that do not agree."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import httpx
import orjson
import pytest
from gateways import start, start_words
from made_plugins import Words, plugin

from modgate.ledger.reader import rows
from modgate.plugin import (
    Ask,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    Json,
    Modality,
    Outcome,
    Plan,
    Relay,
    Request,
    Units,
    Usage,
)
from modgate.testing import FakeBackend, Scripted

HUGE = 2**64


class Told(Relay):
    """Says a word, and what a test wants that it did cost."""

    def __init__(self, used: int, other: int = 0) -> None:
        self.used = used
        self.other = Units(input_tokens=other) if other else Units()

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        yield self.json({"word": "hello"})

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=self.used), exact=True, by="engine", other=self.other)


def counting(*, reserved: int, used: int, other: int = 0) -> type[Modality]:
    """Words whose requests call no engine and count as they are told to."""

    def shape(request: Request) -> Plan:
        return Plan(calls=[], relay=Told(used, other), reserve=Units(input_tokens=reserved))

    class Counting(Words):
        def endpoints(self) -> Iterable[Endpoint]:
            yield Endpoint(path="/v1/words", shape=shape)

    return Counting


@pytest.mark.parametrize(("reserved", "used"), [(HUGE, 1), (1, HUGE)])
async def test_a_count_beyond_every_store_ends_the_request_all_the_same(
    tmp_path: Path, reserved: int, used: int
) -> None:
    words = plugin(modgate_modalities=[counting(reserved=reserved, used=used)])
    async with (
        await start_words(tmp_path, words) as running,
        httpx.AsyncClient(base_url=running.url, headers=running.headers) as client,
    ):
        reply = await client.post("/v1/words", json={"model": "w"})
    [row] = list(rows(running.ledger))

    assert reply.status_code == 500
    assert row.ending == "fault"
    assert row.units.get("words.input_tokens", 0) == 0
    assert not row.exact


@pytest.mark.parametrize(
    ("other", "told"), [(200, "words.input_tokens 100 against 200"), (104, None)]
)
async def test_counts_that_do_not_agree_are_told_and_change_no_bill(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: int, told: str | None
) -> None:
    caplog.set_level(logging.INFO, "modgate.request")
    words = plugin(modgate_modalities=[counting(reserved=100, used=100, other=other)])
    async with await start_words(tmp_path, words) as running:
        async with httpx.AsyncClient(base_url=running.url, headers=running.headers) as client:
            reply = await client.post("/v1/words", json={"model": "w"})
        metrics = (await running.app.state.observer.rendered()).decode()
    [row] = list(rows(running.ledger))
    [line] = [vars(each) for each in caplog.records if each.name == "modgate.request"]

    assert reply.status_code == 200
    assert (row.units["words.input_tokens"], row.exact) == (100, True)
    assert line.get("counts_differ") == told
    assert ('modgate_count_differences_total{model="w"} 1' in metrics) is (told is not None)


class Asking(Words):
    """Asks a judge first, who costs fifty tokens more."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Generator[Ask, Json, Plan]:
        size = Units(input_tokens=50)
        yield Ask([Call(path="/words", body=Body.of(word="?"), size=size, model="judge")])
        return Plan(calls=[], relay=Told(100, other=100), reserve=Units(input_tokens=100))


class Plain(Dialect):
    """The home wire."""

    modality = "words"


async def test_what_a_side_call_did_cost_is_no_difference(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modgate.request")
    words = plugin(modgate_modalities=[Asking], modgate_dialects=[Plain])
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(reply=b'{"word": "yes"}'))
        async with (
            await start(
                tmp_path,
                [{"url": engine.url}],
                plugins=["words"],
                models={"w": "words", "judge": "words"},
                extra={"words": words},
            ) as running,
            httpx.AsyncClient(base_url=running.url, headers=running.headers) as client,
        ):
            reply = await client.post("/v1/words", json={"model": "w"})
    [row] = list(rows(running.ledger))
    [line] = [vars(each) for each in caplog.records if each.name == "modgate.request"]

    assert reply.status_code == 200, reply.text
    assert row.units["words.input_tokens"] == 150
    assert line.get("counts_differ") is None


async def test_what_an_engine_counts_beyond_its_modalitys_units_ends_no_chat(
    tmp_path: Path,
) -> None:
    said = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    details = {"cached_tokens": 2, "image_tokens": 3}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": details}
    async with FakeBackend() as engine:
        reply = orjson.dumps({"choices": [said], "usage": usage})
        engine.answer("/v1/chat/completions", Scripted(reply=reply))
        async with (
            await start(tmp_path, [{"url": engine.url}]) as running,
            httpx.AsyncClient(base_url=running.url, headers=running.headers) as client,
        ):
            body = {"model": "chat", "messages": [{"role": "user", "content": "Is it?"}]}
            answer = await client.post("/v1/chat/completions", json=body)
    [row] = list(rows(running.ledger))

    assert answer.status_code == 200, answer.text
    assert (row.ending, row.exact) == ("ok", True)
    assert {name: count for name, count in row.units.items() if name.endswith("_tokens")} == {
        "llm.input_tokens": 9,
        "llm.cached_tokens": 2,
        "llm.output_tokens": 1,
    }
