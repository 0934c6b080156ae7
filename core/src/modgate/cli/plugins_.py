"""`modgate plugins`: what is installed and what it brings, and a new one to start from."""

from __future__ import annotations

from pathlib import Path

import click

from modgate.cli.problems import told


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
    from modgate.blueprint import blueprint_of
    from modgate.cli import scaffold
    from modgate.host.check import RESERVED, RESERVED_PATHS
    from modgate.host.installed import find

    with told():
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
    from modgate.blueprint import blueprint_of
    from modgate.host.installed import find

    installed = find()
    with told():
        made = blueprint_of(path, installed=installed)
    enabled = {origin.name for origin in made.loaded.plugins}
    for name, (origin, _) in installed.plugins.items():
        state = "on" if name in enabled else "off"
        click.echo(f"{name:<12} {origin.distribution} {origin.version}  API v1  {state}")
        for modality, owner in made.loaded.owners.items():
            if owner.name == name:
                _modality(made.loaded.modalities[modality], made.loaded.endpoints)
        loaded = made.loaded
        for what, brought in (
            ("policy", loaded.policies),
            ("scorer", loaded.scorers),
            ("authenticator", loaded.authenticators),
            ("sink", loaded.sinks),
            ("discoverer", loaded.discoverers),
        ):
            own = [kind for kind, (owner, _) in brought.items() if owner == origin]
            for kind in own:
                click.echo(f"{'':12} {what} {kind}")
    for name, why in installed.newer.items():
        click.echo(f"{name:<12} {why}")


def _modality(modality: object, endpoints: object) -> None:
    from modgate.api.modality import Modality

    assert isinstance(modality, Modality)
    assert isinstance(endpoints, list)
    units = ", ".join(unit.public for unit in modality.units)
    click.echo(f"{'':12} modality {modality.name}; units {units}")
    for name, endpoint in endpoints:
        if name == modality.name:
            click.echo(f"{'':12} POST {endpoint.path}")
