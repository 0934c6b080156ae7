"""Whose fault it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modgate.errors import PluginError
from modgate.host.installed import Origin


@contextmanager
def blamed(origin: Origin, of: str = "") -> Iterator[None]:
    """Whatever a plugin raises within is a PluginError with its name; `of`: what it was asked."""
    try:
        yield
    except Exception as error:
        where = f" from {of}" if of else ""
        text = f"raised {type(error).__name__}{where}: {error}"
        raise PluginError(str(origin), text) from error
