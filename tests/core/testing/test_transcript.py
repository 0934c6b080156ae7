"""Reading transcripts: strict, with errors that name file and key, and JSON compared as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modgate.api.plan import ReplyKind
from modgate.kit.sse import Splitter
from modgate.testing.compare import difference
from modgate.testing.newer import MARK, newer, without_newer
from modgate.testing.transcript import BadTranscript, load, transcripts

GOOD = """
provenance = "captured"
engine = "a parrot"
version = "3"
date = "2026-11-25"
command = "say it again"
[call]
path = "/v1/audio"
reply = "chunked"
form = [{name="model", text="m"}, {name="file", filename="a.wav", base64="AA\\nAA"}]
[request]
path = "/audio"
form = [{name="audio", filename="x.wav", same_as="file"}]
[reply]
status = 201
headers = { Content-Type = "audio/wav" }
base64 = "AAAA"
[gives]
events = ['{"a": 1}']
error = { status = 400, code = "invalid_value" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "bird" / "parrot.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_transcript_is_read_whole(tmp_path: Path) -> None:
    read = load(written(tmp_path, GOOD))

    assert (read.family, read.name, read.date) == ("bird", "bird/parrot", "2026-11-25")
    assert (read.asked, read.served) == ("m", "engine-name")
    assert read.call.form is not None
    assert read.call.form[1].content == bytes(3)
    assert read.reply is not None
    assert (read.reply.status, read.reply.body) == (201, bytes(3))
    assert read.reply.headers == {"content-type": "audio/wav"}
    assert read.gives.error is not None
    assert read.gives.error.field is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("engine =", "engin =", "`engin`"),
        ('path = "/audio"', "path = 7", "$.request.path"),
        ('reply = "chunked"', 'reply = "often"', "$.call.reply"),
        ('"2026-11-25"', '"yesterday"', "$.date"),
        ('date = "2026-11-25"', "", "date is missing"),
        ('version = "3"', "", "version is missing"),
        ('command = "say it again"', 'command = " "', "command is missing"),
        ('"captured"', '"source"', "source is missing"),
        ('engine = "a parrot"', 'engine = "a parrot"\nsource = "a book"', "source is not for"),
        ('"AA\\nAA"', '"AA"', "call.form.1.base64"),
        ('text="m"', 'text="m", same_as="x"', "call.form.0"),
        ('base64 = "AAAA"', 'base64 = "AAAA"\nbody = ""', "reply: give exactly one"),
        ("[request]", "[request]\njson = '{}'", "request: give exactly one"),
        ("[gives]", "[gives]\nunsupported = true", "gives"),
        ("[gives]", "[gives]\nbody = 'x'", "gives: give exactly one"),
        ("[gives]", "[gives", "line"),
        ("""['{"a": 1}']""", """['{"a": 1}', '[DONE]']""", "gives.events: [DONE] is no event"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))

    with pytest.raises(BadTranscript) as bad:
        transcripts(tmp_path)

    assert str(path) in str(bad.value)
    assert told in str(bad.value)


@pytest.mark.parametrize(
    ("wanted", "got", "told"),
    [
        ({"a": 1, "b": [1.0]}, {"b": [1], "a": 1}, ""),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
        ({"a": {}}, {"a": {"b": 1}}, "a.b is 1, not wanted"),
        ([1, 2], [1], "has 1 items"),
        ({"a": [0]}, {"a": [False]}, "a.0 is False"),
        ({"a": "1"}, {"a": 1}, "a is 1, wanted '1'"),
        ({"a": 2**64 + 1}, {"a": 2**64}, "a is"),
        ({}, [], "the value is []"),
    ],
)
def test_json_is_compared_as_json(wanted: object, got: object, told: str) -> None:
    difference_told = difference(wanted, got)

    assert told in difference_told
    assert bool(told) == bool(difference_told)


def test_what_a_newer_engine_adds_to_a_whole_reply_can_be_taken_out_again() -> None:
    variants = [grown for _, grown in newer(b'{"a": [{"b": 1}]}', "whole")]

    assert [grown.count(MARK.encode()) for grown in variants] == [2, 2]
    for grown in variants:
        assert difference({"a": [{"b": 1}]}, json.loads(without_newer(grown) or b"")) == ""


def test_a_newer_stream_has_more_keys_comments_fields_and_events() -> None:
    body = b'data: {"a": 1}\r\n\r\ndata: [DONE]\r\n\r\n'
    variants = [Splitter().feed(grown) for _, grown in newer(body, "sse")]

    assert [len(events) for events in variants] == [2, 2, 2, 2, 4]
    for events in variants:
        bare = [left for event in events if (left := without_newer(event.data)) is not None]
        assert bare == [b'{"a": 1}', b"[DONE]"]


@pytest.mark.parametrize(("body", "kind"), [(b"<html>", "whole"), (b"{}", "chunked")])
def test_nothing_is_added_to_what_is_no_json(body: bytes, kind: ReplyKind) -> None:
    assert list(newer(body, kind)) == []
