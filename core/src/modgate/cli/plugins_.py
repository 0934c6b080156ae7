"""`modgate plugins`: what is installed and what it brings, a new one to start from, a verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors
from modgate.problems import PluginError

if TYPE_CHECKING:
    from modgate.host.installed import Installed, Origin
    from modgate.host.load import Loaded
    from modgate.snapshot.blueprint import Blueprint


@click.group(
    "plugins", short_help="List plugins, write a new one, or test one.", invoke_without_command=True
)
@click.option("--config", "path", type=click.Path(path_type=Path), help="a configuration")
@click.pass_context
def command(context: click.Context, path: Path | None) -> None:
    """List the installed plugins with their endpoints and units; write a new one, or test one."""
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


@command.command("test")
@click.argument("name")
@click.option("--config", "path", type=click.Path(path_type=Path), help="a configuration")
@click.pass_context
def test(context: click.Context, name: str, path: Path | None) -> None:
    """Play the contract of the installed plugin NAME, and say which rules hold.

    Its samples are played without a socket: cut anywhere, cancelled, answered with garbage, with a
    planted secret; and what is billed is looked at.  Needs modgate[testing].  With --config the
    plugin is as its section says.  What only an author's own contract has is not checked.
    """
    from modgate.config.guess import did_you_mean
    from modgate.host.installed import find

    path = path or (context.parent.params["path"] if context.parent else None)
    installed, broken = find(), dict[str, str]()
    if name not in installed.plugins:
        raise click.UsageError(f"no plugin '{name}'{did_you_mean(name, installed.plugins)}")
    with plain_errors():
        loaded = _made(path, installed, broken).loaded
    if name in broken:
        raise click.ClickException(broken[name])
    origin, _ = installed.plugins[name]
    if origin not in loaded.plugins:
        raise click.UsageError(f"{path} does not switch it on; add [plugin.{name}]")
    if not _tested(loaded, origin):
        sys.exit(1)


def _tested(loaded: Loaded, origin: Origin) -> bool:
    """Print each verdict as it comes; whether no rule is broken."""
    try:
        from modgate.cli import conformance
    except ModuleNotFoundError as missing:
        text = f"{missing}; run: python -m pip install 'modgate[testing]'"
        raise click.ClickException(text) from None
    counts = dict.fromkeys(("holds", "broken", "not checked"), 0)
    for what, contract, rules in conformance.contracts(loaded, origin.name):
        click.echo(f"{what}  {origin.distribution} {origin.version}")
        first: dict[str, str] = {}  # the rule that a cause broke, by the cause
        for verdict in conformance.verdicts(contract, rules):
            counts[verdict.state] += 1
            words = verdict.rule.removeprefix("test_").replace("_", " ")
            click.echo(f"  {verdict.state:<12} {words}")
            why = verdict.why
            if verdict.state == "broken" and first.setdefault(why, words) != words:
                why = f"by the same as: {first[why]}"
            for line in why.splitlines():
                click.echo(f"  {'':<14} {line}")
    for each in _kinds(loaded, origin):
        counts["not checked"] += 1
        click.echo(f"{each}\n  {'not checked':<12} whether it does what it should")
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    return not counts["broken"]


def _list(path: Path | None) -> None:
    from modgate.host.installed import TO_INSTALL, find

    installed = find()
    if not installed.plugins:
        click.echo(f"no plugin is installed; {TO_INSTALL}")
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
    yield from _kinds(loaded, origin)


def _kinds(loaded: Loaded, origin: Origin) -> Iterator[str]:
    """What it brings for an operator's sections to put to work."""
    for what, brought in (
        ("policy", loaded.policies),
        ("scorer", loaded.scorers),
        ("authenticator", loaded.authenticators),
        ("sink", loaded.sinks),
        ("discoverer", loaded.discoverers),
    ):
        yield from (f"{what} {name}" for name, (whose, _) in brought.items() if whose == origin)
