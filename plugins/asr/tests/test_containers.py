"""Any container, decoded in a stream; the length is the recording's to the millisecond."""

from __future__ import annotations

import inspect
import io
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from modgate_asr import decode, joined, sound
from modgate_asr.decode import windows
from modgate_asr.sound import RATE, Refused, blocks, probe

Samples = NDArray[np.float32]
SECONDS = 3.0
RULE = {"longest_s": 30.0, "least_s": 18.0, "overlap_s": 2.0, "silence_ms": 300}


def tone(rate: int, channels: int = 1, seconds: float = SECONDS) -> Samples:
    """440 Hz in every channel."""
    at = np.arange(int(seconds * rate)) / rate
    mono = (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)
    return np.repeat(mono[:, None], channels, axis=1)


def by_libsndfile(form: str, subtype: str | None, rate: int, channels: int) -> io.BytesIO:
    soundfile = pytest.importorskip("soundfile")  # of modgate[audio]
    out = io.BytesIO()
    soundfile.write(out, tone(rate, channels), rate, format=form, subtype=subtype)
    return out


def by_ffmpeg(
    form: str, codec: str, rate: int = 48_000, out: io.BytesIO | None = None
) -> io.BytesIO:
    av = pytest.importorskip("av")  # of modgate[codecs]
    out = io.BytesIO() if out is None else out
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        samples = (tone(rate)[:, 0] * 32767).astype("<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return out


def heard(file: io.BytesIO) -> Samples:
    return np.concatenate(list(blocks(file)))


def pitch(samples: Samples) -> float:
    """The loudest frequency, in Hz."""
    power = np.abs(np.fft.rfft(samples))
    return float(power.argmax() * RATE / len(samples))


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_16", 44_100, 2),
        ("WAV", "FLOAT", 48_000, 6),
        ("WAV", "PCM_U8", 8_000, 1),
        ("WAV", "ULAW", 8_000, 1),
        ("WAV", "PCM_24", 22_050, 1),
        ("RF64", "PCM_16", 16_000, 1),
        ("FLAC", "PCM_16", 44_100, 2),
        ("OGG", "VORBIS", 44_100, 1),
        ("OGG", "OPUS", 48_000, 1),
        ("AIFF", "PCM_16", 44_100, 1),
    ],
)
def test_what_libsndfile_reads_has_its_exact_length(
    form: str, subtype: str, rate: int, channels: int
) -> None:
    file = by_libsndfile(form, subtype, rate, channels)
    samples = heard(file)

    assert probe(file, 60) == {"milliseconds": 3000}
    assert len(samples) == round(SECONDS * RATE)
    assert pitch(samples) == pytest.approx(440, abs=1)


def test_an_mp3_is_as_long_as_its_header_says() -> None:
    file = by_libsndfile("MP3", None, 44_100, 1)

    assert len(heard(file)) / RATE == pytest.approx(SECONDS, abs=0.06)
    assert probe(file, 60)["milliseconds"] == -(-len(heard(file)) * 1000 // RATE)


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("webm", "libopus"),
        ("mp4", "aac"),
        ("ipod", "aac"),
        ("adts", "aac"),
        ("matroska", "pcm_s16le"),
    ],
)
def test_what_ffmpeg_reads_is_heard_to_its_end(form: str, codec: str) -> None:
    file = by_ffmpeg(form, codec)
    samples = heard(file)

    assert probe(file, 60)["milliseconds"] == pytest.approx(3000, abs=60)
    assert len(samples) / RATE == pytest.approx(SECONDS, abs=0.06)
    assert pitch(samples) == pytest.approx(440, abs=2)


