"""What an operator does while a gateway soaks: reads its pages, and changes what may be changed."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from oracle.engine import ScriptedEngine, ScriptFor

from rigs.soak_vitals import MIB

PAGES = (
    "/metrics", "/health/ready", "/admin/v1/config", "/admin/v1/backends", "/admin/v1/tenants",
    "/admin/v1/keys",
)  # fmt: skip  # rows as they are read
PASSING = 2  # tenants of the store at once
ENGINE_CHANGES = 4  # until it is another one
LOOKS, LOOK_S = 200, 0.05


class Operator:
    """`wrong`: pages that answered with an error."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession, script: ScriptFor) -> None:
        self.wrong: Counter[tuple[str, int]] = Counter()
        self._folder = folder
        self._session = session
        self._script = script
        self._found: ScriptedEngine | None = None
        self._keys: list[str] = []
        self._changes = 0

    async def look(self) -> None:
        """Read every page, and some explanations."""
        for path in PAGES:
            await self._page(path)
        for row in (await self._json("/admin/v1/requests?limit=5"))["requests"]:
            await self._page(f"/admin/v1/requests/{row['id']}")

    async def change(self) -> Sequence[str]:
        """The engine that is found comes, drains, goes, comes back, or is another one; another
        tenant is made, and the file read anew.  The keys of the tenants of the store."""
        self._changes += 1
        await self._find()
        name, last = f"passing-{self._changes}", self._changes - PASSING
        await self._page(f"/admin/v1/tenants/{name}", "PUT", {"limits": {"requests": "900/s"}})
        made = await self._json("/admin/v1/keys", "POST", {"tenant": name, "name": "ci"})
        self._keys = [*self._keys, made["key"]][-PASSING:]
        if last > 0:
            await self._page(f"/admin/v1/tenants/passing-{last}", "DELETE")
        config = self._folder / "modgate.toml"
        rate = f'requests = "{20 + self._changes % 5}/s"'
        _replace(config, re.sub(r'requests = "\d+/s"', rate, config.read_text()))
        await self._page("/admin/v1/reload", "POST")
        return self._keys

    async def _find(self) -> None:
        """An engine that is gone is remembered for ten minutes, so few are new."""
        turn = self._changes % ENGINE_CHANGES
        if turn == 1:
            await self.close()
            self._found = ScriptedEngine(self._script)
            await self._found.start()
        here = [{"url": self._found.url, "draining": turn == 2}] if self._found else []
        _replace(self._folder / "found.json", json.dumps(here if turn != 3 else []))

    async def settled(self) -> None:
        """Wait until nothing is in hand; what still is then is told by `sizes`."""
        for _ in range(LOOKS):
            if not (await self._json("/health/ready"))["in_hand"]:
                return
            await asyncio.sleep(LOOK_S)

    async def sizes(self) -> Mapping[str, float]:
        """How much there is of what the pages and the state directory show; MiB of files."""
        ready = await self._json("/health/ready")
        backends = await self._json("/admin/v1/backends")
        trails = await self._json("/admin/v1/requests?limit=1000")
        metrics = (await self._page("/metrics")).splitlines()
        state = self._folder / "state"
        return {
            "in hand": ready["in_hand"],
            "spool": ready["spool"]["files"],
            "trails": len(trails["requests"]),
            "backends": len(backends["backends"]),
            "gone": len(backends["gone"]),
            "series": sum(not line.startswith(b"#") for line in metrics),
            "ledger": ready["ledger"]["bytes"] / MIB,
            "sqlite": _mib(state / "usage.sqlite"),
            "its wal": _mib(state / "usage.sqlite-wal"),
        }

    async def _page(self, path: str, method: str = "GET", body: object = None) -> bytes:
        async with self._session.request(method, path, json=body) as reply:
            if reply.status >= 300:
                self.wrong[f"{method} {path}", reply.status] += 1
            return await reply.read()

    async def _json(self, path: str, method: str = "GET", body: object = None) -> Any:
        return json.loads(await self._page(path, method, body))

    async def close(self) -> None:
        """Stop the engine that was found last."""
        if self._found is not None:
            await self._found.close()


def _mib(path: Path) -> float:
    return path.stat().st_size / MIB if path.exists() else 0.0


def _replace(path: Path, text: str) -> None:
    """Write a new file and rename it over the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
