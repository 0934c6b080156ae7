"""`modgate sim`: what it predicts of requests is what was, and what it says of what it cannot."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gateways import start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import Script
from oracle.record import Record
from rigs.unhurried import unhurried

from modgate.cli import main

READS_S = (0.03, 0.07)  # a prompt, one after the other
BETWEEN_MS = (3.0, 6.0)
EMBEDS_MS = (15.0, 30.0)
TOKENS = 8
RATE_PER_S, REQUESTS = 45.0, 300
SLO = '[slo.gold.llm]\nfirst_byte = { base = "150ms" }\n'
BAND = 0.25  # of the time that was


def engine_of(number: int) -> Callable[[Record], Script]:
    """An engine that reads one prompt after the other, and embeds any number at once."""
    free = [0.0]

    def script(record: Record) -> Script:
        if "embeddings" in record.path:
            return Script(headers_after_ms=EMBEDS_MS[number])
        now = asyncio.get_running_loop().time()
        free[0] = max(free[0], now) + READS_S[number]
        wait_ms = 1000 * (free[0] - now)
        return Script(tokens=TOKENS, first_byte_after_ms=wait_ms, between_ms=BETWEEN_MS[number])

    return script


async def traffic(folder: Path) -> Path:
    """Requests of two modalities through a real gateway; its configuration's path."""
    rng = random.Random(5)
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(ScriptedEngine(engine_of(number)))
            for number in range(2)
        ]
        running = await start(
            folder,
            [
                {"url": engine.url, "hardware": f"class{number}"}
                for number, engine in enumerate(engines)
            ],
            plugins=["llm", "embedding"],
            models={"llm": "llm", "embedding": "embedding"},
            tenants={"acme": 'slo = "gold"'},
            more=f'[state]\ndirectory = "{folder / "state"}"\n{SLO}',
        )
        stack.push_async_callback(running.app.close)
        async with asyncio.TaskGroup() as clients:
            for tag in range(1, REQUESTS + 1):
                one = ask.embeddings(tag) if tag % 3 == 0 else ask.chat(tag, stream=True)
                clients.create_task(send(running.url, one, key=running.key))
                await asyncio.sleep(rng.expovariate(RATE_PER_S))
        return running.config


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the receipts of what its gateway was asked."""
    folder = tmp_path_factory.mktemp("came")
    path = unhurried(lambda _: traffic(folder))
    exported = CliRunner().invoke(main, ["ledger", "export", "--config", str(path)])
    assert exported.exit_code == 0, exported.output
    receipts = folder / "receipts.jsonl"
    receipts.write_text(exported.output)
    return path, receipts


def sim(receipts: Path, path: Path, *words: str) -> Result:
    return CliRunner().invoke(
        main, ["sim", "--receipts", str(receipts), "--config", str(path), *words]
    )


def told(receipts: Path, path: Path, *words: str) -> dict[str, Any]:
    """What it says as JSON."""
    result = sim(receipts, path, "--json", *words)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["modality"]: row for row in found["rows"]}


def changed(path: Path, old: str, new: str) -> Path:
    """Another configuration beside this one."""
    text = path.read_text()
    assert old in text
    other = path.with_name("other.toml")
    other.write_text(text.replace(old, new))
    return other


@pytest.mark.parametrize("modality", ["llm", "embedding"])
def test_the_same_fleet_is_predicted_as_it_was(came: tuple[Path, Path], modality: str) -> None:
    path, receipts = came

    found = told(receipts, path)
    row = rows(found)[modality]

    assert found["requests"] == REQUESTS
    assert row["slo"] == "gold"
    assert row["now"]["p95_s"] == pytest.approx(row["past"]["p95_s"], rel=BAND)
    assert row["now"]["p50_s"] == pytest.approx(row["past"]["p50_s"], rel=BAND)
    assert row["now"]["kept"] == pytest.approx(row["past"]["kept"], abs=5.0)


def test_backends_and_how_much_of_them_is_used_are_told(came: tuple[Path, Path]) -> None:
    path, receipts = came

    uses = told(receipts, path)["uses"]

    assert [use["backend"] for use in uses] == ["b0", "b1"]
    assert sum(use["calls"] for use in uses) == REQUESTS
    assert sum(use["past_calls"] for use in uses) == REQUESTS
    assert all(0 < use["used"] < 1 and 0 < use["past_used"] < 1 for use in uses)


def test_more_load_takes_longer(came: tuple[Path, Path]) -> None:
    path, receipts = came

    once, thrice = (rows(told(receipts, path, *words))["llm"] for words in ((), ("--load", "3")))

    assert thrice["now"]["p95_s"] > 2 * once["now"]["p95_s"]
    assert thrice["now"]["kept"] < once["now"]["kept"] - 10
    assert thrice["past"] == once["past"]


def test_another_promise_is_held_against_both(came: tuple[Path, Path]) -> None:
    path, receipts = came
    other = changed(path, '"150ms"', '"5ms"')

    row = rows(told(receipts, other))["llm"]

    assert row["now"]["kept"] == row["past"]["kept"] == 0.0
    assert row["best_effort"] > 0


def test_a_backend_of_a_known_class_needs_no_receipts(came: tuple[Path, Path]) -> None:
    path, receipts = came
    text = path.read_text()
    second = text[text.index("[[backend]]", text.index("[[backend]]") + 1) :].partition("\n[ten")[0]
    third = second.replace('"b1"', '"b2"').replace("127.0.0.1", "127.0.0.2")
    other = changed(path, second, f"{second}\n{third}")

    found = told(receipts, other)

    assert {use["backend"]: use["calls"] > 0 for use in found["uses"]} == dict.fromkeys(
        ("b0", "b1", "b2"), True
    )


def test_a_backend_that_nothing_shows_must_be_told_of(came: tuple[Path, Path]) -> None:
    path, receipts = came
    other = changed(changed(path, '"b0"', '"new"'), '"class0"', '"class9"')

    refused = sim(receipts, other)
    slow, fast = (
        rows(told(receipts, other, "--pace", f"new=b0:{times}"))["llm"]["now"]["p95_s"]
        for times in (0.5, 4)
    )

    assert refused.exit_code == 1
    assert "backend 'new'" in refused.output
    assert "--pace new=OTHER:TIMES; there are: b0, b1" in refused.output
    assert fast < slow


def test_two_runs_of_a_seed_are_the_same(came: tuple[Path, Path]) -> None:
    path, receipts = came

    assert sim(receipts, path, "--json").output == sim(receipts, path, "--json").output


def test_what_is_not_replayed_of_the_file_is_said(came: tuple[Path, Path]) -> None:
    path, receipts = came
    other = changed(path, 'slo = "gold"', 'slo = "gold"\nlimits = { in_flight = 999 }')

    assert "not replayed" not in sim(receipts, path).output
    assert "not replayed of this file: tenant.*.limits\n" in sim(receipts, other).output
    assert told(receipts, other)["unplayed"] == ["tenant.*.limits"]


def test_people_are_told_in_tables(came: tuple[Path, Path]) -> None:
    path, receipts = came

    output = sim(receipts, path, "--load", "2").output

    assert f"{REQUESTS} requests; " in output
    assert "at 2 times the load" in output
    assert "replayed" in output
    assert "used then %" in output


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"event": "request", "logger": "modgate.request"}', "a line of the log"),
        ('{"object": "receipt", "v": 1}', "a receipt as a client gets it"),
        ("hello", "no JSON object, but 'hello'"),
        ("[1]", "no JSON object"),
        ('{"id": "r", "wall": "noon"}', "`$.wall`"),
        ('{"id": "r"}', "missing required field"),
        ("[" * 100_000, "no JSON object"),
    ],
)
def test_a_line_that_is_no_receipt_is_named(
    came: tuple[Path, Path], tmp_path: Path, line: str, words: str
) -> None:
    path, receipts = came
    spoilt = tmp_path / "spoilt.jsonl"
    first = receipts.read_text().splitlines()[0]
    spoilt.write_text(f"{first}\n{line}\n")

    result = sim(spoilt, path)

    assert result.exit_code == 1
    assert "spoilt.jsonl, line 2: " in result.output
    assert words in result.output


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"units": {"llm.output_tokens": -5}}, "'units' says -5 of 'llm.output_tokens'"),
        ({"reserved": {"llm.output_tokens": -1}}, "'reserved' says -1 of 'llm.output_tokens'"),
        ({"duration_s": -1}, "'duration_s' is -1 seconds"),
        ({"first_byte_s": 1e300}, "'first_byte_s' is 1e+300 seconds"),
        ({"began_s": 9e9}, "an attempt ends before it begins"),
    ],
)
def test_a_receipt_of_what_cannot_have_been_is_named(
    came: tuple[Path, Path], tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    path, receipts = came
    spoilt = tmp_path / "spoilt.jsonl"
    plain = json.loads(receipts.read_text().splitlines()[0])
    began = wrong.pop("began_s", None)
    if began is not None:
        plain["attempts"][0]["began_s"] = began
    spoilt.write_text(json.dumps({**plain, **wrong}) + "\n")

    result = sim(spoilt, path)

    assert result.exit_code == 1
    assert f"spoilt.jsonl, line 1: {words}" in result.output


def test_what_cannot_be_asked_of_the_fleet_is_named(came: tuple[Path, Path]) -> None:
    path, receipts = came
    other = changed(path, "[model.llm]", "[model.lll]")
    other.write_text(other.read_text().replace('llm = "engine-llm"', 'lll = "engine-llm"'))

    result = sim(receipts, other)

    assert result.exit_code == 1
    assert "the configuration has no model 'llm'; it has: embedding, lll" in result.output


def test_receipts_of_nothing_are_no_simulation(came: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = came
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")

    assert "no request in it went to an engine" in sim(empty, path).output
    assert "--load is from" in sim(empty, path, "--load", "0").output
    assert "--pace reads NEW=OLD" in sim(empty, path, "--pace", "x").output
