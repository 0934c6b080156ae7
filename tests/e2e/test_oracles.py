"""The bill on every ending, judged by two counters that know nothing of modgate.

Source: the rule of `oracle.compare`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from gateways import MODELS, start
from oracle.client import ClientRecord
from oracle.compare import Ending, compare, endings
from oracle.engine import ScriptedEngine
from oracle.mix import Mix, draw
from oracle.play import play_mix
from oracle.words import Modality
from rigs.ledger import compared

from modgate.ledger.reader import rows

NAMES = {modality: name for name, modality in MODELS.items()}
FAST = "[timeouts]\nidle = '2s'\nclient_stalled = '5s'\n"


async def played(folder: Path, mix: Mix) -> tuple[list[str], Counter[tuple[Modality, Ending]]]:
    """Play a mix through a gateway; what violates the rule, and how requests ended."""
    async with ScriptedEngine(script_for=mix.script_for) as engine:
        async with await start(folder, [{"url": engine.url, "slots": 256}], more=FAST) as running:
            clients: list[ClientRecord] = await play_mix(
                mix, running.url, [engine], keys=[running.key], rest_s=0.1
            )
        found = compared(rows(running.ledger))
        violations = compare(engine.records, clients, found)
        ended = endings(engine.records, clients, found)
    return violations, ended


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_thousand_endings_are_billed_as_engine_and_client_counted(tmp_path: Path) -> None:
    mix = draw(seed=20261124, count=1000, models=NAMES)

    violations, ended = await played(tmp_path, mix)

    assert violations == []
    for modality in MODELS.values():
        for ending in ("ok", "refused", "gone", "timeout", "killed"):
            assert ended[modality, ending] >= 10, (modality, ending, ended)


@pytest.mark.slow
async def test_a_small_mix_is_billed_as_engine_and_client_counted(tmp_path: Path) -> None:
    mix = draw(seed=162, count=105, least=3, models=NAMES)

    violations, _ = await played(tmp_path, mix)

    assert violations == []
