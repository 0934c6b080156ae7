"""`modgate receipt verify`: a receipt that the gateway gave, counted again from what was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, FormData
from click.testing import CliRunner
from gateways import MODELS, Running, start
from oracle.engine import ScriptedEngine

from modgate.api.json import JsonObject
from modgate.api.modality import Sample
from modgate.cli import main

PRICES = """
[price.first]
effective = 2020-01-01
currency = "EUR"
units = { "asr.audio_seconds" = "0.01/min", "ocr.pages" = "1/1k", "llm.output_tokens" = "3/7k" }
"""
NAME_OF = {modality: name for name, modality in MODELS.items()}


@pytest.fixture
async def running(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Running]:
    async with await start(tmp_path, [{"url": engine.url}], more=PRICES) as made:
        yield made


def sample_of(running: Running, modality: str) -> Sample:
    """A sample that needs no answers of anybody's."""
    samples = running.app.gateway.table.modalities[modality].samples
    fitting = [each for each in samples if not each.answers and not each.facts]
    return fitting[0]


async def served(running: Running, sample: Sample, modality: str) -> tuple[JsonObject, bytes]:
    """The receipt of a sample that was sent, and the input as a file would hold it."""
    model = NAME_OF[modality]
    async with ClientSession(headers=running.headers) as client:
        if sample.form is None:
            content = json.dumps({**(sample.json or {}), "model": model}).encode()
            headers = {"content-type": "application/json"}
            sent = client.post(running.url + sample.path, data=content, headers=headers)
        else:
            form = FormData({"model": model})
            [(name, (filename, content))] = [
                (name, value) for name, value in sample.form.items() if isinstance(value, tuple)
            ]
            form.add_field(name, content, filename=filename)
            sent = client.post(running.url + sample.path, data=form)
        async with sent as reply:
            await reply.read()
            assert reply.status == 200
            request_id = reply.headers["x-request-id"]
        async with client.get(f"{running.url}/v1/usage/{request_id}") as reply:
            receipt: JsonObject = await reply.json()
    return receipt, content


def verified(
    folder: Path, running: Running, receipt: JsonObject, content: bytes, *more: str
) -> tuple[int, dict[str, str]]:
    """The exit code, and the verdict on each unit."""
    (folder / "receipt.json").write_text(json.dumps(receipt))
    (folder / "input").write_bytes(content)
    words = [str(folder / "receipt.json"), "--input", str(folder / "input")]
    result = CliRunner().invoke(
        main, ["receipt", "verify", *words, "--config", str(running.config), *more]
    )
    assert result.exit_code in (0, 1), result.output
    verdicts = {}
    for line in result.output.splitlines()[1:]:
        verdict = next(each for each in ("equal", "differs", "cannot be known") if each in line)
        verdicts[line.split("  ")[0].strip()] = verdict
    return result.exit_code, verdicts


@pytest.mark.parametrize("modality", sorted(MODELS.values()))
async def test_what_was_sent_is_counted_as_it_was_billed(
    tmp_path: Path, running: Running, modality: str
) -> None:
    receipt, content = await served(running, sample_of(running, modality), modality)
    code, verdicts = verified(tmp_path, running, receipt, content)
    counts = running.app.gateway.table.modalities[modality].gateway_counts
    measured = {f"{modality}.{name}" for name in counts} & receipt["units"].keys()

    assert receipt["ending"] == "ok"
    assert measured or modality == "llm"
    assert {verdicts[unit] for unit in measured} <= {"equal"}
    assert verdicts[f"{modality}.requests"] == "equal"
    assert verdicts["cost"] == "equal"
    assert "differs" not in verdicts.values()
    assert code == 0
    if receipt["cost"]["lines"]:
        assert verdicts[f"cost of {receipt['cost']['lines'][0]['unit']}"] == "equal"


@pytest.mark.parametrize("modality", ["asr", "ocr", "tts", "embedding", "rerank", "vlm"])
async def test_a_receipt_that_says_more_than_was_sent_differs(
    tmp_path: Path, running: Running, modality: str
) -> None:
    receipt, content = await served(running, sample_of(running, modality), modality)
    counts = running.app.gateway.table.modalities[modality].gateway_counts
    unit = sorted(f"{modality}.{name}" for name in counts)[0]
    receipt["units"][unit] += 1
    code, verdicts = verified(tmp_path, running, receipt, content)

    assert (code, verdicts[unit]) == (1, "differs")


async def test_a_line_that_is_not_its_price_differs(tmp_path: Path, running: Running) -> None:
    receipt, content = await served(running, sample_of(running, "asr"), "asr")
    receipt["cost"]["lines"][0]["micro"] += 1
    code, verdicts = verified(tmp_path, running, receipt, content)

    assert code == 1
    assert (verdicts["cost of asr.audio_ms"], verdicts["cost"]) == ("differs", "differs")


async def test_a_bare_file_is_what_its_path_takes(tmp_path: Path, running: Running) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    speech = Sample(path="/v1/audio/speech", json={"input": text, "voice": "alloy"})
    receipt, _ = await served(running, speech, "tts")
    code, verdicts = verified(tmp_path, running, receipt, text.encode())
    other, shorter = verified(tmp_path, running, receipt, text[:-1].encode())

    assert (code, verdicts["tts.characters"]) == (0, "equal")
    assert (other, shorter["tts.characters"]) == (1, "differs")
    assert verdicts["tts.bytes_in"] == verdicts["tts.speech_ms"] == "cannot be known"


async def test_a_reply_that_was_cut_short_is_a_floor(tmp_path: Path, running: Running) -> None:
    receipt, content = await served(running, sample_of(running, "tts"), "tts")
    receipt |= {"ending": "client_gone", "exact": False}
    receipt["units"]["tts.characters"] -= 1
    _, verdicts = verified(tmp_path, running, receipt, content)

    assert verdicts["tts.characters"] == "cannot be known"


@pytest.mark.parametrize(
    ("receipt", "content", "told"),
    [
        (b"{}", b"x", "is no receipt of version 1"),
        (b'{"object":"receipt","v":2}', b"x", "is no receipt of version 1"),
        (b'{"object":"receipt","v":1,"modality":"smell"}', b"x", "brings 'smell'"),
        (
            b'{"object":"receipt","v":1,"modality":"asr","route":"/v1/audio/transcriptions"}',
            b"no sound",
            "the input is refused",
        ),
        (
            b'{"object":"receipt","v":1,"modality":"rerank","route":"/v2/rerank"}',
            b"text",
            "give the JSON body that was sent to /v2/rerank",
        ),
        (
            b'{"object":"receipt","v":1,"modality":"llm","route":"/v1/nowhere"}',
            b"text",
            "llm has no endpoint /v1/nowhere",
        ),
    ],
)
def test_what_cannot_be_verified_is_told(
    tmp_path: Path, receipt: bytes, content: bytes, told: str
) -> None:
    (tmp_path / "receipt").write_bytes(receipt)
    (tmp_path / "input").write_bytes(content)
    words = [str(tmp_path / "receipt"), "--input", str(tmp_path / "input")]
    result = CliRunner().invoke(main, ["receipt", "verify", *words])

    assert result.exit_code == 1
    assert told in result.output
