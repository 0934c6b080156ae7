"""Who spoke when, in two rounds: embed windows of speech, then tell the voices apart.

Its home wire: `POST /speaker-embeddings`, a form with `model` and the files `window-0`, `window-1`
and so on (16 kHz mono s16 WAV), answered with `{"embeddings": [[...], ...]}` in their order.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import ClassVar

from acme_diarize.cluster import speakers
from acme_diarize.config import Config, Facts
from acme_diarize.decode import RATE, prepare
from acme_diarize.relay import Told
from acme_diarize.samples import SAMPLES
from acme_diarize.turns import Window, turns
from modgate.kit.facts import facts_of
from modgate.plugin import (
    Ask,
    BadReply,
    Body,
    Call,
    Endpoint,
    Event,
    File,
    Json,
    Modality,
    Need,
    Part,
    Plan,
    Request,
    Target,
    Unit,
    Units,
    Usage,
    Work,
)

PATH, EMBED = "/v1/audio/diarizations", "/speaker-embeddings"
MOST = 20  # speakers
NUMBERS_AT_MOST = 4096  # of one embedding
SAMPLE_BYTES = 2


class Diarize(Modality[Config]):
    """Speaker diarisation, metered in audio and in windows that an engine embedded."""

    name = "diarize"
    units = (
        Unit("audio_ms", "decoded audio, silence too", shown="audio_seconds", scale=1000),
        Unit("windows", "windows of speech that were embedded; they overlap"),
    )
    weights: ClassVar[Mapping[str, float]] = {"windows": 1.0}
    phases: ClassVar[Mapping[str, Target]] = {
        "total": Target(base_s=1.0, per_unit={"audio_ms": 0.0001})
    }
    deadlines: ClassVar[Mapping[str, Target]] = {
        "first_byte": Target(base_s=60.0, per_unit={"audio_ms": 0.002}),
        "total": Target(base_s=60.0, per_unit={"audio_ms": 0.002}),
    }
    gateway_counts = frozenset({"audio_ms", "windows"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES

    def endpoints(self) -> Iterator[Endpoint]:
        """The one path."""
        yield Endpoint(
            path=PATH,
            shape=self.shape,
            body="form",
            at_most=self.config.file_bytes,
            summary="tell who spoke when",
            operation="diarization",
        )

    def shape(self, request: Request) -> Generator[Need, Json, Plan]:
        """Cut in a decoder process, embed at engines, cluster in a decoder process; then answer."""
        config, facts, fields = self.config, facts_of(request, Facts), request.fields()
        count = fields.integer("num_speakers", None, at_least=1, at_most=MOST)
        most = fields.integer("max_speakers", MOST, at_least=1, at_most=MOST)
        limits = (config.max_audio_s, config.window_s, config.hop_s)
        found = yield Work(prepare, request.file("file"), *limits, field="file")
        labels: list[int] = []
        if windows := [window for region in found["regions"] for window in region]:
            events = yield Ask(self._calls(found["pcm"], windows), width=config.width)
            vectors = embeddings(events, len(windows))
            labels = yield Work(speakers, vectors, facts.metric, facts.threshold, count, most)
        told = turns(found["regions"], labels, int(config.join_s * RATE))
        relay = Told(told, found["samples"])
        size = Units(audio_ms=-(-found["samples"] * 1000 // RATE))
        return Plan(calls=(), relay=relay, reserve=size)

    def _calls(self, pcm: File, windows: Sequence[Window]) -> list[Call]:
        """Several windows a call; each is a slice of the one spool file, with a header in front."""
        step = self.config.windows_per_call
        batches = [windows[at : at + step] for at in range(0, len(windows), step)]
        return [
            Call(path=EMBED, body=Body.form(_parts(pcm, batch)), size=Units(windows=len(batch)))
            for batch in batches
        ]

    def count(self, call: Call, event: Event) -> Usage:
        """What an `Ask` call did cost: we know how many windows we sent."""
        return Usage(call.size, exact=True, by="gateway")


def _parts(pcm: File, windows: Sequence[Window]) -> Iterator[Part]:
    for index, (start, end) in enumerate(windows):
        size = (end - start) * SAMPLE_BYTES
        content = pcm.slice(start * SAMPLE_BYTES, size, prefix=wav_header(size))
        name = f"window-{index}"
        yield Part(name=name, content=content, filename=f"{name}.wav", content_type="audio/wav")


def wav_header(size: int) -> bytes:
    """A RIFF header for so many bytes of 16 kHz mono s16."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    front = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
    return front + form + b"data" + struct.pack("<I", size)


def embeddings(events: Sequence[Event], count: int) -> list[list[float]]:
    """One vector of finite numbers a window, all of one length; BadReply when they are not."""
    rows = [row for event in events for row in event.fields().items("embeddings")]
    if len(rows) != count:
        raise BadReply(f"the engine answered {len(rows)} embeddings for {count} windows")
    length = len(rows[0]) if isinstance(rows[0], list) else 0
    if not 0 < length <= NUMBERS_AT_MOST:
        raise BadReply("the engine's reply does not fit: an embedding is no list of numbers")
    for row in rows:
        if not isinstance(row, list) or len(row) != length or not all(map(_finite, row)):
            raise BadReply("the engine's reply does not fit: the embeddings are not of one kind")
    return rows


def _finite(value: Json) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e9
