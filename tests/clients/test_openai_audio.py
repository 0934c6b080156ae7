"""Speech and transcription through the openai SDK."""

from __future__ import annotations

import base64
import io
import json
import re
import wave

import pytest
from sdks import openai

from clients.speaking import SAID, say

pytestmark = pytest.mark.models

VOICE, HEARD = "tts-1", "whisper-1"
LATER = "The children played in the garden after school."
SECOND_WINDOW_S = 18.0  # it begins here at the earliest
CLOCK = r"\d\d:\d\d:\d\d"
STARTS = {
    "wav": rb"RIFF....WAVE",
    "mp3": rb"ID3|\xff[\xe2-\xff]",
    "flac": rb"fLaC",
    "opus": rb"OggS.*OpusHead",
    "aac": rb"\xff[\xf0-\xff]",
}


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def frames(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 24_000)
        return sound.readframes(len(data))


@pytest.mark.parametrize("name", STARTS)
def test_speech_comes_in_every_format_and_is_understood(client: openai.OpenAI, name: str) -> None:
    sound = client.audio.speech.create(
        model=VOICE, voice="alloy", input=SAID, response_format=name
    ).read()
    heard = client.audio.transcriptions.create(model=HEARD, file=(f"said.{name}", sound))

    assert re.match(STARTS[name], sound[:64], re.DOTALL)
    assert plain(heard.text) == plain(SAID)


def test_pcm_is_what_the_wav_holds(client: openai.OpenAI, spoken: bytes) -> None:
    pcm = client.audio.speech.create(
        model=VOICE, voice="alloy", input=SAID, response_format="pcm"
    ).read()

    assert pcm == frames(spoken)
    assert 1.5 < len(pcm) / 48_000 < 8


def test_faster_speech_is_shorter(client: openai.OpenAI, spoken: bytes) -> None:
    fast = client.audio.speech.create(
        model=VOICE, voice="alloy", input=SAID, response_format="pcm", speed=2.0
    ).read()

    assert 0.4 < len(fast) / len(frames(spoken)) < 0.7


def test_streamed_speech_is_the_same_audio_in_pieces(client: openai.OpenAI, spoken: bytes) -> None:
    with client.audio.speech.with_streaming_response.create(
        model=VOICE, voice="alloy", input=SAID, response_format="pcm"
    ) as reply:
        pieces = list(reply.iter_bytes(4096))

    assert b"".join(pieces) == frames(spoken)
    assert len(pieces) > 1
    assert "content-length" not in reply.headers
    assert reply.headers["x-request-id"].startswith("req_")


def test_speech_events_hold_the_same_audio(client: openai.OpenAI, spoken: bytes) -> None:
    with client.audio.speech.with_streaming_response.create(
        model=VOICE, voice="alloy", input=SAID, response_format="pcm", stream_format="sse"
    ) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    audio = [base64.b64decode(event["audio"]) for event in events[:-1]]

    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert b"".join(audio) == frames(spoken)
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["input_tokens"] == len(SAID)


async def test_the_async_client_speaks(async_client: openai.AsyncOpenAI, spoken: bytes) -> None:
    reply = await async_client.audio.speech.create(
        model=VOICE, voice="alloy", input=SAID, response_format="wav"
    )

    assert frames(await reply.aread()) == frames(spoken)


def test_a_transcription_is_what_was_said(client: openai.OpenAI, spoken: bytes) -> None:
    heard = client.audio.transcriptions.create(model=HEARD, file=("said.wav", spoken))

    assert plain(heard.text) == plain(SAID)
    assert heard.usage
    assert heard.usage.type == "duration"
    assert heard.usage.seconds == pytest.approx(len(frames(spoken)) / 48_000, abs=1)


def test_a_verbose_transcription_has_times(client: openai.OpenAI, spoken: bytes) -> None:
    heard = client.audio.transcriptions.create(
        model=HEARD,
        file=("said.wav", spoken),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    lasts = len(frames(spoken)) / 48_000

    assert heard.language == "english"
    assert heard.duration == pytest.approx(lasts, abs=0.05)
    assert heard.words
    assert plain(" ".join(word.word for word in heard.words)) == plain(SAID)
    assert heard.segments
    assert plain("".join(segment.text for segment in heard.segments)) == plain(SAID)
    for row in (*heard.words, *heard.segments):
        assert 0 <= row.start <= row.end <= lasts + 0.5
    starts = [word.start for word in heard.words]
    assert starts == sorted(starts)
    assert starts[-1] > 1


def test_words_are_left_out_unless_asked_for(client: openai.OpenAI, spoken: bytes) -> None:
    heard = client.audio.transcriptions.create(
        model=HEARD, file=("said.wav", spoken), response_format="verbose_json"
    )

    assert heard.segments
    assert not heard.words


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("text", r"(?P<said>.+)\n?"),
        ("srt", rf"1\n{CLOCK},\d{{3}} --> {CLOCK},\d{{3}}\n(?P<said>.+)\n+"),
        ("vtt", rf"WEBVTT\n\n{CLOCK}\.\d{{3}} --> {CLOCK}\.\d{{3}}\n(?P<said>.+)\n+"),
    ],
)
def test_a_transcription_as_text(
    client: openai.OpenAI, spoken: bytes, name: str, pattern: str
) -> None:
    heard = client.audio.transcriptions.create(
        model=HEARD, file=("said.wav", spoken), response_format=name
    )
    found = re.fullmatch(pattern, heard)

    assert found
    assert plain(found["said"]) == plain(SAID)


def test_a_streamed_transcription_ends_with_the_whole(client: openai.OpenAI, spoken: bytes) -> None:
    events = list(
        client.audio.transcriptions.create(
            model=HEARD, file=("said.wav", spoken), response_format="json", stream=True
        )
    )
    pieces = [event.delta for event in events if event.type == "transcript.text.delta"]

    assert pieces
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(pieces)
    assert plain(events[-1].text) == plain(SAID)


async def test_the_async_client_transcribes(
    async_client: openai.AsyncOpenAI, spoken: bytes
) -> None:
    heard = await async_client.audio.transcriptions.create(model=HEARD, file=("said.wav", spoken))

    assert plain(heard.text) == plain(SAID)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's word on the route
def test_a_translation_answers_in_english(client: openai.OpenAI, spoken: bytes) -> None:
    heard = client.audio.translations.create(model=HEARD, file=("said.wav", spoken))

    assert plain(heard.text) == plain(SAID)


def test_a_recording_of_two_windows_is_heard_to_its_end(
    client: openai.OpenAI, spoken: bytes
) -> None:
    second = frames(say(client, LATER))
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, 24_000, 0, "NONE", ""))
        sound.writeframes(frames(spoken) + bytes(30 * 48_000) + second)
    heard = client.audio.transcriptions.create(
        model=HEARD, file=("long.wav", out.getvalue()), response_format="verbose_json"
    )
    lasts = 30 + (len(frames(spoken)) + len(second)) / 48_000

    assert plain(heard.text).startswith(plain(SAID))
    assert plain(heard.text).endswith(plain(LATER))
    assert heard.duration == pytest.approx(lasts, abs=0.05)
    assert heard.segments
    # When in its window the model heard it is the model's word, and another one on each processor.
    assert SECOND_WINDOW_S <= heard.segments[-1].start < heard.segments[-1].end <= lasts + 1.5
