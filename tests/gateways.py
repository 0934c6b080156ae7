"""Starting a gateway in the test's own process, over backends that the test names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from aiohttp import ClientSession, ClientTimeout

from modgate.api.secret import Secret
from modgate.api.sink import Receipt
from modgate.auth.keys import new_key
from modgate.server.app import App

PEPPER = "a pepper for tests"
NOWHERE = "http://127.0.0.1:9"  # of engines that no call gets as far as
MODELS = {
    "chat": "llm",
    "eyes": "vlm",
    "ears": "asr",
    "voice": "tts",
    "pages": "ocr",
    "vectors": "embedding",
    "ranks": "rerank",
}


class Running:
    """A gateway with one tenant a name; `keys` are their keys.  A context closes it."""

    def __init__(self, app: App, keys: Mapping[str, str], config: Path) -> None:
        self.app = app
        self.keys = keys
        self.config = config

    async def __aenter__(self) -> Running:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.close()

    @property
    def url(self) -> str:
        """The public address."""
        host, port = self.app.public_address
        return f"http://{host}:{port}"

    @property
    def admin(self) -> str:
        """The admin address."""
        host, port = self.app.admin_address
        return f"http://{host}:{port}"

    @property
    def key(self) -> str:
        """The first tenant's key."""
        return next(iter(self.keys.values()))

    @property
    def headers(self) -> dict[str, str]:
        """What a client of the first tenant sends."""
        return {"Authorization": f"Bearer {self.key}"}

    async def page(self, path: str) -> str:
        """What the admin listener has at a path."""
        async with client() as session, session.get(self.admin + path) as reply:
            return await reply.text()

    @property
    def ledger(self) -> Path:
        """Where its ledger lies."""
        return self.app.state.ledger.directory


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {_toml(each)}" for name, each in value.items())
        return f"{{ {inside} }}"
    return str(value) if isinstance(value, int) else f'"{value}"'


def configuration(
    folder: Path,
    backends: Sequence[Mapping[str, object]],
    *,
    tenants: Mapping[str, str] | None = None,
    plugins: Sequence[str] = tuple(MODELS.values()),
    models: Mapping[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
    more: str = "",
) -> tuple[Path, dict[str, str]]:
    """A configuration file and the tenants' keys.

    `tenants`, `facts`: name of a tenant, of a model -> TOML lines of its section.
    """
    names = {n: m for n, m in (models or MODELS).items() if m in plugins}
    lines = ['[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"']
    (folder / "pepper").write_text(PEPPER)
    lines.append(f'[auth]\npepper = {{ file = "{folder / "pepper"}" }}')
    if "[telemetry]" not in more:  # engines that count what they are asked are asked by tests only
        lines.append('[telemetry]\nscrape = "0s"\nprobe = "0s"')
    if "[queue" not in more:  # what is not there is told at once, but where a test waits for it
        lines.append('[queue]\nhold = "0s"')
    lines += [f"[plugin.{name}]" for name in plugins]
    for name, modality in names.items():
        lines.append(f'[model.{name}]\nmodality = "{modality}"\n{(facts or {}).get(name, "")}')
    for number, backend in enumerate(backends):
        serves = backend.get("serves") or {name: f"engine-{name}" for name in names}
        pairs = ", ".join(f'{name} = "{engine}"' for name, engine in dict(serves).items())
        fields = {"name": f"b{number}", "slots": 64, **backend}
        fields.pop("serves", None)
        lines.append("[[backend]]")
        lines += [f"{name} = {_toml(value)}" for name, value in fields.items()]
        lines.append(f"serves = {{ {pairs} }}")
    keys: dict[str, str] = {}
    for name, section in (tenants or {"acme": ""}).items():
        key, stored = new_key(Secret(PEPPER), name=name, env="test", random=os.urandom)
        keys[name] = key.reveal()
        (folder / f"{name}.keys").write_text(stored.line() + "\n")
        lines.append(f'[tenant.{name}]\nkeys = {{ file = "{folder / name}.keys" }}\n{section}')
    path = folder / "modgate.toml"
    path.write_text("\n".join([*lines, more]) + "\n")
    return path, keys


async def start(
    folder: Path,
    backends: Sequence[Mapping[str, object]],
    *,
    extra: Mapping[str, ModuleType] | None = None,
    tenants: Mapping[str, str] | None = None,
    plugins: Sequence[str] = tuple(MODELS.values()),
    models: Mapping[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
    more: str = "",
) -> Running:
    """A running gateway: `async with await start(...) as running`, or the caller closes `app`."""
    path, keys = configuration(
        folder, backends, tenants=tenants, plugins=plugins, models=models, facts=facts, more=more
    )
    app = App(path, directory=folder / "state", extra=extra)
    await app.open()
    return Running(app, keys, path)


async def start_words(
    folder: Path, words: ModuleType, url: str = NOWHERE, *, tenants: Mapping[str, str] | None = None
) -> Running:
    """A gateway of one plugin, `words`, with its model `w` at one engine."""
    engine = {"url": url, "serves": {"w": "w"}}
    models, extra = {"w": "words"}, {"words": words}
    return await start(
        folder, [engine], plugins=["words"], models=models, extra=extra, tenants=tenants
    )


def receipts_of(running: Running) -> list[Receipt]:
    """Every receipt from now on, as it comes."""
    found: list[Receipt] = []
    running.app.state.observer.also(found.append)
    return found


def client() -> ClientSession:
    """A session of a client that does not wait for ever."""
    return ClientSession(timeout=ClientTimeout(total=30))
