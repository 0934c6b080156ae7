"""`modgate licences`: every installed distribution with its licence."""

from __future__ import annotations

from importlib.metadata import distributions

import click


@click.command("licences", short_help="List what is installed, with licences.")
def command() -> None:
    """List every installed distribution with its licence and the shared libraries inside it."""
    rows = []
    for dist in distributions():
        said = dist.metadata.json
        licence = str(said.get("license_expression") or said.get("license") or "not said")
        libraries = [str(f) for f in dist.files or () if ".so" in f.suffixes]
        rows.append((dist.name, dist.version, licence.splitlines()[0][:60], libraries))
    for name, version, licence, libraries in sorted(rows, key=lambda row: row[0].lower()):
        click.echo(f"{name} {version}: {licence}")
        for library in libraries:
            click.echo(f"    {library}")
