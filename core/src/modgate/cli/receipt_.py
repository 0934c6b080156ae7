"""`modgate receipt`: what a receipt says, against what was sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors

if TYPE_CHECKING:
    from modgate.api.json import JsonObject
    from modgate.cli.verify import Line


@click.group("receipt")
def command() -> None:
    """Check receipts, as `GET /v1/usage/ID` answers them."""


@command.command("verify")
@click.argument("receipt", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--input",
    "content",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="what was sent: the JSON body, or the audio, text, picture or PDF",
)
@click.option("--config", "path", type=click.Path(path_type=Path), help="whose models and plugins")
@click.option(
    "--field", "fields", multiple=True, metavar="NAME=TEXT", help="another field of the request"
)
def verify(receipt: Path, content: Path, path: Path | None, fields: tuple[str, ...]) -> None:
    """Count RECEIPT's units again from the input, by the code that counted them.

    Exit code 0: nothing differs; 1: something does.
    """
    from modgate.cli.rows import print_rows
    from modgate.cli.verify import CannotVerify

    with plain_errors():
        read = _receipt(receipt)
        data = content.read_bytes()
        try:
            lines = _lines(read, data, path, _fields(fields))
        except CannotVerify as error:
            raise click.ClickException(str(error)) from None
    rows = [
        (each.unit, each.billed, "" if each.counted is None else each.counted, said(each))
        for each in lines
    ]
    print_rows(("unit", "billed", "counted", "verdict"), rows, None)
    sys.exit(any(each.verdict == "differs" for each in lines))


def said(line: Line) -> str:
    """A verdict with its reason."""
    return f"{line.verdict}: {line.note}" if line.note else line.verdict


def _receipt(path: Path) -> JsonObject:
    import orjson

    try:
        read = orjson.loads(path.read_bytes())
    except ValueError:
        read = None
    if not isinstance(read, dict) or read.get("object") != "receipt" or read.get("v") != 1:
        raise click.ClickException(f"{path} is no receipt of version 1, as /v1/usage/ID answers it")
    return read


def _fields(written: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in written:
        name, sign, text = each.partition("=")
        if not sign or not name:
            raise click.UsageError(f"--field reads NAME=TEXT, and not '{each}'")
        found[name] = text
    return found


def _lines(
    receipt: JsonObject, content: bytes, path: Path | None, fields: dict[str, str]
) -> list[Line]:
    from modgate.cli.verify import CannotVerify, Verifier, price_lines
    from modgate.snapshot.blueprint import blueprint_of

    made = blueprint_of(path)
    modality = made.loaded.modalities.get(str(receipt.get("modality")))
    if modality is None:
        raise CannotVerify(f"no enabled plugin brings '{receipt.get('modality')}'")
    model = made.linked.models.get(str(receipt.get("model")))
    facts = model.facts.model_dump(exclude_unset=True) if model is not None else {}
    lines = Verifier(modality, facts).lines(receipt, content, fields)
    cost = receipt.get("cost")
    return [*lines, *(price_lines(cost) if isinstance(cost, dict) else ())]
