"""Keys, tokens and prompts that are planted wherever a client, an engine or an operator may put one
are in no log at DEBUG, trace, metric, ledger, audit log, store, error or admin page, in any form.

Source: field.md, pain 26.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, FormData, web
from click.testing import CliRunner
from gateways import Running, configuration
from made_plugins import plugin
from oracle.engine import ScriptedEngine
from oracle.faults import Piece, Refusal, Script
from pydantic import BaseModel
from rigs.canaries import canary, forms, found_in

from modgate.cli import main
from modgate.observe.logs import LogSystem
from modgate.plugin import Endpoint, Modality, ModelFacts, Plan, Request, Unit
from modgate.server.app import App

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
NAMES = (
    *("token", "jwt", "query", "path", "cookie", "header", "field name", "file name", "fetched"),
    *("prompt", "bad prompt", "raised", "upstream key", "engine text", "stream text"),
    *("admin key", "wrong admin key", "admin value", "admin text", "ledger key", "audit key"),
    "sink password",
)
PAGES = ("config", "backends", "tenants", "tenants/acme", "keys", "metrics", "health/ready")
TAKEN = ("a good key", "query", "header", "prompt")  # the secret is where it does no harm
KEPT = ("pepper", "ledger-key", "audit-key")  # the state directory's own secrets
CONTROL = "the control that must be found"
log = logging.getLogger("modgate.control")


class Nothing(BaseModel, frozen=True, extra="forbid"):
    """A plugin's section without keys."""


class Clumsy(Modality[Nothing]):
    """A plugin that puts what it was sent into its exceptions."""

    name = "clumsy"
    units = (Unit("input_tokens", "read"),)
    weights = {"input_tokens": 1.0}
    config_type = Nothing
    model_type = ModelFacts

    def endpoints(self) -> Iterator[Endpoint]:
        yield Endpoint(path="/v1/clumsy", shape=self.shape)

    @staticmethod
    def shape(request: Request) -> Plan:
        said = str(request.parsed["text"])
        try:
            raise KeyError(said)
        except KeyError as error:
            raise RuntimeError(f"cannot work on {said}") from error


@dataclass
class Planted:
    """A gateway, its secrets, and everything that it lets out."""

    running: Running
    session: ClientSession
    secrets: dict[str, str]
    logs: io.StringIO
    traces: list[bytes]
    replies: dict[str, bytes] = field(default_factory=dict)

    async def ask(self, what: str, url: str, **how: Any) -> int:
        """A request whose reply is kept."""
        method = how.pop("method", "POST")
        headers = {**self.running.headers, **how.pop("headers", {})}
        async with self.session.request(method, url, headers=headers, **how) as reply:
            heads = json.dumps(dict(reply.headers)).encode()
            self.replies[f"the reply to {what}"] = heads + await reply.read()
            return reply.status


@pytest.fixture
async def collector() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Where traces are sent."""
    bodies: list[bytes] = []

    async def post(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{any:.*}", post)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    await runner.cleanup()


def configured(
    folder: Path, engine: ScriptedEngine, traces: str, secrets: Mapping[str, str]
) -> Any:
    """A configuration with a secret wherever one goes."""
    for name in ("upstream key", "admin key", "ledger key", "audit key", "sink password"):
        (folder / name).write_text(secrets[name])
    backend = {"url": engine.url, "key": {"file": str(folder / "upstream key")}}
    more = f"""
