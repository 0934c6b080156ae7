"""`modgate try`: send a plugin's own sample to a running gateway."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from modgate.api.json import Json
from modgate.cli.problems import told

SHOWN_AT_MOST = 2000
ANSWER_S = 300.0


@click.command("try")
@click.argument("modality")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="the gateway")
@click.option("--key", help="API key; else MODGATE_KEY, else the demo key of this machine")
@click.option("--model", help="model; else the first of the modality")
def command(modality: str, url: str, key: str | None, model: str | None) -> None:
    """Send MODALITY's first sample to a running gateway and print what comes back."""
    from modgate.gateway import plan

    with told():
        modalities = plan(None).loaded.modalities
        if modality not in modalities:
            raise click.UsageError(f"no such modality; there are: {', '.join(sorted(modalities))}")
        key = key or os.environ.get("MODGATE_KEY") or _demo_key()
    sys.exit(asyncio.run(_send(modality, modalities[modality].samples, url, key, model)))


def _demo_key() -> str:
    from modgate.server.secrets import default_directory

    path: Path = default_directory() / "demo-key"
    return path.read_text().strip()


async def _send(modality: str, samples: Json, url: str, key: str, model: str | None) -> int:
    import aiohttp

    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session:
        if model is None:
            async with session.get("/v1/models") as response:
                cards = (await response.json()).get("data", [])
            model = next((c["id"] for c in cards if modality in c["modalities"]), None)
            if model is None:
                click.echo(f"the gateway at {url} has no {modality} model for this key", err=True)
                return 1
        sample = samples[0]
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
        async with session.post(sample.path, json=body, data=form) as response:
            data = await response.read()
            units = response.headers.get("x-modgate-units", "")
            click.echo(f"{response.status}  {units}", err=True)
            text = data.decode("utf-8", "replace")
            kind = response.content_type
            shown = text[:SHOWN_AT_MOST] if "json" in kind or "text" in kind else ""
            click.echo(shown or f"{len(data)} bytes of {kind}")
            return 0 if response.status == 200 else 1
