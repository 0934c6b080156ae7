"""Files in a folder, read as a configuration over two small plugins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from made_plugins import Asks, Says, Sounds, Words, plugin
from toys import advice

from modgate.config.decode import decode
from modgate.config.link import Linked
from modgate.config.schema import File
from modgate.config.source import Source, read
from modgate.host.installed import Installed
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

PLUGINS = {
    "words": plugin(modgate_modalities=[Words]),
    "sounds": plugin(modgate_modalities=[Sounds]),
    "house": plugin(modgate_policies=[Says, Asks]),
    "advice": advice,
}


@dataclass(frozen=True)
class Config:
    """A configuration in a folder of its own."""

    folder: Path

    def write(self, text: str, **more: str) -> Path:
        """The first file, and others by their stem: `b="..."` is `b.toml`."""
        for name, other in more.items():
            (self.folder / f"{name}.toml").write_text(other)
        path = self.folder / "modgate.toml"
        path.write_text(text)
        return path

    def source(self, text: str, **more: str) -> Source:
        return read(self.write(text, **more))

    def decode(self, text: str, **more: str) -> File:
        return decode(self.source(text, **more))

    def link(self, text: str, **more: str) -> Linked:
        """As the gateway does it, with the plugins that the file enables."""
        return blueprint_of(self.write(text, **more), installed=Installed(), extra=PLUGINS).linked

    def told(self, text: str, **more: str) -> list[str]:
        """Every mistake, as `FILE:LINE: KEY: MESSAGE` with the file's bare name."""
        with pytest.raises(ConfigError) as caught:
            self.link(text, **more)
        return [str(each).replace(f"{self.folder}/", "") for each in caught.value.problems]
