"""Whose fault an engine's refusal is; the rest is in the golden transcripts."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Event,
    GatewayError,
    Overloaded,
    Refused,
    Served,
    UpstreamFailed,
)
from modgate_asr.dialects import DIALECTS, AsrHome, WhisperCpp

SERVED = Served(asked="ears", model="ears", name="vendor/engines-own-name")


def refusal(status: int, message: str, **more: str) -> GatewayError:
    body = orjson.dumps({"error": {"message": message, "code": status, **more}})
    call = Call(path="/v1/audio/transcriptions", body=Body.form([]))
    return AsrHome(call, SERVED).refusal(status, {}, body)


@pytest.mark.parametrize(
    ("status", "param", "kind"),
    [
        (400, "language", Refused),
        (400, "response_format", UpstreamFailed),
        (422, "timestamp_granularities", UpstreamFailed),
        (404, "model", UpstreamFailed),
        (501, "", Refused),
        (503, "", Overloaded),
        (500, "", UpstreamFailed),
    ],
)
def test_what_only_the_gateway_asks_for_is_no_fault_of_the_client(
    status: int, param: str, kind: type[GatewayError]
) -> None:
    assert type(refusal(status, "no", param=param)) is kind


def test_a_refusal_says_the_model_as_the_client_wrote_it() -> None:
    said = refusal(400, "vendor/engines-own-name hears English only")

    assert said.message == "ears hears English only"


def words(*tokens: tuple[str, float]) -> list[str]:
    """The words that whisper.cpp's tokens become, two tokens a segment."""
    call = Call(path="/v1/audio/transcriptions", body=Body.form([]))
    rows = [{"word": text, "start": at, "end": at + 0.1} for text, at in tokens]
    segments = [{"text": "", "words": rows[at : at + 2]} for at in range(0, len(rows), 2)]
    value = orjson.dumps({"text": "x", "segments": segments})
    [event] = WhisperCpp(call, SERVED).decode(Event(value))
    return [row["word"] for row in event.json()["words"]]


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        ([(" un", 0.0), ("believ", 0.1), ("able", 0.2), (".", 0.3), (" So", 0.4)],
         ["unbelievable.", "So"]),
        ([("今", 0.0), ("日", 0.1), ("は", 0.2)], ["今", "日", "は"]),
        ([(" a", -0.01), (" b", -0.01)], []),
    ],
)  # fmt: skip  # rows as they are read
def test_tokens_become_words_across_segments(
    tokens: list[tuple[str, float]], wanted: list[str]
) -> None:
    assert words(*tokens) == wanted


def test_a_reply_that_cannot_be_written_again_is_a_bad_one() -> None:
    call = Call(path="/v1/audio/transcriptions", body=Body.form([]))
    deep = b'{"text":"a","x":%b}' % (b"[" * 300 + b"]" * 300)
    with pytest.raises(BadReply, match="nested too deeply"):
        tuple(WhisperCpp(call, SERVED).decode(Event(deep)))


@pytest.mark.parametrize("kind", [b"{}", b"[]", b"null", b"7", b'"new"'])
def test_an_event_of_no_known_type_is_passed_over(kind: bytes) -> None:
    call = Call(path="/v1/audio/transcriptions", body=Body.form([]), reply="sse")
    dialect = AsrHome(call, SERVED)

    assert tuple(dialect.decode(Event(b'{"type":' + kind + b"}"))) == ()


def test_every_family_has_one_dialect() -> None:
    families = [kind.family for kind in DIALECTS]

    assert len(set(families)) == len(families)
    assert {kind.modality for kind in DIALECTS} == {"asr"}
