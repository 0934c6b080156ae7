"""`modgate try`: send a plugin's own sample to a running gateway."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.api.json import Json
from modgate.cli.problems import check_key, check_url, plain_errors

if TYPE_CHECKING:
    from aiohttp import ClientSession

SHOWN_AT_MOST = 2000
ANSWER_S = 300.0


@click.command("try", short_help="Send a sample to a running gateway.")
@click.argument("modality")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="the gateway")
@click.option("--key", help="API key; else MODGATE_KEY, else the demo key of this machine")
@click.option("--model", help="model; else the first of the modality")
def command(modality: str, url: str, key: str | None, model: str | None) -> None:
    """Send MODALITY's first sample to a running gateway and print what comes back."""
    from modgate.config.guess import did_you_mean
    from modgate.snapshot.blueprint import blueprint_of

    check_url(url)
    with plain_errors():
        modalities = blueprint_of(None).loaded.modalities
    if modality not in modalities:
        text = f"no modality '{modality}'{did_you_mean(modality, modalities)}"
        raise click.UsageError(f"{text}; there are: {', '.join(sorted(modalities))}")
    key = key or os.environ.get("MODGATE_KEY") or _demo_key()
    check_key(key)
    sys.exit(asyncio.run(_tried(modality, modalities[modality].samples, url, key, model)))


def _demo_key() -> str:
    from modgate.snapshot.directories import default_directory

    path: Path = default_directory() / "demo-key"
    try:
        return path.read_text().strip()
    except OSError:
        text = "no key: give --key or MODGATE_KEY; `modgate serve` without a file makes a demo key"
        raise click.UsageError(text) from None


async def _tried(modality: str, samples: Json, url: str, key: str, model: str | None) -> int:
    """Send, and say in a line why nothing came back."""
    import aiohttp

    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    base = url.rstrip("/") + "/"
    try:
        async with aiohttp.ClientSession(base, headers=headers, timeout=timeout) as session:
            model = model or await _first(session, url, modality)
            return await _send(session, samples[0], url, model)
    except _Unanswered as error:
        click.echo(str(error), err=True)
    except aiohttp.ClientSSLError as error:
        text = f"no TLS with {url} ({type(error).__name__}): a plain http:// address, or a"
        click.echo(f"{text} certificate that this machine does not trust", err=True)
    except aiohttp.ClientConnectorError:
        click.echo(f"no gateway answers at {url}; start one: modgate serve", err=True)
    except aiohttp.ClientError as error:
        click.echo(f"what answers at {url} is no gateway ({type(error).__name__})", err=True)
    except TimeoutError:
        click.echo(f"the gateway at {url} gave no reply within {ANSWER_S:.0f} s", err=True)
    return 1


class _Unanswered(Exception):
    """The gateway was reached and there is nothing to show; the message says why."""


async def _first(session: ClientSession, url: str, modality: str) -> str:
    """The first model of a modality that the key may use."""
    async with session.get("v1/models") as response:
        text = await response.text()
        try:
            value = json.loads(text)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise _Unanswered(f"what answers at {url} is no gateway (status {response.status})")
    if response.status != 200:
        raise _Unanswered(_refused(url, response.status, value))
    for card in value.get("data", []):
        if modality in card["modalities"]:
            return str(card["id"])
    raise _Unanswered(f"the gateway at {url} has no {modality} model for this key")


def _refused(url: str, status: int, value: Json) -> str:
    if "pages" in value or "admin" in str(value.get("error")):
        return f"{url} is the admin listener; give the public one: modgate serve prints both"
    error = value.get("error")
    reason = error.get("message") if isinstance(error, dict) else error
    return f"the gateway at {url} refused ({status}): {reason}"


async def _send(session: ClientSession, sample: Json, url: str, model: str) -> int:
    import aiohttp

    click.echo(f"POST {url}{sample.path}  model {model}", err=True)
    form = None
    if sample.form is not None:
        form = aiohttp.FormData()
        for name, value in sample.form.items():
            if isinstance(value, tuple):
                form.add_field(name, value[1], filename=value[0])
            else:
                form.add_field(name, model if name == "model" else value)
    body = {**sample.json, "model": model} if sample.json is not None else None
    async with session.post(sample.path.lstrip("/"), json=body, data=form) as response:
        data = await response.read()
        units = response.headers.get("x-modgate-units", "")
        click.echo(f"{response.status}  {units}", err=True)
        text = data.decode("utf-8", "replace")
        kind = response.content_type
        shown = text[:SHOWN_AT_MOST] if "json" in kind or "text" in kind else ""
        click.echo(shown or f"{len(data)} bytes of {kind}")
        return 0 if response.status == 200 else 1
