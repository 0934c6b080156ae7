"""`modgate plugins`: what is installed and what it brings."""

from __future__ import annotations

from pathlib import Path

import click

from modgate.cli.problems import told


@click.command("plugins")
@click.option("--config", "path", type=click.Path(path_type=Path), help="a configuration")
def command(path: Path | None) -> None:
    """List the installed plugins: distribution, version, modality, endpoints, units."""
    from modgate.gateway import plan
    from modgate.host.installed import find

    installed = find()
    with told():
        made = plan(path, installed=installed)
    enabled = {origin.name for origin in made.loaded.plugins}
    for name, (origin, _) in installed.plugins.items():
        state = "on" if name in enabled else "off"
        click.echo(f"{name:<12} {origin.distribution} {origin.version}  API v1  {state}")
        for modality, owner in made.loaded.owners.items():
            if owner.name == name:
                _modality(made.loaded.modalities[modality], made.loaded.endpoints)
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
