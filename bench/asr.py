"""What a long recording costs: time, memory and words.  Run by `./dev python bench/asr.py NAME`.

`slots`: hours of audio through a scripted engine of so many slots that takes RTF times the audio
for each piece; prints how long the whole took against audio x RTF / slots, when the first text
came, the peak memory of the gateway with its decoder processes, and the bill against the audio.
`words`: ten minutes of made speech without pauses and with noise, through the gateway and the local
model in pieces, and by the same model unchunked; prints both word error rates.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import numpy as np
import orjson
import soundfile

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from clients.sentences import distance, plain_words, sentence  # noqa: E402  # the tests' own words
from clients.speaking import HEARD_RATE, NOISE_DB, pressed  # noqa: E402  # path first
from gateways import configuration  # noqa: E402  # the tests' own way to write a configuration
from oracle.engine import ScriptedEngine  # noqa: E402  # path first
from oracle.faults import OK, Script  # noqa: E402  # path first
from oracle.media import wav  # noqa: E402  # path first
from oracle.record import Record  # noqa: E402  # path first
from run import free_port, process, rss_mb, wait_for  # noqa: E402  # path first

PERIOD_MS = 600_000  # the made audio repeats after ten minutes
FILE_BYTES = 1 << 30
ENCODED = {"m4a": ("ipod", "aac"), "webm": ("webm", "libopus")}
CACHE = Path(tempfile.gettempdir()) / "modgate-bench-asr"
RATE = HEARD_RATE
WORDS, SEED = 2200, 7


@dataclass
class Heard:
    """A reply as it came."""

    first_s: float = 0.0
    total_s: float = 0.0
    text: str = ""
    deltas: int = 0
    events: list[dict[str, object]] = field(default_factory=list)


class Memory:
    """The peak of a process and all its children, looked at every 20 ms."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = self.gateway_mb = 0.0
        self._pid = pid
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ends.wait(0.02):
            total = 0.0
            for pid in family(self._pid):
                try:
                    total += rss_mb(pid)
                except OSError:
                    continue
            self.gateway_mb = max(self.gateway_mb, rss_mb(self._pid))
            self.peak_mb = max(self.peak_mb, total)


def family(pid: int) -> Iterator[int]:
    """A process and what it started."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from family(int(child))


def tones(hours: float, kind: str) -> Path:
    """A file of tones with a pause every 20 s, made once."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"tones-{hours:g}h.{kind}"
    if path.exists():
        return path
    pcm, part = np.frombuffer(wav(PERIOD_MS)[44:], "<i2"), path.with_suffix(".part")
    total = round(hours * 3600 * RATE)
    pieces = (pcm[: total - at] for at in range(0, total, len(pcm)))
    if kind in ENCODED:
        encoded(part, pieces, *ENCODED[kind])
    else:
        with soundfile.SoundFile(part, "w", RATE, 1, format=kind.upper()) as out:
            for piece in pieces:
                out.write(piece)
    part.rename(path)
    return path


def encoded(path: Path, pieces: Iterable[np.ndarray], form: str, codec: str) -> None:
    """A container that libsndfile does not know, by FFmpeg."""
    import av

    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@contextmanager