[plugin.clumsy]
[model.clumsy]
modality = "clumsy"
[[backend]]
name = "other"
url = "http://127.0.0.1:9"
serves = {{ clumsy = "clumsy" }}
[log]
level = "debug"
[trace]
otlp = "{traces}"
sample = 1.0
[ledger]
key = {{ file = "{folder / "ledger key"}" }}
[[ledger.sink]]
kind = "sqlite"
[[ledger.sink]]
kind = "postgres"
url = "postgresql://modgate@127.0.0.1:9/usage"
password = {{ file = "{folder / "sink password"}" }}
[audit]
key = {{ file = "{folder / "audit key"}" }}
"""
    path, keys = configuration(folder, [backend], more=more)
    section = f'[admin]\nkey = {{ file = "{folder / "admin key"}" }}\n'
    path.write_text(path.read_text().replace("[admin]\n", section))
    return path, keys


@pytest.fixture
async def planted(
    tmp_path: Path, engine: ScriptedEngine, collector: tuple[str, list[bytes]]
) -> AsyncIterator[Planted]:
    secrets = {name: canary(name.replace(" ", "")) for name in NAMES}
    logs = io.StringIO()
    system = LogSystem("debug", logs)
    path, keys = configured(tmp_path, engine, collector[0], secrets)
    extra = {"clumsy": plugin(modgate_modalities=[Clumsy])}
    app = App(path, directory=tmp_path / "state", extra=extra)
    await app.open()
    try:
        async with ClientSession() as session:
            running = Running(app, keys, path)
            yield Planted(running, session, secrets, logs, collector[1])
    finally:
        await app.close()
        system.close()


def jwt_of(secret: str) -> str:
    """A token that nobody signed."""
    parts = ({"alg": "RS256", "kid": "1"}, {"iss": "x", "jti": secret})
    head, claims = (
        urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts
    )
    return f"{head}.{claims}.{urlsafe_b64encode(b'signature' * 8).decode()}"


async def provoke(at: Planted, engine: ScriptedEngine) -> dict[str, int]:
    """Send every secret, each where it must not come out again; the statuses."""
    secrets, url = at.secrets, at.running.url
    chat, hear = f"{url}/v1/chat/completions", f"{url}/v1/audio/transcriptions"
    bearer = {name: {"Authorization": f"Bearer {secrets[name]}"} for name in ("token", "admin key")}
    got = {
        "a good key": await at.ask("a good key", f"{url}/v1/models", method="GET"),
        "token": await at.ask("token", chat, json=CHAT, headers=bearer["token"]),
        "query": await at.ask("query", chat, json=CHAT, params={"api_key": secrets["query"]}),
        "path": await at.ask("path", f"{url}/v1/{quote(secrets['path'], safe='')}", json=CHAT),
    }
    token = jwt_of(secrets["jwt"])
    got["jwt"] = await at.ask("jwt", chat, json=CHAT, headers={"Authorization": f"Bearer {token}"})
    extra = {"Cookie": f"session={secrets['cookie']}", "X-Session": secrets["header"]}
    got["header"] = await at.ask("header", chat, json=CHAT, headers=extra)
    for name in ("field name", "file name"):
        form = FormData()
        form.add_field("model", "ears")
        form.add_field(secrets[name] if name == "field name" else "language", "en")
        filename = secrets[name] if name == "file name" else "a.wav"
        form.add_field("file", b"RIFF this is no sound", filename=filename)
        got[name] = await at.ask(name, hear, data=form)
    image = {
        "url": f"https://user:{secrets['fetched']}@files.example/a.png?sig={secrets['fetched']}"
    }
    seen = [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}]
    got["fetched"] = await at.ask("fetched", chat, json={"model": "eyes", "messages": seen})
    prompt = [{"role": "user", "content": secrets["prompt"]}]
    got["prompt"] = await at.ask("prompt", chat, json={**CHAT, "messages": prompt})
    bad = [{"role": "user", "content": {"text": secrets["bad prompt"]}}]
    got["bad prompt"] = await at.ask("bad prompt", chat, json={**CHAT, "messages": bad})
    body = {"model": "clumsy", "text": secrets["raised"]}
    got["raised"] = await at.ask("raised", f"{url}/v1/clumsy", json=body)
    return got | await provoke_engine(at, engine, chat) | await provoke_admin(at)


async def provoke_engine(at: Planted, engine: ScriptedEngine, chat: str) -> dict[str, int]:
    """An engine that quotes the key that it was sent, and the request."""
    got = {}
    for name, status in (("upstream key", 401), ("engine text", 500)):
        said = f"incorrect API key provided: {at.secrets[name]}"
        engine.script_for = lambda record, said=said, status=status: Script(  # type: ignore[misc]  # bound now
            refusal=Refusal(status=status, message=said)
        )
        got[name] = await at.ask(name, chat, json=CHAT)
    text = at.secrets["stream text"]
    broken = Piece(data=f'data: {{"error": {{"message": "{text}", "code": 500}}}}\n\n'.encode())
    engine.script_for = lambda record: Script(pieces=(broken,), content_type="text/event-stream")
    got["stream text"] = await at.ask("stream text", chat, json={**CHAT, "stream": True})
    engine.script_for = lambda record: Script()
    return got


async def provoke_admin(at: Planted) -> dict[str, int]:
    """Secrets sent to the admin listener, and every page of it."""
    secrets, admin = at.secrets, f"{at.running.admin}/admin/v1"
    key = {"Authorization": f"Bearer {secrets['admin key']}"}
    wrong = {"Authorization": f"Bearer {secrets['wrong admin key']}"}
    said = secrets["admin value"]
    got = {
        "wrong admin key": await at.ask("wrong admin key", f"{admin}/reload", headers=wrong),
        "admin value": await at.ask(
            "admin value",
            f"{admin}/keys",
            json={
                "tenant": "acme",
                "secret": said,
                "env": said,
            },
            headers=key,
        ),
        "admin text": await at.ask(
            "admin text", f"{admin}/keys", data=f"{{{secrets['admin text']}", headers=key
        ),
    }
    for page in ("config", "backends", "tenants", "tenants/acme", "keys"):
        got[page] = await at.ask(page, f"{admin}/{page}", method="GET", headers=key)
    for page in ("metrics", "health/ready"):
        url = f"{at.running.admin}/{page}"
        got[page] = await at.ask(page, url, method="GET", headers=key)
    return got


def places(at: Planted, folder: Path) -> dict[str, bytes]:
    """All that came out: replies, logs, traces, and every file of the state but its own secrets."""
    state = [path for path in (folder / "state").rglob("*") if path.is_file()]
    return {
        **at.replies,
        "the log": at.logs.getvalue().encode(),
        "the traces": b"".join(at.traces),
        **{
            str(path.relative_to(folder)): path.read_bytes()
            for path in state
            if path.name not in KEPT
        },
    }


def printed(config: Path, directory: Path) -> dict[str, bytes]:
    """What commands print of a configuration and a state directory."""
    said = {}
    for words in (
        ["check", str(config)],
        ["audit", "--config", str(config), "--directory", str(directory)],
        ["audit", "--denied", "--config", str(config), "--directory", str(directory)],
        ["keys", "list", "--config", str(config), "--directory", str(directory)],
        ["usage", "--config", str(config), "--directory", str(directory)],
    ):
        result = CliRunner().invoke(main, words)
        said[f"modgate {' '.join(words[:2])}"] = result.output.encode()
    return said


async def new_key(at: Planted) -> str:
    """A key of the store: the one reply that must hold it."""
    key = {"Authorization": f"Bearer {at.secrets['admin key']}"}
    body, url = {"tenant": "acme"}, f"{at.running.admin}/admin/v1/keys"
    async with at.session.post(url, json=body, headers=key) as reply:
        made: str = (await reply.json())["key"]
    return made


async def test_no_secret_comes_out_anywhere_in_any_form(
    planted: Planted, engine: ScriptedEngine, tmp_path: Path
) -> None:
    got = await provoke(planted, engine)
    new = await new_key(planted)
    for name, text in dict.fromkeys(forms(CONTROL)):
        log.debug("control", extra={"form": name, "text": text.decode()})
    await planted.running.app.close()
    await asyncio.sleep(0.1)  # the log's own thread
    found = places(planted, tmp_path) | await asyncio.to_thread(
        printed, planted.running.config, tmp_path / "state"
    )
    secrets = dict(planted.secrets)
    for name, key in (("good key", planted.running.key), ("new key", new)):
        secrets[name] = key.split("_", 3)[3]  # the rest is its id, which is no secret

    sent = {"what the engine got": str([dict(each.headers) for each in engine.records]).encode()}
    of_clients = {name: text for name, text in secrets.items() if name != "upstream key"}
    control = found_in({"the log": found["the log"]}, {"control": CONTROL})
    assert len(control) == len(dict.fromkeys(forms(CONTROL)))
    assert [place for place, text in found.items() if not text and "lock" not in place] == []
    assert {name for name, status in got.items() if status < 300} == {*PAGES, *TAKEN}
    assert found_in(found, secrets) == []
    assert found_in(sent, of_clients) == []
    assert found_in(sent, {"control": secrets["upstream key"]})


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("auth", 'pepper = "CANARY"'),
        ("admin", 'key = "CANARY"'),
        ("admin", 'key = { env = "HOME", value = "CANARY" }'),
        ("ledger", 'key = "CANARY"'),
        ("trace", 'otlp = "https://user:CANARY@collector.example"'),
        ("[ledger.sink]", 'kind = "sqlite"\npassword = "CANARY"'),
        ("[ledger.sink]", 'kind = "postgres"\nurl = "postgresql://u:CANARY@127.0.0.1/db"'),
        ("[ledger.sink]", 'kind = "postgres"\nurl = "postgresql://h/db?password=CANARY"'),
        ("fetch", 'allow = ["https://user:CANARY@files.example"]'),
        ("cors", 'origins = ["https://user:CANARY@app.example"]'),
        ("limits.store", 'url = "redis://:CANARY@127.0.0.1:6379"'),
        ("limits.store", 'url = "redis://127.0.0.1:6379?password=CANARY"'),
        ("limits.store", 'url = "redis://127.0.0.1:6379"\npassword = "CANARY"'),
        ("auth.jwt.idp", 'issuer = "i"\naudience = "a"\njwks = "https://u:CANARY@idp.example/k"'),
        ("[backend]", 'name = "b"\nserves = {}\nurl = "https://user:CANARY@engine.example"'),
        ("[backend]", 'name = "b"\nserves = {}\nurl = "http://e:1"\nkey = "CANARY"'),
    ],
)
def test_a_secret_in_the_wrong_place_of_a_file_is_refused_and_not_repeated(
    tmp_path: Path, section: str, line: str
) -> None:
    secret = canary("config")
    path = tmp_path / "modgate.toml"
    text = line.replace("CANARY", quote(secret, safe="") if "://" in line else secret)
    path.write_text(f"[{section}]\n{text}\n")
    result = CliRunner().invoke(main, ["check", str(path)])

    assert result.exit_code == 1
    assert "modgate.toml:" in result.output
    assert found_in({"modgate check": result.output.encode()}, {"config": secret}) == []
