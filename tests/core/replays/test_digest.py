"""What tells one body from another under an idempotency key."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryFile

import pytest
from multidict import CIMultiDict

from modgate.api.auth import Policy
from modgate.api.body import Body, File, Part
from modgate.errors import Conflict, KeyReused, Refused, ReplyNotKept
from modgate.idempotency import PIECE_BYTES, _judged, _key_in, digest_of
from modgate.replays.record import Record

SECRET = b"the client's own"


@pytest.fixture
def file() -> Iterator[File]:
    with TemporaryFile() as spool:
        spool.write(bytes(PIECE_BYTES) + b"ab" * PIECE_BYTES)
        spool.flush()
        yield File(fd=spool.fileno(), size=3 * PIECE_BYTES)


def parts(**more: str) -> list[Part]:
    return [Part(name="model", content=b"ears"), Part(name="file", content=b"RIFF", **more)]


def test_what_differs_in_anything_that_was_sent_is_another_body(file: File) -> None:
    forms = [
        parts(filename="a.wav"),
        parts(filename="b.wav"),
        parts(filename="a.wav", content_type="audio/wav"),
        parts(),
        parts()[:1],
        parts()[::-1],
        [Part(name="model", content=b"earsRIFF"), Part(name="file", content=b"")],
        [Part(name="file", content=file.slice())],
        [Part(name="file", content=file.slice(1))],
        [Part(name="file", content=file.slice(0, 2 * PIECE_BYTES))],
        [Part(name="file", content=file.slice(length=PIECE_BYTES, prefix=b"a"))],
        [Part(name="file", content=file.slice(length=PIECE_BYTES, prefix=b"b"))],
    ]
    bodies = [
        *(Body.form(each) for each in forms),
        Body.json(b'{"a":1}'),
        Body.json(b'{"a":2}'),
        Body.of_bytes(file.slice(PIECE_BYTES - 1, 3), "audio/wav"),
        Body.of_bytes(file.slice(PIECE_BYTES, 3), "audio/wav"),
    ]

    assert len({digest_of(SECRET, each) for each in bodies}) == len(bodies)


def test_what_is_sent_again_is_the_same_body_and_tells_nothing_without_the_key(file: File) -> None:
    whole = file.read(PIECE_BYTES - 1, 2 * PIECE_BYTES)
    spooled = Body.form([Part(name="f", content=file.slice(PIECE_BYTES - 1, 2 * PIECE_BYTES))])
    held = Body.form([Part(name="f", content=whole)])

    assert digest_of(SECRET, spooled) == digest_of(SECRET, held)
    assert digest_of(b"another", held) != digest_of(SECRET, held)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("", ""), ("x" * 256, "x" * 256), ("a\x01", "a\x01")]
)
def test_two_keys_that_differ_and_what_is_no_key_are_refused(one: str, other: str) -> None:
    with pytest.raises(Refused) as caught:
        _key_in(CIMultiDict({"Idempotency-Key": one, "X-Idempotency-Key": other}))

    assert caught.value.field == "idempotency-key"


def test_the_same_key_in_both_headers_is_one() -> None:
    key = "x" * 255

    assert _key_in(CIMultiDict({"Idempotency-Key": key, "X-Idempotency-Key": key})) == key


def test_what_holds_a_key_is_told_before_anything_is_sent_again() -> None:
    policy = Policy(models=frozenset({"a"}))
    done = Record(state="done", digest=b"same", request_id="r", body=b"{}", beside=("a",))
    held = {
        Conflict: [
            Record(state="running", digest=b"", request_id="", unknown=True),
            Record(state="running", digest=b"same", request_id="r"),
        ],
        KeyReused: [
            Record(state="done", digest=b"same", request_id="r", body=b"{}", beside=("b",)),
            Record(state="running", digest=b"other", request_id="r"),
            Record(state="done", digest=b"other", request_id="r", body=b"{}"),
        ],
        ReplyNotKept: [Record(state="done", digest=b"same", request_id="r")],
    }

    assert _judged(done, b"same", policy) is done
    for kind, records in held.items():
        for record in records:
            with pytest.raises(kind):
                _judged(record, b"same", policy)
