"""The example for operators is a file that works, and its requests cost what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modgate.api.price import Book
from modgate.prices.books import Books
from modgate.prices.rating import Tried, Used, rate
from modgate.snapshot.blueprint import Blueprint, blueprint_of

PAGE = Path(__file__).parents[3] / "docs" / "operators" / "prices.md"
MARCH_2 = 1_772_409_600.0


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path_factory.mktemp("prices") / "modgate.toml"
    path.write_text("\n".join(blocks[:2]))
    return blueprint_of(path)


def cost(example: Blueprint, units: dict[str, int], **of: str) -> tuple[int, str]:
    modality = next(iter(units)).partition(".")[0]
    place = {"tenant": "", "model": "", "slo": "", **of}
    region = place.pop("region", "")
    tried = (Tried(region=region, model=place["model"], served=True),)
    used = Used(modality=modality, units=units, tried=tried, **place)
    books = Books(example.linked.books)
    rated = rate(used, books.in_force(MARCH_2), example.units)
    return rated.micro, rated.pricing


def test_the_example_rates_each_modality(example: Blueprint) -> None:
    chat = {"llm.input_tokens": 3_000_000, "llm.cached_tokens": 1_000_000}

    assert cost(example, chat) == (300_000 + 50_000, "priced")
    assert cost(example, {"asr.audio_ms": 90_000}) == (9_000, "priced")
    assert cost(example, {"tts.characters": 1000, "tts.speech_ms": 60_000}) == (15_000, "priced")
    assert cost(example, {"ocr.pages": 3, "ocr.image_pixels": 9}) == (6_000, "priced")
    assert cost(example, {"embedding.input_tokens": 50, "embedding.inputs": 2}) == (1, "priced")
    assert cost(example, {"rerank.search_units": 1, "rerank.documents": 5}) == (2_000, "priced")


def test_the_examples_cases_are_narrower(example: Blueprint) -> None:
    written = {"llm.output_tokens": 1_000_000}
    eu = {"tenant": "acme", "slo": "batch", "region": "eu"}

    assert cost(example, written) == (600_000, "priced")
    assert cost(example, written, model="large") == (5_000_000, "priced")
    assert cost(example, written, model="large", **eu) == (250_000, "priced")


def test_the_examples_correction_takes_the_place_of_the_first_book(example: Blueprint) -> None:
    books = Books(example.linked.books)
    first = books.in_force(MARCH_2)

    assert isinstance(first, Book)
    assert (first.name, books.corrected(first).name) == ("spring", "spring-2")
