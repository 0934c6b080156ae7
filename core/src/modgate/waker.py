"""Somebody is told that calls are held for a model of which no engine is there.

An autoscaler that went to none learns of a held call from metrics, too, but a scrape later.

Source: field.md row 28.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import orjson

from modgate import tasks
from modgate.api.discover import ConfiguredDiscoverer, Wake
from modgate.observe.metrics import Counter
from modgate.upstream.documents import NotHad, ask

log = logging.getLogger(__name__)

TRIES = 3
AFTER_S = 0.5  # a try that failed
REST_S = 4.0  # once it was told


@dataclass(slots=True, eq=False)
class Waker:
    """Tells by POST; of each model of a discoverer once in a while, however many calls are held.

    `wakes`: counts what was told, by discoverer and whether somebody took it.
    """

    wakes: Counter
    _telling: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)

    def wake(self, discoverer: ConfiguredDiscoverer, model: str) -> None:
        """A call is held for a model that this one may find an engine of."""
        key = (discoverer.name, model)
        if discoverer.wake is not None and key not in self._telling:
            task = asyncio.get_running_loop().create_task(
                self._tell(discoverer.wake, discoverer, model)
            )
            self._telling[key] = task
            task.add_done_callback(lambda _: self._telling.pop(key, None))

    async def _tell(self, wake: Wake, discoverer: ConfiguredDiscoverer, model: str) -> None:
        words = {"discover": discoverer.name, "model": model}
        body = orjson.dumps({**words, "engine_model": discoverer.template.serves[model]})
        reason = ""
        for _ in range(TRIES):
            if not (reason := await _posted(wake, body)):
                break
            await asyncio.sleep(AFTER_S)
        self.wakes.add((discoverer.name, "failed" if reason else "ok"))
        if reason:
            log.error("nobody could be told to make an engine", extra={**words, "reason": reason})
        else:
            log.info("an engine is asked for", extra=words)
            await asyncio.sleep(REST_S)

    async def close(self) -> None:
        """Tell nobody any more."""
        await tasks.end(self._telling.values())


async def _posted(wake: Wake, body: bytes) -> str:
    """Why it was not taken; "" when it was."""
    headers = {"Content-Type": "application/json"}
    if wake.key is not None:
        headers["Authorization"] = f"Bearer {wake.key.reveal()}"
    try:
        status, _ = await ask("POST", wake.url, headers=headers, body=body, ca=wake.ca)
    except NotHad as error:
        return str(error)
    return "" if 200 <= status < 300 else f"status {status}"
