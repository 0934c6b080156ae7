"""How much a scrape grows to: 40 tenants, 60 backends, 25 models, everything that can happen.

Taken as given: a backend serves at most four models (whatever they are, each pair of them is a
series), so 240 pairs; every tenant uses every modality with every ending, is billed every unit and
refused with every code; every pair ends in every state; every model reserves what the modality with
most units has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import chain
from typing import get_args

from modgate.api.relay import State
from modgate.api.sink import Attempt, Ending, Receipt
from modgate.observe.observer import Observer
from modgate.units import Unit, UnitTable

LINES_AT_MOST = 15_000
TENANTS, BACKENDS, MODELS, MODELS_OF_A_BACKEND = 40, 60, 25, 4

# Source: architecture.md 7.
UNITS = {
    "llm": "input_tokens cached_tokens output_tokens",
    "vlm": "input_tokens cached_tokens output_tokens image_tokens images image_pixels",
    "asr": "audio_ms",
    "tts": "characters speech_ms",
    "ocr": "pages image_pixels",
    "embedding": "input_tokens inputs",
    "rerank": "documents input_tokens search_units",
}


# Source: modgate.errors; a public list, so what a plugin refuses with is on it.
CODES = 40


def tenants_receipts(made: Callable[..., Receipt], units: UnitTable) -> Iterator[Receipt]:
    """What touches every series of every tenant."""
    for t in range(TENANTS + 1):
        tenant = f"tenant-{t}"
        yield made(tenant=tenant, units=dict.fromkeys([*units.units, "junk.units"], 1), attempts=())
        for modality in (*UNITS, ""):
            for ending in get_args(Ending):
                yield made(tenant=tenant, modality=modality, ending=ending, attempts=())
        for n in range(CODES):
            yield made(tenant=tenant, status=400, error=f"code_{n}", attempts=())


def engines_receipts(
    made: Callable[..., Receipt], tried: Callable[..., Attempt]
) -> Iterator[Receipt]:
    """What touches every series of every backend and model."""
    seeded = random.Random(7)
    units = dict.fromkeys([f"vlm.{unit}" for unit in UNITS["vlm"].split()], 1)
    for m in range(MODELS + 1):
        yield made(model=f"model-{m}", attempts=(), units=units, reserved=units)
    for b in range(BACKENDS):
        for m in seeded.sample(range(MODELS), MODELS_OF_A_BACKEND):
            for state in get_args(State):
                served = tried(backend=f"backend-{b}", model=f"model-{m}", state=state)
                yield made(model=f"model-{m}", attempts=(served,))


def test_the_largest_installation_stays_under_fifteen_thousand_lines(
    made: Callable[..., Receipt], tried: Callable[..., Attempt]
) -> None:
    units = UnitTable.of({m: tuple(Unit(u, u) for u in text.split()) for m, text in UNITS.items()})
    observer = Observer()
    observer.recorder.use(
        units,
        {f"tenant-{n}" for n in range(TENANTS)},
        {f"model-{n}" for n in range(MODELS)},
    )
    for each in chain(tenants_receipts(made, units), engines_receipts(made, tried)):
        observer.recorder.observe(each)
    text = observer.registry.render()
    gauges = BACKENDS + 20

    assert text.count(b'first_event_seconds_count{backend="') == BACKENDS * MODELS_OF_A_BACKEND
    assert 9_000 < text.count(b"\n") + gauges <= LINES_AT_MOST


def test_no_metric_has_both_a_tenant_and_a_backend_and_no_histogram_a_tenant(
    made: Callable[..., Receipt], table: UnitTable
) -> None:
    observer = Observer()
    observer.recorder.use(table, {"acme"}, {"chat"})
    observer.recorder.observe(made(status=429, error="rate_limit_exceeded"))

    for line in observer.registry.render().decode().splitlines():
        if "tenant=" in line:
            assert "backend=" not in line
            assert "model=" not in line
            assert "_bucket{" not in line
