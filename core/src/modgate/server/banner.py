"""What `modgate serve` prints at the start: what there is, and how to try it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from ipaddress import ip_address

from modgate.api.engine import EngineState
from modgate.host.installed import TO_INSTALL
from modgate.server.app import App
from modgate.table import Table

LINE_AT_MOST = 400  # characters that a person still pastes


def engine_line(name: str, state: EngineState) -> str:
    """A line of progress for one engine, or '' when there is nothing to say."""
    match state.state:
        case "missing":
            lines = "".join(f"\n      {line}" for line in state.missing)
            return f"  {name}: not installed; run:{lines}"
        case "ready":
            return f"  {name}: ready"
        case "loading" | "failed":
            return f"  {name}: {state.detail}"
        case _:
            return ""


def banner(app: App) -> Iterator[str]:
    """Endpoints, models, the demo key and lines to paste."""
    root = f"{'https' if app.public.tls else 'http'}://{_reached(app.public_address)}"
    table = app.gateway.table
    on = f" on {app.public_address[0]}" if _everywhere(app.public_address[0]) else ""
    yield f"modgate serves {root}{on}  (admin: http://{_reached(app.admin_address)})"
    yield ""
    if not table.modalities:
        yield f"  no plugin of a modality is on; {TO_INSTALL}"
        return
    yield f"  {'modality':<10} {'endpoint':<28} models"
    for name in sorted(table.modalities):
        models = sorted({m.name for m in table.models.values() if m.modality == name})
        for path in table.paths_by_modality.get(name, ()):
            yield f"  {name:<10} {path:<28} {', '.join(models) or 'none'}"
    if app.demo_key is None:
        return
    yield ""
    yield "  demo key (this machine only):"
    yield f"    export MODGATE_KEY={app.demo_key.reveal()}"
    yield ""
    yield from pasteable(root, table)
    yield ""
    yield "models load in the background; a first call waits for its model:"


def _everywhere(host: str) -> bool:
    """Whether a bound host means all addresses of this machine."""
    return ip_address(host).is_unspecified


def _reached(address: tuple[str, int]) -> str:
    """An address as it goes into a URL on this machine: `0.0.0.0` is none to call."""
    host, port = address
    if _everywhere(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pasteable(root: str, table: Table) -> Iterator[str]:
    """A line to paste for each modality; speech is made before it is heard, from the same file."""
    key = '-H "Authorization: Bearer $MODGATE_KEY"'
    typed = "-H 'Content-Type: application/json'"
    lines = {
        "llm": f"curl {root}/v1/chat/completions {key} {typed} "
        """-d '{"model":"gpt-4o-mini","max_tokens":60,"""
        """"messages":[{"role":"user","content":"Say hello."}]}'""",
        "tts": f"curl {root}/v1/audio/speech {key} {typed} "
        """-d '{"model":"tts-1","voice":"alloy","input":"Hello.","response_format":"wav"}' """
        "-o speech.wav",
        "asr": f"curl {root}/v1/audio/transcriptions {key} -F model=whisper-1 -F file=@speech.wav",
        "embedding": f"curl {root}/v1/embeddings {key} {typed} "
        """-d '{"model":"text-embedding-3-small","input":"Hello."}'""",
        "rerank": f"curl {root}/v2/rerank {key} {typed} "
        """-d '{"model":"rerank-v3.5","query":"fruit","documents":["a car","a pear"]}'""",
    }
    for name in sorted(table.modalities, key=lambda name: (name == "asr", name)):
        if name in lines:
            yield f"  {lines[name]}"
        elif line := of_sample(root, name, table):
            yield f"  {line}"


def of_sample(root: str, name: str, table: Table) -> str:
    """A line of a modality that has none above: its first sample, or the command that sends it.

    "" where no model could answer.
    """
    models = sorted(model.name for model in table.models.values() if model.modality == name)
    samples = table.modalities[name].samples
    if not (models and samples):
        return ""
    sample = samples[0]
    front = f'curl {root}{sample.path} -H "Authorization: Bearer $MODGATE_KEY"'
    if sample.json is not None:
        body = json.dumps({**sample.json, "model": models[0]}, ensure_ascii=False)
        line = f"{front} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    else:
        parts = {**(sample.form or {}), "model": models[0]}
        line = " ".join([front, *(f"-F {_part(each, parts[each])}" for each in parts)])
    if len(line) <= LINE_AT_MOST:
        return line
    called = os.environ.get("MODGATE_COMMAND", "modgate")  # `./dev` and the like say how
    return f"{called} try {name} --url {root}"


def _part(name: str, value: str | tuple[str, bytes]) -> str:
    """A form's text, or a file that the reader has to have."""
    return shlex.quote(f"{name}={value}" if isinstance(value, str) else f"{name}=@{value[0]}")
