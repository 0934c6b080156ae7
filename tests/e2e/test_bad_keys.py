"""Bad keys behind the proxy of good tenants: the bad ones are slowed, the good ones are not."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from gateways import PEPPER, Running, configuration
from oracle.engine import ScriptedEngine

from modgate.auth import keyring
from modgate.auth.attempts import BURST
from modgate.auth.keys import new_key
from modgate.plugin import Secret
from modgate.server.app import App

TENANTS = [f"t{number}" for number in range(40)]
BAD = 1000
PROXY = {"X-Forwarded-For": "203.0.113.7"}


def stranger() -> str:
    """A key of the right shape that nobody has."""
    key, _ = new_key(Secret(PEPPER), name="n", env="test", random=os.urandom)
    return key.reveal()


@pytest.mark.slow
async def test_a_thousand_bad_keys_cost_no_tenant_behind_the_same_proxy_a_request(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested = Counter[str]()
    real = keyring.digest

    def digest(pepper: Secret, secret: str) -> str:
        digested[secret] += 1
        return real(pepper, secret)

    monkeypatch.setattr(keyring, "digest", digest)
    config, keys = configuration(
        tmp_path, [{"url": engine.url}], tenants=dict.fromkeys(TENANTS, "")
    )
    text = config.read_text()
    config.write_text(text.replace("[listen]", '[listen]\ntrusted_proxies = ["127.0.0.1"]', 1))
    app = App(config, directory=tmp_path / "state")
    await app.open()
    running = Running(app, keys, config)
    bad = [stranger() for _ in range(BAD)]
    slots = asyncio.Semaphore(16)
    waits: list[str] = []

    async def asked(session: ClientSession, key: str) -> int:
        headers = {"Authorization": f"Bearer {key}", **PROXY}
        async with slots, session.get(f"{running.url}/v1/models", headers=headers) as reply:
            await reply.read()
            if reply.status == 429:
                waits.append(reply.headers["retry-after"])
                assert reply.headers["x-should-retry"] == "false"
            return reply.status

    async with ClientSession(
        timeout=ClientTimeout(total=60), connector=TCPConnector(limit=16)
    ) as session:
        try:
            sent = [each for n, key in enumerate(bad) for each in (key, *good_at(n, keys))]
            told = await asyncio.gather(*(asked(session, key) for key in sent))
        finally:
            await app.close()
    refused = Counter(status for key, status in zip(sent, told, strict=True) if key in set(bad))
    good = Counter(status for key, status in zip(sent, told, strict=True) if key not in set(bad))

    assert good == {200: 10 * len(TENANTS)}
    assert refused[401] + refused[429] == BAD
    assert BURST <= refused[401] < 2 * BURST
    assert set(waits) <= {"1", "2", "3"}
    assert sum(digested.values()) < 2 * BURST + 10 * len(TENANTS)


def good_at(number: int, keys: dict[str, str]) -> list[str]:
    """The good keys behind the bad one of this number: each tenant asks ten times in all."""
    names = sorted(keys)
    return [keys[names[(number * 2 // 5) % len(names)]]] if number % 5 in (0, 3) else []


@pytest.mark.parametrize(
    "told",
    [
        ["{made_up}, 203.0.113.9"],
        ["{made_up}", "203.0.113.9"],
        ["{made_up}", "203.0.113.9, 127.0.0.1"],
        ["{made_up}, 203.0.113.9:{port}, 127.0.0.1:80"],
        ["{made_up}", "[2001:db8::9]:{port}", ""],
    ],
    ids=["one line", "a line each", "two proxies", "ports", "ports of IPv6"],
)
async def test_bad_keys_are_counted_by_the_address_that_the_proxy_saw_whatever_else_is_told(
    tmp_path: Path, engine: ScriptedEngine, told: list[str]
) -> None:
    config, keys = configuration(tmp_path, [{"url": engine.url}])
    text = config.read_text()
    config.write_text(text.replace("[listen]", '[listen]\ntrusted_proxies = ["127.0.0.1"]', 1))
    app = App(config, directory=tmp_path / "state")
    await app.open()
    running = Running(app, keys, config)

    async def asked(lines: list[str]) -> int:
        headers = [("Authorization", f"Bearer {stranger()}")]
        headers += [("X-Forwarded-For", line) for line in lines]
        async with session.get(f"{running.url}/v1/models", headers=headers) as reply:
            return reply.status

    async with running, ClientSession(timeout=ClientTimeout(total=60)) as session:
        statuses = [
            await asked([line.format(made_up=f"198.51.100.{n}", port=4000 + n) for line in told])
            for n in range(3 * BURST)
        ]
        other = await asked(["203.0.113.9", "203.0.113.10"])

    assert set(statuses) == {401, 429}
    assert other == 401