class Pipe(io.BytesIO):
    """What an encoder cannot go back in."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("a pipe")


def test_a_recording_of_a_browser_says_no_length_and_has_one() -> None:
    av = pytest.importorskip("av")  # of modgate[codecs]
    pipe = Pipe()
    by_ffmpeg("webm", "libopus", out=pipe)
    file = io.BytesIO(pipe.getvalue())
    with av.open(file) as container:
        said = container.duration

    assert said is None
    assert probe(file, 60)["milliseconds"] == pytest.approx(3000, abs=60)
    assert len(heard(file)) / RATE == pytest.approx(SECONDS, abs=0.06)


def test_the_resampler_neither_adds_nor_loses_a_sample() -> None:
    soundfile = pytest.importorskip("soundfile")  # of modgate[audio]
    out = io.BytesIO()
    soundfile.write(out, np.zeros(9915, np.float32), 96_000, format="WAV")  # soxr gives one more

    assert len(heard(out)) == round(9915 / 96_000 * RATE)


def test_what_a_resampler_holds_at_the_end_is_heard() -> None:
    last = heard(by_ffmpeg("matroska", "pcm_s16le", 44_100))[-10:]

    assert np.abs(last).max() > 0.05


def test_a_wav_of_unknown_size_is_read_to_its_end() -> None:
    data = bytearray(by_libsndfile("WAV", "PCM_16", 16_000, 1).getvalue())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"

    assert len(heard(io.BytesIO(bytes(data)))) == round(SECONDS * RATE)


def test_a_wav_that_was_cut_is_as_long_as_what_is_there() -> None:
    data = by_libsndfile("WAV", "PCM_16", 16_000, 1).getvalue()[: 44 + RATE * 2]

    assert probe(io.BytesIO(data), 60) == {"milliseconds": 1000}
    assert len(heard(io.BytesIO(data))) == RATE


def test_what_is_no_number_is_silence() -> None:
    soundfile = pytest.importorskip("soundfile")  # of modgate[audio]
    samples = tone(16_000)
    samples[100:200] = np.nan
    out = io.BytesIO()
    soundfile.write(out, samples, 16_000, format="WAV", subtype="FLOAT")

    assert np.isfinite(heard(out)).all()


def test_a_video_without_sound_is_refused() -> None:
    av = pytest.importorskip("av")  # of modgate[codecs]
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)

    with pytest.raises(Refused):
        probe(out, 60)


def test_an_hour_of_one_sound_takes_the_memory_of_one_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    block = rng.normal(0, 0.1, 8 * RATE).astype(np.float32)
    monkeypatch.setattr(decode, "blocks", lambda file: _repeated(block, 450))
    sizes: list[int] = []
    tracemalloc.start()
    found = sum(
        1 for _ in windows(io.BytesIO(), RULE, 14_400, lambda data: sizes.append(len(data)))
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == len(sizes) > 3600 // 30
    assert max(sizes) <= 44 + 30 * RATE * 2
    assert peak < 12e6


def _repeated(block: Samples, times: int) -> Iterator[Samples]:
    for _ in range(times):
        yield block


def test_a_steady_sound_is_no_silence_and_a_pause_in_it_is() -> None:
    steady = np.concatenate([tone(RATE, seconds=10)[:, 0]] * 4)
    rule = decode.rule_of(RULE)
    paused = steady.copy()
    paused[25 * RATE : 25 * RATE + RATE // 2] = 0

    assert decode.quietest(steady, rule) == (30 * RATE, False)
    assert decode.quietest(paused, rule) == (pytest.approx(25.25 * RATE, abs=640), True)


def test_the_longest_silence_is_taken_not_the_first() -> None:
    speech = np.random.default_rng(1).normal(0, 0.2, 31 * RATE).astype(np.float32)
    for at, lasts in ((19, 0.4), (22, 0.8), (28, 0.5)):
        speech[int(at * RATE) : int((at + lasts) * RATE)] *= 0.001
    cut, silent = decode.quietest(speech, decode.rule_of(RULE))

    assert silent
    assert cut / RATE == pytest.approx(22.4, abs=0.05)


def test_what_runs_in_a_decoder_imports_nothing_of_the_gateway() -> None:
    for module in (sound, joined, decode):
        lines = inspect.getsource(module).splitlines()
        imports = [
            line.split()[1] for line in lines if line.lstrip().startswith(("import", "from"))
        ]

        assert not [name for name in imports if name.split(".")[0] in ("modgate", "aiohttp")]
