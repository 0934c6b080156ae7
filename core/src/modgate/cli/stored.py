"""The tenants' store for a command: found by the configuration or the state directory, and opened.

A gateway that runs on it sees what a command changes within seconds.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from modgate.cli.problems import plain_errors

if TYPE_CHECKING:
    from modgate.auth.store import Store
    from modgate.snapshot.registrar import Registrar

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStore:
    """A store, and who changes it as the user of this command."""

    store: Store
    registrar: Registrar

    @staticmethod
    def wall() -> float:
        """Seconds since the epoch."""
        return time.time()


def where(command: Command) -> Command:
    """The options that say which store."""
    config = click.option("--config", "path", type=click.Path(path_type=Path), help="whose store")
    directory = click.option(
        "--directory", type=click.Path(path_type=Path), help="the state directory itself"
    )
    return config(directory(command))


@contextmanager
def opened(path: Path | None, directory: Path | None) -> Iterator[OpenedStore]:
    """The store of a configuration, else of a state directory; what is wrong is told."""
    from modgate.auth.store import REMOVED, Store, StoreError
    from modgate.server.secrets import in_use, secret_in
    from modgate.snapshot.blueprint import blueprint_of
    from modgate.snapshot.directories import default_directory
    from modgate.snapshot.registrar import Registrar

    with plain_errors():
        made = blueprint_of(path)
        file = made.linked.file
        state = directory or file.state.directory or default_directory()
        if not state.is_dir():
            text = f"there is no {state}: say whose store it is, --config FILE or --directory DIR"
            raise click.ClickException(text)
        pepper = file.auth.pepper or secret_in(state, "pepper")
        at = file.auth.store or state / "tenants.db"
        if not at.exists() and in_use(state):  # an empty one would take every tenant away
            raise click.ClickException(f"{at} {REMOVED}")
        try:
            store = Store(at)
            try:
                actor = f"command line ({getpass.getuser()})"
                registrar = Registrar(store, made, pepper, actor=actor)
                yield OpenedStore(store=store, registrar=registrar)
            finally:
                store.close()
        except StoreError as error:
            raise click.ClickException(str(error)) from None
