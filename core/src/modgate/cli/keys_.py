"""`modgate keys`: make API keys."""

from __future__ import annotations

import os
from pathlib import Path

import click

from modgate.cli.problems import told


@click.group("keys")
def command() -> None:
    """Make API keys.  A key is shown once; only its digest is kept."""


@command.command("new")
@click.argument("name")
@click.option("--config", "path", type=click.Path(path_type=Path), help="whose pepper")
@click.option("--directory", type=click.Path(path_type=Path), help="state directory with a pepper")
@click.option("--env", default="live", show_default=True, help="a word in the key: live, test")
def new(name: str, path: Path | None, directory: Path | None, env: str) -> None:
    """Make a key called NAME: prints the key, and the line for the tenant's key file."""
    from modgate.api.secret import Secret
    from modgate.auth.keys import new_key
    from modgate.config.decode import decode, read

    with told():
        pepper: Secret | None = None
        if path is not None:
            pepper = decode(read(path)).auth.pepper
            if pepper is None:
                raise click.UsageError(f"{path} has no [auth] pepper")
        elif directory is not None:
            pepper = Secret((directory / "pepper").read_text().strip())
    if pepper is None:
        raise click.UsageError("say whose pepper: --config FILE or --directory DIR")
    try:
        key, stored = new_key(pepper, name=name, env=env, random=os.urandom)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"key:  {key.reveal()}")
    click.echo(f"line: {stored.line()}")
