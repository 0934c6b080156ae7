"""Two gateway processes of one host share the levels that one of them owns."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from oracle import requests as ask
from oracle.engine import ScriptedEngine
from rigs.sharing import Answer, Load, Sharing, sharing

from modgate.limits.kept_levels import WRITTEN_EVERY_S

BODY = ask.chat(1, model="chat", max_tokens=5).body
LIMITS = 'limits = { requests = "12/day" }'
PAUSED = 'limits = { requests = "1M/day" }'
WITHIN_S = 20.0


def owner(shared: Sharing, path: Path) -> int:
    """Which of the processes owns the levels."""
    held = int(path.with_suffix(".sock.lock").read_text())
    return [each.process.pid for each in shared.served].index(held)


async def until(load: Load, gateway: int, tenant: str, local: bool) -> Answer:
    """Ask a gateway until it says that it keeps a share by itself, or does not any more."""
    end = time.monotonic() + WITHIN_S
    while True:
        answer = await load.ask(tenant, gateway, BODY)
        if (b"x-modgate-limits: local" in answer.head.lower()) is local:
            return answer
        assert time.monotonic() < end, answer.head
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_two_processes_share_what_one_of_them_owns_and_the_other_inherits_it(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    path = tmp_path / "shared" / "limits.sock"
    known = f'url = "owner://{path}"\ndeadline = "200ms"'
    tenants = {"acme": LIMITS, "paused": PAUSED}
    with sharing(tmp_path, engine.url, known, tenants, count=2) as shared:
        load = Load(shared)
        statuses = [(await load.ask("acme", turn % 2, BODY)).status for turn in range(16)]
        first = owner(shared, path)
        other = 1 - first
        shared.served[first].process.send_signal(signal.SIGSTOP)
        alone = await until(load, other, "paused", True)
        shared.served[first].process.send_signal(signal.SIGCONT)
        together = await until(load, other, "paused", False)
        await asyncio.sleep(WRITTEN_EVERY_S + 1)
        shared.served[first].process.kill()
        shared.served[first].process.wait()
        inherited = await until(load, other, "paused", False)
        spent = await load.ask("acme", other, BODY)
        second = owner(shared, path)
        load.close()

    assert statuses == [200] * 12 + [429] * 4
    assert (alone.status, together.status, inherited.status) == (200, 200, 200)
    assert second == other
    assert spent.status == 429
    assert b"x-modgate-limits" not in spent.head.lower()
