"""`modgate check`: is the configuration right, and what does it mean."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors

if TYPE_CHECKING:
    from modgate.snapshot.blueprint import Blueprint

PROBE_S = 5.0


@click.command("check", short_help="Check a file and show what it means.")
@click.argument("path", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--schema", is_flag=True, help="print the JSON Schema of the file, for editors")
@click.option("--probe", is_flag=True, help="also ask every backend whether it is well")
def command(path: Path | None, schema: bool, probe: bool) -> None:
    """Check FILE offline and print the effective configuration with the origin of each value.

    Every mistake is shown at once, with file, line and a guess at what was meant.  Secrets are
    masked.
    """
    if schema:
        from modgate.api.surface import dump
        from modgate.config.schema import json_schema

        click.echo(dump(json_schema()))
        return
    if path is None:
        raise click.UsageError("say which file: modgate check modgate.toml")
    from modgate.snapshot.blueprint import blueprint_of
    from modgate.snapshot.doubts import doubts_of

    with plain_errors():
        made = blueprint_of(path)
        _check_stored(made)
    width = max(len(key) for key, _, _ in made.effective)
    for key, value, origin in made.effective:
        click.echo(f"{key:<{width}}  {value}  ({origin})")
    for each in doubts_of(made):
        click.echo(str(each), err=True)
    if probe and not asyncio.run(_probe(made)):
        sys.exit(1)


def _check_stored(made: Blueprint) -> None:
    """ConfigError where tenants of the store do not fit the file, OSError where it is no store.

    A copy is read, for whoever opens a store may bring it up to this version.
    """
    import sqlite3
    import time
    from tempfile import TemporaryDirectory

    from modgate.auth.store import Store, StoreError
    from modgate.problems import ConfigError
    from modgate.snapshot.callers import RosterMaker
    from modgate.snapshot.directories import default_directory

    file = made.linked.file
    path = file.auth.store or (file.state.directory or default_directory()) / "tenants.db"
    if not path.exists():
        if file.auth.store is not None and not path.parent.is_dir():
            text = f"the directory {path.parent} is not there"
            raise ConfigError([made.source.problem(("auth", "store"), text)])
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            with closing(source), closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            with closing(Store(copy)) as store:
                stored = store.read()
        except (sqlite3.Error, StoreError) as error:
            raise OSError(f"{path}: the store of tenants cannot be read: {error}") from None
    found = RosterMaker(made.linked, made.known, made.keys).whole(stored, time.time())
    if found.problems:
        raise ConfigError(found.problems)


async def _probe(made: Blueprint) -> bool:
    """Ask each backend's health path; True when all are well."""
    from ssl import create_default_context

    import aiohttp

    from modgate.snapshot.checkups import probes_of
    from modgate.tracebacks import reason_of

    probes, well = probes_of(made.loaded.dialects), True
    timeout = aiohttp.ClientTimeout(total=PROBE_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for backend in made.linked.backends:
            key = f"Bearer {backend.key.reveal()}" if backend.key is not None else ""
            headers = {"Authorization": key} if key else {}
            tls = create_default_context(cafile=backend.ca) if backend.ca else True
            url = backend.url.rstrip("/") + probes.get(backend.family, "/health")
            try:
                async with session.get(url, headers=headers, ssl=tls) as response:
                    state = "well" if response.status < 400 else f"status {response.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                state = f"not reached ({reason_of(error)})"
            well = well and state == "well"
            click.echo(f"backend {backend.name}: {state}")
    return well
