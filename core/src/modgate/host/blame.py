"""Naming the plugin whose code raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from traceback import walk_tb

from modgate.faults import RAISED
from modgate.host.installed import Origin
from modgate.problems import ConfigError, PluginError


@contextmanager
def blamed(origin: Origin, of: str = "") -> Iterator[None]:
    """Whatever a plugin raises within is a PluginError with its name; `of`: what it was asked.

    What does not fit in a file is the operator's, and told as it is.
    """
    try:
        yield
    except (ConfigError, PluginError):
        raise
    except RAISED as error:
        where = f" from {of}" if of else ""
        text = f"raised {type(error).__name__}{where}: {error}"
        raise PluginError(str(origin), text) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprits:
    """Whom a traceback leads to.

    `places`: folders and files of plugins; `owners`: modality -> plugin; `speakers`: modality and
    family of a dialect -> plugin.
    """

    places: Mapping[str, Origin] = field(default_factory=dict)
    owners: Mapping[str, Origin] = field(default_factory=dict)
    speakers: Mapping[tuple[str, str], Origin] = field(default_factory=dict)

    def of(
        self, error: BaseException | None, modality: str, dialect: tuple[str, str] | None = None
    ) -> str:
        """The plugin in whose code it was raised, else the dialect's that it broke in, else the
        modality's; '' when it is nobody's."""
        frames = list(walk_tb(error.__traceback__)) if error is not None else []
        for frame, _ in reversed(frames):
            for place, origin in self.places.items():
                if frame.f_code.co_filename.startswith(place):
                    return str(origin)
        owner = (self.speakers.get(dialect) if dialect else None) or self.owners.get(modality)
        return str(owner) if owner is not None else ""
