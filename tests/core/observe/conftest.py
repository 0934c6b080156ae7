from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modgate.api.sink import Attempt, Receipt, Step
from modgate.units import Unit, UnitTable

Made = Callable[..., Receipt]


def attempt(**given: Any) -> Attempt:
    usual: dict[str, Any] = {
        "call": 0,
        "backend": "eu-1",
        "region": "eu",
        "family": "vllm",
        "operation": "chat",
        "model": "chat",
        "span": "c" * 16,
        "began_s": 0.2,
        "first_s": 0.5,
        "ended_s": 1.2,
        "sent": True,
        "state": "ok",
        "status": 200,
    }
    return Attempt(**{**usual, **given})


def receipt(**given: Any) -> Receipt:
    usual: dict[str, Any] = {
        "request_id": "req_" + "0" * 32,
        "wall": 1_700_000_000.0,
        "duration_s": 1.5,
        "ending": "ok",
        "status": 200,
        "tenant": "acme",
        "key_id": "abcdefghijkl",
        "method": "POST",
        "route": "/v1/chat/completions",
        "operation": "chat",
        "modality": "llm",
        "model": "chat",
        "surface": "openai",
        "units": {"llm.requests": 1, "llm.input_tokens": 100, "llm.output_tokens": 7},
        "attempts": (attempt(),),
        "steps": (
            Step(name="shape", began_s=0.0, ended_s=0.1),
            Step(name="queue", began_s=0.1, ended_s=0.2),
        ),
        "first_byte_s": 0.6,
        "admitted": True,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "sampled": True,
    }
    return Receipt(**{**usual, **given})


@pytest.fixture
def made() -> Made:
    """Makes a receipt of a good chat; what is given differs."""
    return receipt


@pytest.fixture
def tried() -> Callable[..., Attempt]:
    """Makes a good attempt; what is given differs."""
    return attempt


@pytest.fixture
def table() -> UnitTable:
    tokens = (Unit("input_tokens", "in"), Unit("output_tokens", "out", learned=True))
    audio = (Unit("audio_ms", "decoded", shown="audio_seconds", scale=1000),)
    return UnitTable.of({"llm": tokens, "asr": audio})