def gateway(url: str, slots: int) -> Iterator[tuple[int, int, str, Path]]:
    """A gateway of its own before the engine: its process, port, a key, and its ledger."""
    folder = Path(tempfile.mkdtemp(prefix="bench-asr-"))
    port, admin = free_port(), free_port()
    config, keys = configuration(
        folder, [{"url": url, "slots": slots}], plugins=("asr",), models={"ears": "asr"}
    )
    text = config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    text = text.replace("127.0.0.1:0", f"127.0.0.1:{admin}", 1)
    text = text.replace("[plugin.asr]", f"[plugin.asr]\nfile_bytes = {FILE_BYTES}\nwidth = {slots}")
    text += f'[state]\ndirectory = "{folder / "state"}"\n[log]\nlevel = "warning"\n'
    config.write_text(text)
    try:
        with process("modgate", "serve", str(config)) as child:
            wait_for(port)
            yield child.pid, port, keys["acme"], folder / "state" / "ledger"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def ask(port: int, key: str, path: Path, model: str) -> Heard:
    """The file sent as a client does, and the stream read."""
    heard, began = Heard(), time.monotonic()
    timeout = aiohttp.ClientTimeout(total=None)
    with path.open("rb") as file:
        form = aiohttp.FormData({"model": model, "stream": "true"})
        form.add_field("file", file, filename=path.name)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                f"http://127.0.0.1:{port}/v1/audio/transcriptions",
                data=form,
                headers={"Authorization": f"Bearer {key}"},
            ) as reply,
        ):
            if reply.status != 200:
                raise SystemExit(f"void: {reply.status} {await reply.text()}")
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    heard.first_s = heard.first_s or time.monotonic() - began
                    heard.events.append(orjson.loads(line[6:]))
    heard.total_s = time.monotonic() - began
    heard.deltas = sum(1 for event in heard.events if "delta" in event)
    last = heard.events[-1]
    if last.get("type") != "transcript.text.done":
        raise SystemExit(f"void: the stream ended with {last}")
    heard.text = str(last["text"])
    return heard


async def slots(wanted: argparse.Namespace) -> bool:
    """Hours of audio, a scripted engine."""

    def pace(record: Record) -> Script:
        samples = record.sent.get("asr.audio_samples", 0)
        return replace(OK, headers_after_ms=samples / RATE * 1000 * wanted.rtf)

    path = tones(wanted.hours, wanted.kind)
    audio_s = wanted.hours * 3600
    async with ScriptedEngine(pace) as engine:
        with gateway(engine.url, wanted.slots) as (pid, port, key, ledger), Memory(pid) as memory:
            heard = await ask(port, key, path, "ears")
            await asyncio.sleep(0.5)
            billed = billed_ms(ledger)
        calls = [record for record in engine.records if record.method == "POST"]
        sent_s = sum(record.sent["asr.audio_samples"] for record in calls) / RATE
    ideal_s = audio_s * wanted.rtf / wanted.slots
    print(f"{audio_s:.1f} s of {wanted.kind}, {path.stat().st_size / 1e6:.0f} MB, RTF {wanted.rtf}")
    print(f"calls {len(calls)}, audio sent {sent_s:.1f} s, slots {wanted.slots}")
    print(f"whole {heard.total_s:.2f} s = {heard.total_s / ideal_s:.3f} x {ideal_s:.2f} s")
    share = heard.first_s / heard.total_s
    print(
        f"first text after {heard.first_s:.2f} s = {share:.1%} of the whole; {heard.deltas} deltas"
    )
    print(
        f"peak RSS: gateway and decoders {memory.peak_mb:.0f} MB, gateway {memory.gateway_mb:.0f}"
    )
    print(f"billed {billed} ms, the audio has {round(audio_s * 1000)} ms")
    good = heard.total_s <= 1.3 * ideal_s and share < 0.1 and memory.peak_mb < 300
    # AAC says nothing of the padding at its end: what is decoded is a few milliseconds more.
    return good and 0 <= billed - round(audio_s * 1000) <= (100 if wanted.kind == "m4a" else 0)


def billed_ms(ledger: Path) -> int:
    """The audio of all receipts."""
    from modgate.ledger.reader import rows

    return sum(row.units.get("asr.audio_ms", 0) for row in rows(ledger))


# --- words


