"""What a speech costs and how it ends, fed by hand."""

from __future__ import annotations

import base64
import io

import orjson
import pytest
import soundfile

from modgate.kit.sse import Splitter
from modgate.plugin import BadReply, Event, Outcome
from modgate_tts.dialects import DATA_BYTES, SAMPLE_RATE
from modgate_tts.encode import encoder
from modgate_tts.relay import Encoded, Spoken
from modgate_tts.wav import wav_header

OK, PENDING, FAILED = Outcome(state="ok"), Outcome(), Outcome(state="failed")
SECOND = b"\x10\x00" * 24_000
MS = 48


def spoken(pieces: int = 3, name: str = "pcm", *, events: bool = False) -> Spoken:
    return Spoken([10 * (n + 1) for n in range(pieces)], format_name=name, events=events)


def feed(relay: Spoken, index: int, data: bytes = SECOND, **headers: str) -> bytes:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return b"".join(relay.feed(index, Event(data, headers=given)))


def play(relay: Spoken, pieces: list[int]) -> None:
    for index in pieces:
        feed(relay, index)
    list(relay.close([OK] * 3))


def billed(relay: Spoken, *outcomes: Outcome) -> tuple[int, int, bool]:
    usage = relay.usage(outcomes)
    return usage.units["characters"], usage.units["speech_ms"], usage.exact


def test_a_speech_is_billed_by_what_has_gone_out() -> None:
    relay = spoken()
    out = len(feed(relay, 0))

    assert billed(relay, PENDING) == (0, out // MS, False)
    assert billed(relay, OK, PENDING, PENDING) == (10, out // MS, False)
    out += len(feed(relay, 1))
    assert billed(relay, OK, FAILED, OK) == (10, out // MS, False)


def test_pieces_that_wait_for_their_turn_cost_nothing() -> None:
    relay = spoken()
    feed(relay, 0)

    assert billed(relay, OK, OK, OK)[0] == 10


def test_a_whole_speech_is_exact_only_at_its_end() -> None:
    relay = spoken(2)
    feed(relay, 0)
    feed(relay, 1)
    before = billed(relay, OK, OK)
    list(relay.close([OK, OK]))

    assert before == (30, 2000, False)
    assert billed(relay, OK, OK) == (30, 2000, True)


@pytest.mark.parametrize("fed", [[0, 2], [1, 2], [0, 1]])
def test_a_piece_without_speech_is_a_bad_reply(fed: list[int]) -> None:
    with pytest.raises(BadReply, match="no speech"):
        play(spoken(), fed)


def test_speech_of_another_rate_is_billed_by_its_duration() -> None:
    relay = spoken(1)
    out = feed(relay, 0, b"\x10\x00" * 22_050, **{SAMPLE_RATE: "22050"})
    out += b"".join(relay.close([OK]))

    assert len(out) == 48_000
    assert billed(relay, OK) == (10, 1000, True)


def test_a_wav_of_one_piece_says_its_length_where_the_engine_did() -> None:
    relay = spoken(1, "wav")
    out = feed(relay, 0, SECOND, **{DATA_BYTES: "48000"}) + b"".join(relay.close([OK]))

    assert out == wav_header(48_000) + SECOND


def test_a_flac_of_one_piece_says_its_length_where_the_engine_did() -> None:
    relay = Encoded([10], format_name="flac", events=False)
    relay.begin()
    out = feed(relay, 0, SECOND, **{DATA_BYTES: "48000"}) + b"".join(relay.close([OK]))

    assert soundfile.info(io.BytesIO(out)).frames == 24_000


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_a_flac_of_one_piece_at_another_rate_is_read_whole_by_libsndfile(rate: int) -> None:
    relay = Encoded([10], format_name="flac", events=False)
    pcm = b"\x10\x00" * (rate // 7)
    said = {DATA_BYTES: str(len(pcm)), SAMPLE_RATE: str(rate)}
    relay.begin()
    out = feed(relay, 0, pcm, **said) + b"".join(relay.close([OK]))
    samples, _ = soundfile.read(io.BytesIO(out))

    assert len(samples) == round(rate // 7 * 24_000 / rate)


def test_a_length_that_no_wav_can_say_is_left_open() -> None:
    said = {DATA_BYTES: str(0x7FFFE000), SAMPLE_RATE: "8000"}

    assert feed(spoken(1, "wav"), 0, b"\x10\x00" * 8_000, **said).startswith(wav_header())


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_wav_of_unknown_length_has_an_open_header(pieces: int) -> None:
    relay = spoken(pieces, "wav")
    said = {DATA_BYTES: "48000"} if pieces > 1 else {}

    assert feed(relay, 0, SECOND, **said).startswith(wav_header())


def test_an_engine_that_lied_about_the_length_has_a_bad_reply() -> None:
    relay = spoken(1, "wav")
    feed(relay, 0, SECOND, **{DATA_BYTES: "50000"})

    with pytest.raises(BadReply, match="length"):
        list(relay.close([OK]))


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("of_mistral", [False, True])
def test_every_speech_says_its_rate(events: bool, of_mistral: bool) -> None:
    relay = Spoken([9], format_name="pcm", events=events, of_mistral=of_mistral)

    assert relay.head.headers == {"x-modgate-sample-rate": "24000"}


def test_events_hold_the_audio_and_end_with_the_usage() -> None:
    relay = spoken(2, events=True)
    out = feed(relay, 0) + feed(relay, 1) + b"".join(relay.close([OK, OK]))
    *events, done = Splitter().feed(out)
    *deltas, last = [orjson.loads(event.data) for event in events]
    pcm = b"".join(base64.b64decode(each["audio"]) for each in deltas)

    assert {each["type"] for each in deltas} == {"speech.audio.delta"}
    assert len(pcm) == 2 * len(SECOND)
    assert last == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 30, "output_tokens": 2000, "total_tokens": 2030},
    }
    assert done.data == b"[DONE]"


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac"])
def test_a_long_piece_is_encoded_slice_by_slice_and_billed_as_it_goes(name: str) -> None:
    relay = Encoded([10], format_name=name, events=False)
    made = iter(relay.feed(0, Event(SECOND * 5)))
    first = next(made)

    assert first
    assert 0 < relay.usage([PENDING]).units["speech_ms"] <= 200
    rest = list(made)
    assert len(rest) > 20
    whole = encoder(name)
    at_once = whole.encode(SECOND * 5) + whole.finish()
    assert len(b"".join([first, *rest, *relay.close([OK])])) == len(at_once)
    assert relay.usage([OK]).units["speech_ms"] == 5000


@pytest.mark.parametrize("outcome", [OK, FAILED])
def test_what_an_encoder_still_holds_was_not_relayed(outcome: Outcome) -> None:
    relay = Encoded([10], format_name="mp3", events=False)
    out = list(relay.feed(0, Event(bytes(1000))))

    assert out == []
    assert set(relay.usage([outcome]).units.values()) == {0}
