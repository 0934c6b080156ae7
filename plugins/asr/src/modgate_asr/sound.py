"""Reading sound of any container as 16 kHz mono samples, block by block.

libsndfile reads wav, flac, ogg and mp3.  What it cannot read goes to FFmpeg through `av`: webm,
m4a, mp4 and adts, a FLAC stream or WAV file of open length, and several MP3 or Ogg files in one.
No more than a block of about two seconds is held.

This runs in decoder processes, so it imports no part of the gateway.  The gateway imports it, too,
and has no use for numpy, which is imported only where sound is read.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any, BinaryIO

from modgate_asr.joined import is_joined
from modgate_asr.riff import STRAY_BYTES, extent_of
from modgate_asr.sections import RECORDINGS_AT_MOST, TooMany, sections

RATE = 16_000
BLOCK_S = 2.0
SAYS_ITS_LENGTH = frozenset({"mp4", "webm"})  # for others FFmpeg guesses by the bit rate
LONGEST_PACKET_S = 10.0  # where an Ogg file follows itself, FFmpeg says that a packet lasts days
REFERENCE_LEAST_S, REFERENCE_MOST_S = 2, 10
OPEN_END = (1 << 63) - 1  # libsndfile's frames of a FLAC stream without a length: it cannot read on
UNREADABLE = (
    "the audio file could not be decoded; what can be read is wav, flac, ogg, mp3, webm, m4a, mp4 "
    "and aac"
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Decoded = tuple[Samples, float]  # samples at 16 kHz, and the seconds of audio they stand for
Plain = Any  # JSON border: what msgpack carries, and modules without types


class Refused(Exception):
    """The file is at fault.  The gateway makes an error for the client of this."""

    def __init__(self, reason: str, code: str = "invalid_audio", field: str = "file") -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = field, code, reason


def too_long(longest_s: float) -> Refused:
    """The error for audio that is too long, by its header or when it is decoded."""
    return Refused(f"the audio is longer than {longest_s:g} seconds", "audio_too_long")


def probe(file: BinaryIO, longest_s: float) -> dict[str, Plain]:
    """How long the audio is by its headers: `{milliseconds}`.

    Refused when it cannot be decoded, or is longer than `longest_s`.
    """
    try:
        milliseconds = ceil(sum(map(_probe_one, sections(file))))
    except TooMany:
        reason = f"the file holds more than {RECORDINGS_AT_MOST} recordings; send several files"
        raise Refused(reason) from None
    if milliseconds > longest_s * 1000:
        raise too_long(longest_s)
    return {"milliseconds": milliseconds}


def _probe_one(file: BinaryIO) -> Fraction:
    """How many milliseconds one recording lasts."""
    _check_extent(file)
    sound = _opened(file)
    if sound is None:
        return Fraction(_probe_container(file))
    with sound:
        if sound.frames <= 0 or sound.samplerate <= 0:
            raise Refused("the audio file holds no audio")
        return Fraction(sound.frames * 1000, sound.samplerate)


def _check_extent(file: BinaryIO) -> None:
    """Refused for a file of chunks without sound, or one that would not be heard to its end."""
    extent = extent_of(file)
    if extent is None:
        return
    if not extent.sound:
        raise Refused("the audio file holds no audio")
    if extent.left_out > STRAY_BYTES:
        reason = (
            f"the header of the audio file ends its sound {extent.left_out} bytes before the end "
            "of the file; write the header anew, or cut the file there"
        )
        raise Refused(reason)


def probe_references(urls: list[str]) -> dict[str, Plain]:
    """Refused unless each data: URL is audio of 2 to 10 seconds, as a reference must be."""
    for place, url in enumerate(urls):
        field = f"known_speaker_references[{place}]"
        try:
            data = base64.b64decode(url.partition(";base64,")[2], validate=True)
            lasts_ms = probe(io.BytesIO(data), REFERENCE_MOST_S)["milliseconds"]
        except (ValueError, Refused):
            lasts_ms = 0
        if lasts_ms < REFERENCE_LEAST_S * 1000:
            raise Refused("a speaker's reference must be 2 to 10 seconds of audio", field=field)
    return {}


def _opened(file: BinaryIO) -> Plain:
    """The file, opened by libsndfile; None when that cannot read it, or not to its end."""
    import soundfile

    if is_joined(file):
        return None
    file.seek(0)
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError:
        return None
    if sound.frames in (0, OPEN_END):
        sound.close()
        return None
    return sound


def _probe_container(file: BinaryIO) -> int:
    """How many milliseconds a recording lasts that libsndfile cannot read.

    The header says it, or, in a browser's recording, whose header does not, its packets do.
    """
    av = _av()
    file.seek(0)
    try:
        with av.open(file, "r") as container:
            stream = container.streams.audio[0]
            said = (
                container.duration if SAYS_ITS_LENGTH & set(container.format.name.split(",")) else 0
            )
            end = (said or 0) / av.time_base or _packets_s(container.demux(stream))
    except (av.FFmpegError, IndexError, ValueError, OSError):
        raise Refused(UNREADABLE) from None
    if end <= 0:
        raise Refused("the audio file holds no audio")
    return int(-(-end * 1000 // 1))


def _packets_s(packets: Iterator[Plain]) -> float:
    """How many seconds all packets last.

    When they do not say it, it is the time at which the last one begins: only then, because times
    begin anew where files were joined.
    """
    lasts = end = 0.0
    for packet in packets:
        if packet.pts is not None and packet.time_base is not None:
            lasts += min(float((packet.duration or 0) * packet.time_base), LONGEST_PACKET_S)
            end = max(end, float(packet.pts * packet.time_base))
    return round(lasts or end, 6)


def _av() -> Plain:
    try:
        import av
    except ImportError:
        reason = "this audio format needs the extra modgate[codecs]; send wav, flac, ogg or mp3"
        raise Refused(reason, "unsupported_media_type") from None
    return av


def blocks(file: BinaryIO) -> Iterator[Samples]:
    """The whole file as blocks of mono samples at 16 kHz, together exactly as long as it is."""
    return _exactly(chain.from_iterable(map(_read, sections(file))))


def _exactly(decoded: Iterator[Decoded]) -> Iterator[Samples]:
    """The blocks, of which the last is made to fit: a resampler is off by a sample or two."""
    import numpy as np

    last: Samples | None = None
    made, seconds = 0, 0.0
    for block, lasts_s in decoded:
        seconds += lasts_s
        made += len(block)
        if last is not None:
            yield last
        last = np.nan_to_num(block)
    if last is None:
        return
    over = made - round(seconds * RATE)
    yield last[: max(0, len(last) - over)] if over > 0 else np.pad(last, (0, -over))


def _read(file: BinaryIO) -> Iterator[Decoded]:
    sound = _opened(file)
    if sound is None:
        yield from _read_container(file)
        return
    import numpy as np
    import soundfile

    with sound:
        step = max(1, int(sound.samplerate * BLOCK_S))
        resample = _resampler(sound.samplerate)
        try:
            while len(block := sound.read(step, dtype="float32", always_2d=True)):
                yield resample(block.mean(axis=1), False), len(block) / sound.samplerate
        except soundfile.LibsndfileError:
            raise Refused("the audio file could not be decoded to its end") from None
        yield resample(np.zeros(0, dtype=np.float32), True), 0.0


def _resampler(rate: int) -> Plain:
    if rate == RATE:
        return lambda block, last: block
    import soxr

    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
    return lambda block, last: stream.resample_chunk(block, last=last)


def _read_container(file: BinaryIO) -> Iterator[Decoded]:
    import numpy as np

    av = _av()
    file.seek(0)
    pieces: list[Samples] = []
    seconds = size = 0.0
    try:
        with av.open(file, "r") as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            for frame in _frames(container):
                seconds += frame.samples / frame.sample_rate if frame is not None else 0.0
                for piece in resampler.resample(frame):
                    pieces.append(piece.to_ndarray().reshape(-1).astype(np.float32))
                    size += len(pieces[-1])
                if size >= BLOCK_S * RATE:
                    yield np.concatenate(pieces), seconds
                    pieces, seconds, size = [], 0.0, 0
    except (av.FFmpegError, IndexError, ValueError, OSError):
        raise Refused(UNREADABLE) from None
    if pieces:
        yield np.concatenate(pieces), seconds


def _frames(container: Plain) -> Iterator[Plain]:
    """Each frame, and None at the end, for the resampler to give what it still holds.

    An MP3 comes here when files were joined.  A tag between them is no frame, and is passed over,
    as libsndfile does with all that is no frame.
    """
    stream = container.streams.audio[0]
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except _av().InvalidDataError:
            if not stream.codec_context.name.startswith("mp3"):
                raise
    yield None