def speech(noise_db: float) -> tuple[Path, str]:
    """Sentences spoken by the local voice, without pauses and with noise; made once."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"speech-{WORDS}-{noise_db:g}dB.wav"
    script = path.with_suffix(".txt")
    if not path.exists():
        dice, said = random.Random(SEED), []
        while len(plain_words(" ".join(said))) < WORDS:
            said.append(sentence(dice))
        from modgate_tts.engine import Hibari

        voice = Hibari(data_folder(), 1)
        voice.load(lambda text: None)
        pcm = b"".join(piece for text in said for piece in voice._pcm(text, 1.0))
        spoken = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        soundfile.write(path, pressed(spoken, SEED, noise_db), RATE, subtype="PCM_16")
        script.write_text(" ".join(said))
    return path, script.read_text()


def data_folder() -> Path:
    """Where the models lie."""
    return Path(os.environ.get("MODGATE_DATA", HERE.parent / ".models"))


def unchunked(path: Path) -> str:
    """The whole file given to the local model at once, with the settings of the local engine."""
    from modgate.kit.serve import Incoming
    from modgate_asr.engine import WhisperTiny

    engine = WhisperTiny(data_folder(), 2)
    engine.load(lambda text: None)
    reply = engine._transcribe(Incoming(fields={}, files={"file": path.read_bytes()}))
    return str(reply["text"])


def cuts(path: Path) -> tuple[int, int]:
    """How many pieces there are, and how many hard cuts."""
    from modgate_asr.decode import windows

    rule = {"longest_s": 30.0, "least_s": 18.0, "overlap_s": 2.0, "silence_ms": 300}
    with path.open("rb") as file:
        found = list(windows(file, rule, 1e6, lambda piece: 0))
    return len(found), sum(each["next"] < each["end"] for each in found)


@contextmanager
def local_gateway() -> Iterator[tuple[int, str]]:
    """A gateway over the local engine alone: its port and its demo key."""
    folder, port = Path(tempfile.mkdtemp(prefix="bench-asr-")), free_port()
    os.environ["MODGATE_DATA"] = str(data_folder())
    command = ["modgate", "serve", "--only", "asr", "--directory", str(folder / "state")]
    command += ["--address", f"127.0.0.1:{port}", "--admin-address", f"127.0.0.1:{free_port()}"]
    try:
        with process(*command):
            wait_for(port)
            yield port, (folder / "state" / "demo-key").read_text().strip()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def words(wanted: argparse.Namespace) -> bool:
    """Chunked against unchunked on the local model."""
    path, said = speech(wanted.noise)
    truth = plain_words(said)
    pieces, hard = cuts(path)
    lasts_s = soundfile.info(path).duration
    print(f"{lasts_s:.0f} s, {len(truth)} words, {pieces} pieces, {hard} hard cuts")
    with local_gateway() as (port, key):
        heard = await ask(port, key, path, "whisper-1")
    print(f"in pieces: {heard.total_s:.0f} s", flush=True)
    began = time.monotonic()
    whole = unchunked(path)
    print(f"unchunked: {time.monotonic() - began:.0f} s")
    errors = {}
    for name, text in (("in pieces", heard.text), ("unchunked", whole)):
        found = plain_words(text)
        errors[name] = distance(truth, found) / len(truth)
        print(f"WER {name}: {errors[name]:.2%} ({len(found)} words)")
    return hard > 0 and errors["in pieces"] - errors["unchunked"] <= 0.02


def main() -> None:
    """One measurement; the exit code says whether its bound holds."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    timed = commands.add_parser("slots")
    timed.add_argument("--hours", type=float, default=1.0)
    timed.add_argument("--rtf", type=float, default=0.05)
    timed.add_argument("--slots", type=int, default=8)
    timed.add_argument("--kind", choices=["wav", "flac", "mp3", "ogg", *ENCODED], default="wav")
    timed.set_defaults(run=slots)
    spoken = commands.add_parser("words")
    spoken.add_argument("--noise", type=float, default=NOISE_DB, help="dB below the speech")
    spoken.set_defaults(run=words)
    wanted = parser.parse_args()
    raise SystemExit(0 if asyncio.run(wanted.run(wanted)) else "the bound does not hold")


if __name__ == "__main__":
    main()
