"""A running gateway: state opened, snapshot built, listeners up; reload and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from modgate import tasks
from modgate.api.auth import Caller
from modgate.api.engine import EngineState
from modgate.api.secret import Secret
from modgate.auth.store import Store, StoreError
from modgate.clock import Clock, SystemClock
from modgate.decoders.pool import Decoders
from modgate.decoders.process import DecoderLimits
from modgate.engines.supervisor import Engines
from modgate.gateway import Gateway, build, gates
from modgate.http.tls import TlsFiles
from modgate.idempotency import IdempotencyKeys, Retention
from modgate.ledger.disk import FULL
from modgate.observe.observer import Observer
from modgate.observe.otel import Exporter, MissingExtra
from modgate.problems import ConfigError, PluginError, Problem
from modgate.replays.memory import MemoryReplays
from modgate.replays.redis_store import RedisReplays
from modgate.server.address_in_use import refusal
from modgate.server.admin import Admin
from modgate.server.beside import beside
from modgate.server.full_ledger import FullLedger
from modgate.server.gauges import register
from modgate.server.ledger import open_audit, open_ledger, open_shipping
from modgate.server.levels import open_levels
from modgate.server.listeners import CUT_S, Address, Listener, drain
from modgate.server.open_files import OpenFiles
from modgate.server.peers import open_peers
from modgate.server.public import Public
from modgate.server.secrets import StateDirectory, unusable
from modgate.server.tenancy import Tenancy
from modgate.server.tenancy_pages import TenancyPages
from modgate.server.watch import Look, WatchedFiles, watch
from modgate.snapshot.blueprint import Blueprint, Overrides, blueprint_of
from modgate.snapshot.callers import DEMO_TENANT, Held, Roster
from modgate.snapshot.directories import default_directory, default_models_directory
from modgate.spool import Spool
from modgate.state import State
from modgate.tracebacks import plain

log = logging.getLogger(__name__)

START = "start"
STILL_S, STILL_LOOKS = 0.1, 20  # whoever writes a file in place may not be done when it is seen
Changed = Callable[[str, EngineState], None]


class App:
    """One gateway process.  `path` None = the fileless start."""

    def __init__(
        self,
        path: Path | None,
        *,
        only: Sequence[str] | None = None,
        directory: Path | None = None,
        overrides: Overrides | None = None,
        extra: Mapping[str, ModuleType] | None = None,
        changed: Changed | None = None,
    ) -> None:
        self.path = path
        self._only = only
        self._overrides = dict(overrides or {})
        if directory is not None:
            self._overrides["state", "directory"] = str(directory)
        self._extra = extra
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = SystemClock()
        self._opened = AsyncExitStack()  # what is open, to be closed the other way round
        self._watched = WatchedFiles(path.parent if path is not None else Path())
        self._closed = False
        self.epoch = 0
        self._reloading = asyncio.Lock()
        self._soon = False
        self.demo_key: Secret | None = None
        self.public_address = ("", 0)
        self.admin_address = ("", 0)

    def _read(self) -> tuple[Blueprint, str]:
        """The file's meaning, and its digest; of thousands of tenants it takes seconds."""
        made = blueprint_of(
            self.path,
            only=self._only,
            extra=self._extra,
            overrides=self._overrides,
            noted=self._watched.use,
        )
        return made, digest_of(made.effective)

    async def open(self) -> None:
        """Everything up.

        ConfigError, PluginError or OSError with the reason; then nothing is left.
        """
        made, digest = self._read()
        raise_file_limit()
        file = self._started = made.linked.file
        files = StateDirectory(file.state.directory or default_directory())
        self._opened.callback(files.close)
        try:
            self._pepper = file.auth.pepper or files.secret("pepper")
            self.audit = open_audit(made, files, self._clock)
            self._opened.callback(self.audit.close)
            self.tenancy = self._open_tenancy(made, files)
            self._opened.callback(self.tenancy.close)
            self.state = self._open_state(made, files)
            self._opened.push_async_callback(self._close_state)
            self.open_files = OpenFiles(self._clock, self.state.observer.registry)
            self.state.admin_on_loopback = file.admin.address.loopback
            self.state.shipping = open_shipping(made, files, self.state)
            self.state.observer.also(self.audit.saw)
            await self._use(made)
            self._counts("config.start", START, digest)
            await self._listen(made)
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
                raise unusable(files.path, error) from None
            raise
        self._watch()

    def _open_tenancy(self, made: Blueprint, files: StateDirectory) -> Tenancy:
        demo: tuple[Held, ...] = ()
        if made.demo:
            self.demo_key, stored = files.demo_key(self._pepper)
            demo = ((Caller(tenant=DEMO_TENANT, key_id=stored.id), stored),)
        store = _store(made.linked.file.auth.store or files.path / "tenants.db")
        return Tenancy(store, self._clock, self._hold, self.audit, demo)

    def _open_state(self, made: Blueprint, files: StateDirectory) -> State:
        file, root, clock = made.linked.file, files.path, self._clock
        spool = Spool(file.spool.directory or root / "spool", file.spool.at_most)
        exporter = _exporter(made)
        ledger = open_ledger(made, files, clock)
        levels = open_levels(made, root, clock)
        decoders = file.decoders
        limits = DecoderLimits(
            memory_bytes=decoders.memory,
            cpu_s=decoders.cpu,
            wall_s=decoders.wall,
            written_bytes=decoders.written,
        )
        state = State(
            clock=clock,
            spool=spool,
            ledger=ledger,
            observer=Observer(exporter, gen_ai=file.metrics.gen_ai),
            decoders=Decoders(
                processes=decoders.processes,
                streams=decoders.streams or os.cpu_count() or 1,
                limits=limits,
                directory=str(spool.directory),
            ),
            engines=Engines(self._changed),
            limits=levels.counted,
            shared=levels.shared,
            level_file=levels.level_file,
            peers=open_peers(made, clock),
            sample=file.trace.sample,
        )
        state.idempotency = _keys(made, levels.replays, clock)
        state.lies_in = _lies_in(made)
        state.observer.start()
        for account in (levels.shared, levels.level_file):
            if account is not None:
                account.start()
        register(state)
        return state

    async def _use(self, made: Blueprint) -> None:
        """Build a snapshot and swap it in."""
        self.log_level = made.linked.file.log.level
        data = made.linked.file.local.data or default_models_directory()
        async with self.tenancy.lock:
            found, changes = await self.tenancy.linked(made)
            gateway = build(made, self.state, data=data, who=found, pepper=self._pepper)
            self.tenancy.use(made, found, changes)
            self.state.engines.use(gateway.engines)
            explain = made.linked.file.explain
            self.state.trails.use(explain.requests, explain.at_most)
            self._swap(gateway, found)
            await self.state.members.use(gateway.discoverers, made.loaded.discoverers)

    def _hold(self, found: Roster) -> None:
        """Swap in who may call; engines, queues, limits and all else are the same."""
        made, old = self.tenancy.made, self.state.gateway()
        gate, admin_gate = gates(made, self.state, who=found, pepper=self._pepper)
        self._swap(replace(old, gate=gate, admin_gate=admin_gate), found)

    def _swap(self, gateway: Gateway, found: Roster) -> None:
        self.state.attempts.forget_bad()
        models = {model.name for model in gateway.table.models.values()}
        self.state.observer.use(gateway.units, {*found.tenants, DEMO_TENANT}, models)
        self.state.use(gateway)

    async def _listen(self, made: Blueprint) -> None:
        file = made.linked.file
        self.public = Listener(Public(self.state).answer, self.state)
        tls = None
        if file.listen.tls is not None:
            tls = TlsFiles(cert=file.listen.tls.cert, key=file.listen.tls.key)
        public = Address(host=file.listen.address.host, port=file.listen.address.port, tls=tls)
        self.public_address = await self._up(made, "listen", self.public, public)
        tenants = TenancyPages(self.tenancy, self._clock, self._pepper)
        self.pages = Admin(
            self.state, self.reload, tenants, self.audit.denied, lambda: self.tenancy.made.effective
        )
        self.admin = Listener(self.pages.answer, self.state)
        admin = Address(host=file.admin.address.host, port=file.admin.address.port)
        self.admin_address = await self._up(made, "admin", self.admin, admin)

    async def _up(
        self, made: Blueprint, section: str, listener: Listener, address: Address
    ) -> tuple[str, int]:
        self._opened.push_async_callback(self._cut, listener)
        try:
            return await listener.open(address)
        except OSError as error:
            text = refusal(address.host, address.port, error)
            raise ConfigError([made.source.problem((section, "address"), text)]) from None

    @property
    def gateway(self) -> Gateway:
        """The snapshot of the moment."""
        return self.state.gateway()

    def _counts(self, action: str, actor: str, digest: str) -> None:
        """What configuration counts now, by its number since the start and what it says."""
        self.epoch += 1
        self._audited(action, actor, f"epoch {self.epoch}, sha256 {digest}")

    def _audited(self, action: str, actor: str, detail: str) -> None:
        self.audit.changed(action, actor=actor, subject=str(self.path or "no file"), detail=detail)

    async def reload(self, actor: str = "file change") -> tuple[str, ...]:
        """Build the file's new meaning beside the old one; a problem keeps that and is raised.

        The answer: the sections that differ from those of the start and take a restart to apply.
        """
        try:
            async with self._reloading:  # of two the later one counts
                self._soon = False
                made, digest = await beside(self._read)
                if gone := made.source.vanished(self.tenancy.made.source):
                    raise ConfigError(gone)
                await self._use(made)
        except (ConfigError, PluginError, OSError) as error:
            problems = plain(error).splitlines()
            log.error("reload refused", extra={"problems": problems})
            self._audited("config.refused", actor, f"{len(problems)} problems")
            raise
        self._counts("config.reload", actor, digest)
        waiting = made.linked.file.static_changes(self._started)
        if waiting:
            log.warning("reloaded; some sections need a restart", extra={"sections": waiting})
        else:
            log.info("reloaded")
        await self.state.prune(self.gateway.backends)
        return waiting

    def _watch(self) -> None:
        looks: dict[str, Look] = {
            "tenants": self.tenancy.look,
            "file": self._look_at_file,
            "certificate": self.public.refresh,
            "audit": self.audit.flush,
            "open files": self.open_files.look,
            "unused engines": lambda: self.state.prune(self.gateway.backends),
        }
        if self._started.ledger.on_full == "refuse":
            looks["room in the ledger"] = FullLedger(self.state.ledger).look
        for what, look in looks.items():
            self._own(watch(what, look))

    async def _look_at_file(self) -> None:
        if not await self._changed_files():
            return
        for _ in range(STILL_LOOKS):
            await asyncio.sleep(STILL_S)
            if not await self._changed_files():
                break
        await self._reload_quietly()

    async def _changed_files(self) -> bool:
        async with self._reloading:
            return await beside(self._watched.changed)

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def reload_soon(self) -> None:
        """For a signal handler; a signal before it has begun to read is the same one."""
        if not self._soon and not self._closed:
            self._soon = True
            self._own(self._reload_quietly("SIGHUP"))

    async def _reload_quietly(self, actor: str = "file change") -> None:
        try:
            await self.reload(actor)
        except (ConfigError, PluginError, OSError):
            return  # said in the log; the old snapshot serves on
        except Exception:
            log.exception("reload failed")

    async def drain(self) -> bool:
        """Leave in order; True when every request in hand came to its own end."""
        return await drain(self.state, self.public, self.gateway.drain_s)

    async def close(self) -> None:
        """Close everything that is open; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        await tasks.end(self._tasks)
        await self._opened.aclose()

    async def _cut(self, listener: Listener) -> None:
        self.state.cut()
        await listener.close()

    async def _close_state(self) -> None:
        await self._reloading.acquire()  # for good: one that an admin asked for came to its end
        await self.state.drained(CUT_S)  # what was cut settles its bill before the ledger closes
        await self.state.close()


def _exporter(made: Blueprint) -> Exporter | None:
    """Where traces go; ConfigError without the extra."""
    trace = made.linked.file.trace
    try:
        return Exporter(trace.otlp, trace.region) if trace.otlp else None
    except MissingExtra as error:
        raise ConfigError([Problem(message=str(error), path="trace.otlp")]) from None


def _lies_in(made: Blueprint) -> tuple[str | None, ...]:
    """Where every request leaves something."""
    file = made.linked.file
    here, store = file.state.region, file.limits.store
    spool = file.spool.region if file.spool.region is not None else here
    return (here, spool) if store is None else (here, spool, store.place(here))


def _keys(made: Blueprint, shared: RedisReplays | None, clock: Clock) -> IdempotencyKeys:
    """The idempotency keys, in this process and, where there is one, in the store."""
    section = made.linked.file.idempotency
    local = MemoryReplays(clock.now, keys=section.keys, at_most=section.at_most)
    retention = Retention(
        bodies=section.bodies, keep_s=section.keep, reply_bytes=section.reply_bytes
    )
    return IdempotencyKeys(local, shared, retention)


def _store(path: Path) -> Store:
    """The tenants' store; ConfigError for one that cannot be used."""
    try:
        return Store(path)
    except (StoreError, OSError) as error:
        raise ConfigError([Problem(message=plain(error), path="auth.store")]) from None


def digest_of(effective: Sequence[tuple[str, str, str]]) -> str:
    """What a configuration says, in short; secrets are masked in it."""
    return sha256("\n".join(f"{key} {value}" for key, value, _ in effective).encode()).hexdigest()


def raise_file_limit() -> None:
    """As many open files as the system allows: a stream takes two sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
