"""`modgate explain`: what led to a reply, asked of the gateway's admin listener."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import click

from modgate.cli.problems import check_key, check_url, plain_errors

if TYPE_CHECKING:
    from modgate.api.json import JsonObject

LOCAL = "http://127.0.0.1:8081"
ANSWER_S = 15.0


class _Unanswered(Exception):
    """There is nothing to show; the message says why.  `away`: no gateway answers there."""

    def __init__(self, message: str, *, away: bool = False) -> None:
        super().__init__(message)
        self.away = away


@click.command("explain", short_help="Say what led to a reply.")
@click.argument("request_id", metavar="[ID]", required=False)
@click.option("--url", help=f"the admin listener; else that of --config, else {LOCAL}")
@click.option("--config", "path", type=click.Path(path_type=Path), help="whose admin listener")
@click.option(
    "--key",
    envvar="MODGATE_ADMIN_KEY",
    show_envvar=True,
    help="an operator's key; else `[admin] key` of --config",
)
@click.option("--tenant", help="without an ID: this tenant only")
@click.option("--model", help="without an ID: this model only")
@click.option("--outcome", help="without an ID: an ending, a status or an error's code")
@click.option("--limit", type=click.IntRange(1, 1000), help="without an ID: so many lines")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of text")
def command(
    request_id: str | None,
    url: str | None,
    path: Path | None,
    key: str | None,
    tenant: str | None,
    model: str | None,
    outcome: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Say what led to the reply of the request ID, as its header x-request-id names it.

    Candidates with what was predicted of each, limits, policies, waits, attempts, and what was
    estimated against what it took.  Without an ID the recent requests are listed.  What is not
    recent any more is told from the ledger, as far as that knows it; with --config also where no
    gateway answers.
    """
    wish = {"tenant": tenant, "model": model, "outcome": outcome, "limit": limit}
    query = {name: str(value) for name, value in wish.items() if value is not None}
    if request_id is not None and query:
        raise click.UsageError(f"--{next(iter(query))} is for the list: leave out the ID")
    with plain_errors():
        base, key = _listener(url, path, key)
    page = f"/{quote(request_id, safe='')}" if request_id is not None else f"?{urlencode(query)}"
    try:
        found = asyncio.run(_asked(base, f"/admin/v1/requests{page}", key))
    except _Unanswered as error:
        row = None
        if error.away and request_id is not None and path is not None:
            row = _from_ledger(request_id, path)
        if row is None:
            raise click.ClickException(str(error)) from None
        click.echo(f"{error}; this is of its ledger", err=True)
        found = row
    _show(found, listed=request_id is None, as_json=as_json)


def _listener(url: str | None, path: Path | None, key: str | None) -> tuple[str, str | None]:
    """Where the admin listener is, and a key for it."""
    if url is None and path is not None:
        from modgate.config.decode import decode
        from modgate.config.source import read

        admin = decode(read(path)).admin
        address = admin.address
        host = _reachable(address.host)
        if not address.port:
            raise click.UsageError(f"{path} leaves the admin port to the system: say --url")
        url = f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"
        if key is None and admin.key is not None:
            key = admin.key.reveal()
    url = url or LOCAL
    check_url(url)
    if key is not None:
        check_key(key)
    return url.rstrip("/"), key


def _reachable(host: str) -> str:
    """Where one that listens on all addresses is found from here."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host


async def _asked(base: str, page: str, key: str | None) -> JsonObject:
    import aiohttp

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.get(f"{base}{page}") as reply,
        ):
            return _read(base, reply.status, await reply.read())
    except aiohttp.ClientSSLError as error:
        raise _Unanswered(f"no TLS with {base} ({type(error).__name__})") from None
    except aiohttp.ClientConnectorError:
        text = f"no gateway answers at {base}; say where its admin listener is: --url or --config"
        raise _Unanswered(text, away=True) from None
    except aiohttp.ClientError as error:
        text = f"what answers at {base} is no gateway ({type(error).__name__})"
        raise _Unanswered(text) from None
    except TimeoutError:
        text = f"the gateway at {base} gave no reply within {ANSWER_S:.0f} s"
        raise _Unanswered(text, away=True) from None


def _read(base: str, status: int, body: bytes) -> JsonObject:
    import orjson

    try:
        value = orjson.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _Unanswered(f"what answers at {base} is no gateway (status {status})")
    if status == 200 and ("requests" in value or value.get("object") == "explanation"):
        return value
    error = value.get("error")
    reason = error.get("message") if isinstance(error, dict) else error
    if status in (401, 403):
        hint = "give an operator's key: --key or MODGATE_ADMIN_KEY"
        raise _Unanswered(f"{base} refused ({status}): {reason}; {hint}")
    if status == 404 and isinstance(error, dict):
        text = f"{base} is the public listener; the admin one has another port"
        raise _Unanswered(f"{text}: modgate serve prints both")
    raise _Unanswered(str(reason))


def _from_ledger(request_id: str, path: Path) -> JsonObject | None:
    """What the ledger of a configuration says, read without its gateway."""
    from modgate.cli.rows import ledger_of, unbroken
    from modgate.explain.document import explained_row
    from modgate.ledger.stored import NotRead
    from modgate.money.invoice import Tariff
    from modgate.money.statements import find_row
    from modgate.prices.books import Books
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        try:
            ledger = ledger_of(path, None)
            with unbroken(ledger):
                row = find_row(ledger, request_id, lambda: None)
        except NotRead as error:
            raise click.ClickException(str(error)) from None
        made = blueprint_of(path)
        tariff = Tariff(Books(made.linked.books), made.units)
        return None if row is None else explained_row(row, tariff)


def _show(found: JsonObject, *, listed: bool, as_json: bool) -> None:
    from modgate.api.surface import dump
    from modgate.cli.explanation import lines
    from modgate.cli.rows import print_rows

    if as_json:
        click.echo(dump(found))
    elif listed:
        names = ("id", "began", "tenant", "model", "status", "outcome", "ms", "tries", "backend")
        rows = [
            (
                *(each["id"], each["began"], each["tenant"], each["model"] or "-"),
                *(each["status"], each["error"] or each["outcome"], round(each["duration_ms"])),
                *(each["attempts"], each["backend"] or "-"),
            )
            for each in found["requests"]
        ]
        print_rows(names, rows, None)
        if not rows:
            click.echo("no recent request is like that", err=True)
            sys.exit(1)
    else:
        for line in lines(found):
            click.echo(line)
