"""`modgate plugins`: what is installed and what it brings, and a new one to start from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors
from modgate.errors import PluginError

if TYPE_CHECKING:
    from modgate.host.installed import Installed, Origin
    from modgate.host.load import Loaded
    from modgate.snapshot.blueprint import Blueprint


@click.group("plugins", short_help="List plugins, or write a new one.", invoke_without_command=True)
@click.option("--config", "path", type=click.Path(path_type=Path), help="a configuration")
@click.pass_context
def command(context: click.Context, path: Path | None) -> None:
    """List the installed plugins with their endpoints and units; or write a new one."""
    if context.invoked_subcommand is None:
        _list(path)


@command.command("new")
@click.argument("name")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--modality", help="the new modality; default: the last word of NAME")
def new(name: str, directory: Path | None, modality: str | None) -> None:
    """Write a plugin of a new modality into DIRECTORY, by default ./NAME.

    It is a distribution that keeps its contract and can be installed and served as it is: one
    endpoint, one unit, a dialect with its transcripts, and a README that says what to change.
    """
    from modgate.cli import scaffold
    from modgate.host.check import RESERVED, RESERVED_PATHS
    from modgate.host.installed import find
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        paths = [endpoint.path for _, endpoint in blueprint_of(None).loaded.endpoints]
    taken = {*find().plugins, *paths, *RESERVED, *RESERVED_PATHS}
    folder = directory or Path(name)
    try:
        chosen = scaffold.names(name, modality, taken)
        written = scaffold.write(chosen, folder)
    except scaffold.Unfit as unfit:
        raise click.ClickException(str(unfit)) from None
    for place in written:
        click.echo(folder / place)
    click.echo(f"\nnext:\n  cd {folder}\n  python -m pip install -e '.[test]'\n  pytest")


def _list(path: Path | None) -> None:
    from modgate.host.installed import find

    installed = find()
    broken: dict[str, str] = {}
    with plain_errors():
        loaded = _made(path, installed, broken).loaded
    enabled = {origin.name for origin in loaded.plugins}
    for name, (origin, _) in installed.plugins.items():
        state = "broken" if name in broken else "on" if name in enabled else "off"
        click.echo(f"{name:<12} {origin.distribution} {origin.version}  API v1  {state}")
        for line in (*_modalities(loaded, origin), *_others(loaded, origin)):
            click.echo(f"{'':12} {line}")
    for name, why in installed.newer.items():
        click.echo(f"{name:<12} {why}")
    for why in broken.values():
        click.echo(why, err=True)
    if broken:
        sys.exit(1)


def _made(path: Path | None, installed: Installed, broken: dict[str, str]) -> Blueprint:
    """What is installed, or configured; without a file, what is `broken` is left out and told."""
    from modgate.snapshot.blueprint import blueprint_of

    while True:
        plugins = {name: each for name, each in installed.plugins.items() if name not in broken}
        try:
            return blueprint_of(path, installed=replace(installed, plugins=plugins))
        except PluginError as error:
            name = error.plugin.partition(" ")[0]
            if path is not None or name not in plugins:
                raise
            broken[name] = str(error)


def _modalities(loaded: Loaded, origin: Origin) -> Iterator[str]:
    for name, modality in loaded.modalities.items():
        if loaded.owners[name] == origin:
            units = ", ".join(unit.public for unit in modality.units)
            yield f"modality {name}; units {units}"
            yield from (f"POST {each.path}" for whose, each in loaded.endpoints if whose == name)


def _others(loaded: Loaded, origin: Origin) -> Iterator[str]:
    speakers = loaded.speakers.items()
    yield from (f"dialect {kind[1]} of {kind[0]}" for kind, whose in speakers if whose == origin)
    yield from (f"surface {name}" for name, whose in loaded.hosts.items() if whose == origin)
    for what, brought in (
        ("policy", loaded.policies),
        ("scorer", loaded.scorers),
        ("authenticator", loaded.authenticators),
        ("sink", loaded.sinks),
        ("discoverer", loaded.discoverers),
    ):
        yield from (f"{what} {name}" for name, (whose, _) in brought.items() if whose == origin)
