"""An engine over the open network: its certificate is judged, and its key goes to nobody else."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateways import Running, configuration, start
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine

from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

CHAT = ask.chat(1, model="chat", max_tokens=5)


def certificate(folder: Path, name: str, made_by: str = "") -> None:
    """A certificate for `localhost`, signed by itself or by another that was made before.

    An authority without `keyUsage` is none to Python 3.13.
    """
    asked = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
    if made_by:
        files += ["-CA", f"{folder}/{made_by}.pem", "-CAkey", f"{folder}/{made_by}.key"]
        names += ["-addext", "basicConstraints=critical,CA:FALSE"]
    else:
        names += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    command = ["openssl", *asked.split(), *names, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate of it, and another authority."""
    folder = tmp_path_factory.mktemp("papers")
    certificate(folder, "authority")
    certificate(folder, "engine", made_by="authority")
    certificate(folder, "stranger")
    return folder


class Front:
    """TLS in front of the scripted engine; `names`: what clients asked for in their hello."""

    def __init__(self, engine: ScriptedEngine, papers: Path) -> None:
        self._engine = engine
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(papers / "engine.pem", papers / "engine.key")
        self._context.sni_callback = self._hello
        self.names: list[str | None] = []
        self.port = 0

    def _hello(self, sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.names.append(name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Front]:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", self._engine.port)
        try:
            await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))
        finally:
            inner[1].close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def behind(
    engine: ScriptedEngine, papers: Path, folder: Path, host: str, ca: str
) -> AsyncIterator[tuple[Running, Front]]:
    """A gateway whose one backend is the engine behind TLS; `ca` '' = the system's authorities."""
    (folder / "paid.key").write_text("sk-paid-for\n")
    async with Front(engine, papers).running() as front:
        backend: dict[str, object] = {"url": f"https://{host}:{front.port}", "family": "openai"}
        backend["key"] = {"file": folder / "paid.key"}
        if ca:
            backend["ca"] = papers / f"{ca}.pem"
        async with await start(
            folder, [backend], plugins=["llm"], models={"chat": "llm"}
        ) as running:
            yield running, front


async def test_a_certificate_of_the_named_authority_is_trusted(
    tmp_path: Path, papers: Path, engine: ScriptedEngine
) -> None:
    async with behind(engine, papers, tmp_path, "localhost", "authority") as (running, front):
        whole = await send(running.url, CHAT, key=running.key)
        stream = await send(
            running.url,
            ask.chat(2, model="chat", max_tokens=5, stream=True),
            key=running.key,
        )

    assert (whole.ended, stream.ended) == ("ok", "ok")
    assert set(front.names) == {"localhost"}
    bodies = [record.asked.json for record in engine.records]
    assert [body["max_completion_tokens"] for body in bodies] == [5, 5]
    assert {record.headers["authorization"] for record in engine.records} == {"Bearer sk-paid-for"}


@pytest.mark.parametrize(
    ("host", "ca"),
    [("localhost", ""), ("localhost", "stranger"), ("127.0.0.1", "authority")],
    ids=["the system knows no such authority", "another authority", "another name"],
)
async def test_whom_we_cannot_trust_gets_no_byte(
    tmp_path: Path, papers: Path, engine: ScriptedEngine, host: str, ca: str
) -> None:
    async with behind(engine, papers, tmp_path, host, ca) as (running, _):
        client = await send(running.url, CHAT, key=running.key)

    assert client.status == 502
    assert engine.records == []


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ({"url": "https://a.example", "ca": "/nowhere.pem"}, "holds no certificates"),
        ({"url": "https://a.example", "ca": __file__}, "holds no certificates"),
        ({"url": "http://a.example", "ca": ""}, "is for an https url"),
    ],
    ids=["no file", "no certificate", "no TLS"],
)
def test_an_authority_that_cannot_be_read_is_a_problem(
    tmp_path: Path, papers: Path, backend: dict[str, object], told: str
) -> None:
    backend = {**backend, "ca": backend["ca"] or str(papers / "authority.pem")}
    path, _ = configuration(tmp_path, [backend], plugins=["llm"], models={"chat": "llm"})
    with pytest.raises(ConfigError, match=told) as caught:
        blueprint_of(path)

    assert [problem.path for problem in caught.value.problems] == ["backend[0].ca"]
