"""Tokens against a model's own tokenizer: the engine's word is taken where it is near enough."""

from __future__ import annotations

import json

import pytest

from modgate.api.json import JsonObject
from modgate.cli.verify import Line, Verifier
from modgate.snapshot.blueprint import blueprint_of

TEXT = "The quick brown fox jumps over the lazy dog. " * 100  # too long to be only estimated
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": TEXT}]}).encode()


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(blueprint_of(None).loaded.modalities["llm"], {"tokenizer": "cl100k_base"})


def tokens(verifier: Verifier, billed: int, **more: object) -> Line:
    receipt: JsonObject = {
        "route": "/v1/chat/completions",
        "model": "m",
        "ending": "ok",
        "exact": True,
        "units": {"llm.input_tokens": billed},
        **more,
    }
    [line] = verifier.lines(receipt, BODY, {})
    return line


def test_what_the_tokenizer_counts_is_equal_or_near_or_differs(verifier: Verifier) -> None:
    counted = tokens(verifier, 1).counted
    assert counted is not None
    assert counted > 900

    assert tokens(verifier, counted).verdict == "equal"
    assert tokens(verifier, counted + 9).verdict == "cannot be known"
    assert f"counts {counted}" in tokens(verifier, counted + 9).note
    assert tokens(verifier, counted * 2).verdict == "differs"
    assert tokens(verifier, counted, exact=False).verdict == "cannot be known"


def test_without_a_tokenizer_nothing_is_known_of_tokens(verifier: Verifier) -> None:
    assert tokens(Verifier(verifier.modality), 1000).verdict == "cannot be known"


def test_a_route_under_its_modalitys_name_is_the_same(verifier: Verifier) -> None:
    assert tokens(verifier, 1, route="/llm/v1/chat/completions").counted is not None
