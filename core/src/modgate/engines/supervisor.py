"""Starts, watches and restarts the children that serve local models."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from modgate.api.engine import EngineState
from modgate.engines.process import EngineProcess
from modgate.engines.sockets import SocketDirectory
from modgate.errors import EngineMissing, ModelLoading, Unavailable

log = logging.getLogger(__name__)

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0
STOP_S = 3.0
THREAD_ENV = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One local engine to run.  `engine` is `module:class`; `version` is its plugin's."""

    name: str
    engine: str
    version: str
    data: Path
    threads: int

    @property
    def digest(self) -> str:
        """What decides whether a running child still fits after a reload."""
        return f"{self.engine}|{self.version}|{self.data}|{self.threads}"


Changed = Callable[[str, EngineState], None]


class Engines:
    """All children.  `changed(name, state)` is called on each change of state."""

    def __init__(self, changed: Changed | None = None) -> None:
        self._children: dict[str, Child] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._changed = changed
        self._sockets: SocketDirectory | None = None

    def leave(self) -> None:
        """The gateway drains: what ends from now on is not started again."""
        for child in self._children.values():
            child.leaving = True

    def socket_of(self, name: str) -> str:
        """The path of an engine's socket: short, for a unix path holds 107 bytes, and private."""
        if self._sockets is None:
            self._sockets = SocketDirectory()
        return str(self._sockets.path / f"{name}.sock")

    def use(self, specs: Sequence[EngineSpec]) -> None:
        """Start what is new, keep what fits, stop what is named no more."""
        wanted = {spec.name: spec for spec in specs}
        for name, child in list(self._children.items()):
            spec = wanted.get(name)
            if spec is None or spec.digest != child.spec.digest:
                del self._children[name]
                self._stop(child)
        for name, spec in wanted.items():
            if name not in self._children:
                self._children[name] = Child(spec, self.socket_of(name), self._changed)

    def _stop(self, child: Child) -> None:
        task = child.stop()
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    def states(self) -> Mapping[str, EngineState]:
        """How each engine stands."""
        return {name: child.state for name, child in self._children.items()}

    async def ready(self, name: str) -> None:
        """Wait until an engine serves; EngineMissing with the lines to run, Unavailable when it
        failed.

        The caller bounds the wait.
        """
        child = self._children.get(name)
        if child is None:
            raise Unavailable(f"the local engine '{name}' is not running")
        await child.ready()

    async def close(self) -> None:
        """Stop all children."""
        for child in self._children.values():
            self._stop(child)
        self._children.clear()
        if self._stopping:
            await asyncio.wait(self._stopping)
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None


class Child:
    """One engine's process, started again with back-off when it dies."""

    def __init__(self, spec: EngineSpec, path: str, changed: Changed | None) -> None:
        self.spec = spec
        self.state = EngineState()
        self.leaving = False
        self._path = path
        self._changed = changed
        self._turn = asyncio.Event()
        self._process: EngineProcess | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def _now(self, state: EngineState) -> None:
        self.state = state
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
        if self._changed is not None:
            self._changed(self.spec.name, state)

    async def ready(self) -> None:
        """Wait for `ready`; see `Engines.ready`."""
        try:
            while self.state.state != "ready":
                if self.state.state == "missing":
                    lines = "; ".join(self.state.missing)
                    raise EngineMissing(f"the local engine is not installed; run: {lines}")
                if self.state.state == "failed":
                    raise Unavailable(f"the local engine failed: {self.state.detail}")
                await self._turn.wait()
        except TimeoutError:
            raise ModelLoading("the model is still loading") from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            await self._once()
            if self.state.state == "missing":
                return
            if self.leaving:
                self._now(EngineState(state="failed", detail="it ended; the gateway is leaving"))
                return
            failures = 1 if loop.time() - began > STEADY_S else failures + 1
            wait_s = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]
            detail = f"it ended; started again in {wait_s:.0f} s"
            self._now(EngineState(state="failed", detail=detail))
            log.error("engine ended", extra={"engine": self.spec.name, "again_in_s": wait_s})
            await asyncio.sleep(wait_s)
            self._now(EngineState(state="starting"))

    async def _once(self) -> None:
        """Run the process to its end, passing on what it reports."""
        spec = {
            "engine": self.spec.engine,
            "data": str(self.spec.data),
            "threads": self.spec.threads,
            "socket": self._path,
        }
        command = (sys.executable, "-m", "modgate.engines.child", orjson.dumps(spec).decode())
        env = {**os.environ, **THREAD_ENV}
        try:
            self._process = process = await EngineProcess.start(command, self._reported, env)
        except OSError as error:  # as where open files run out
            log.error("engine not started", extra={"engine": self.spec.name, "reason": str(error)})
            return
        try:
            last = await process.last_words()
            if process.code:
                detail = {"engine": self.spec.name, "code": process.code, "stderr": last}
                log.error("engine process", extra=detail)
        finally:
            await process.stop(STOP_S)

    def _reported(self, line: bytes) -> None:
        try:
            told = orjson.loads(line)
            state, detail, missing = told["state"], told["detail"], tuple(told["missing"])
        except (orjson.JSONDecodeError, TypeError, KeyError):
            return  # printed by what a machine loads into every Python, before it could report
        self._now(EngineState(state=state, detail=detail, missing=missing))

    def stop(self) -> asyncio.Task[None]:
        """End the process; the task ends with it, after three seconds at the latest."""
        self._task.cancel()
        return self._task
