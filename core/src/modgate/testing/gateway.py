"""A whole gateway in the test's own process, with one plugin in front of one engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from modgate.api.secret import Secret
from modgate.auth.keys import new_key
from modgate.server.app import App

PEPPER = "a pepper for tests"


class Gateway:
    """It listens on loopback; `headers` are those of its one tenant, `acme`."""

    def __init__(self, app: App, key: str) -> None:
        self._app = app
        self.key = key

    @property
    def url(self) -> str:
        """The public address."""
        host, port = self._app.public_address
        return f"http://{host}:{port}"

    @property
    def headers(self) -> Mapping[str, str]:
        """What a client sends to be known."""
        return {"Authorization": f"Bearer {self.key}"}

    async def close(self) -> None:
        """End it, and what it holds."""
        await self._app.close()


async def start(
    folder: Path,
    plugin: str,
    url: str,
    *,
    model: str = "m",
    modality: str = "",
    family: str = "home",
    section: str = "",
    module: ModuleType | None = None,
) -> Gateway:
    """A gateway that serves `model` of a plugin at the engine `url`; the caller closes it.

    `modality`: where it is not called as the plugin.  `section`: TOML lines of `[plugin.NAME]`.
    `module`: the plugin itself, where it is not installed.  ConfigError when it does not fit.
    """
    key, stored = new_key(Secret(PEPPER), name="acme", env="test", random=os.urandom)
    (folder / "pepper").write_text(PEPPER)
    (folder / "acme.keys").write_text(stored.line() + "\n")
    path = folder / "modgate.toml"
    path.write_text(f"""
[listen]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[auth]
pepper = {{ file = "{folder / "pepper"}" }}
[plugin.{plugin}]
{section}
[model.{model}]
modality = "{modality or plugin}"
[[backend]]
name = "engine"
family = "{family}"
url = "{url}"
serves = {{ {model} = "engine-{model}" }}
[tenant.acme]
keys = {{ file = "{folder / "acme.keys"}" }}
""")
    extra = {plugin: module} if module is not None else None
    app = App(path, directory=folder / "state", extra=extra)
    await app.open()
    return Gateway(app, key.reveal())
