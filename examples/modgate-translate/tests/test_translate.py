"""The contract of modgate, and what it cannot know: pieces, the surface, LibreTranslate's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from acme_translate import Acme, Config, LibreTranslate, Translate, cut
from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Event,
    Refused,
    Sample,
    Served,
    Units,
)
from modgate.testing import Contract, Played, Rig

SERVED = Served(asked="fr", model="fr", name="nllb-200")


class TestTranslate(Contract):
    modality = Translate
    surfaces: ClassVar = (Acme,)
    dialects: ClassVar = (LibreTranslate,)


class Pieces(Translate):
    """The same, with a sample of several calls: each cut and each lie is tried in all of them."""

    samples: ClassVar = (
        Sample(
            path="/v1/translate",
            json={"model": "m", "text": "ab cd\nefghij k ", "to": "fr"},
            upstream=[b'{"text":"AB"}', b'{"text":"CD"}', b'{"text":"EFGH"}', b'{"text":"IJ K"}'],
            reply={"text": "AB CD\nEFGHIJ K ", "characters": 15},
            usage=Units(characters=15),
        ),
    )


class TestPieces(Contract):
    modality = Pieces
    surfaces: ClassVar = (Acme,)
    dialects: ClassVar = (LibreTranslate,)
    config: ClassVar = {"piece": 5}


def ask(tmp_path: Path, text: str) -> Played:
    """A text translated by an engine that shouts and trims, four characters a call."""
    sample = Sample(path="/v1/translate", json={"model": "m", "text": text, "to": "fr"})
    config = Config(piece=4)
    with Rig(Translate(config), tmp_path, surfaces=[Acme]) as rig:
        return rig.drive(rig.plan(sample)).play(lambda index, call: [Event(shout(call))])


def shout(call: Call) -> bytes:
    text = json.loads(call.body.members()["text"])
    return json.dumps({"text": text.upper().strip()}).encode()


def test_a_long_text_goes_out_in_pieces_and_comes_back_whole(tmp_path: Path) -> None:
    played = ask(tmp_path, "ab cd\nefghij k")

    assert [json.loads(call.body.members()["text"]) for call in played.calls] == [
        *("ab ", "cd\n", "efgh", "ij k")
    ]
    assert json.loads(played.reply) == {"text": "AB CD\nEFGHIJ K", "characters": 14}
    assert played.usage.units == Units(characters=14)


def test_fields_that_it_does_not_know_reach_the_engine_as_they_came(tmp_path: Path) -> None:
    sample = Translate.samples[0]
    body = Body.json(b'{"model":"m","text":"ab","to":"fr","id":1208925819614629174706177,"x":1.0}')
    with Rig(Translate(Config()), tmp_path, surfaces=[Acme]) as rig:
        plan = rig.shape(rig.request(sample, body), rig.answers(sample))
        (call,) = rig.calls(plan)

    assert call.body.members()["id"] == b"1208925819614629174706177"
    assert call.body.members()["x"] == b"1.0"


def test_every_piece_that_was_translated_is_billed_and_no_other(tmp_path: Path) -> None:
    sample = Sample(path="/v1/translate", json={"model": "m", "text": "abcdefgh", "to": "fr"})
    with Rig(Translate(Config(piece=4)), tmp_path, surfaces=[Acme]) as rig:
        drive = rig.drive(rig.plan(sample))
        call = drive.draw()
        assert call is not None
        drive.feed(Event(shout(call)))
        drive.end()
        drive.draw()
        drive.end("failed")

    assert drive.usage().units == Units(characters=4)
    assert not drive.usage().exact


@pytest.mark.parametrize("text", ["", "a", "    ", "a b c", "abcdefghijk", "\n" * 7, "ab   c   "])
def test_pieces_are_small_and_make_the_text_again(text: str) -> None:
    pieces = list(cut(text, 3))

    assert "".join(pieces) == text
    assert all(1 <= len(piece) <= 3 for piece in pieces)


def spoken(**keys: str | None) -> LibreTranslate:
    return LibreTranslate(Call(path="/translate", body=Body.of(model="fr", **keys)), SERVED)


def sent(**keys: str | None) -> object:
    content = spoken(**keys).encode().body.content
    assert isinstance(content, bytes)
    return json.loads(content)


@pytest.mark.parametrize("more", [{}, {"from": None}, {"q": "uncounted", "source": "x"}])
def test_libretranslate_is_asked_in_its_own_words(more: dict[str, str | None]) -> None:
    assert sent(text="hello", to="fr", **more) == {
        **{"q": "hello", "target": "fr"},
        **{"source": "auto", "format": "text"},
    }


def test_libretranslate_is_told_the_language_that_the_client_named() -> None:
    assert sent(text="hallo", to="fr", **{"from": "de"}) == {
        **{"q": "hallo", "target": "fr"},
        **{"source": "de", "format": "text"},
    }


def test_libretranslates_reply_is_understood() -> None:
    (event,) = spoken(text="hello", to="fr").decode(Event(b'{"translatedText":"bonjour"}'))

    assert event.json() == {"text": "bonjour"}


def test_another_reply_is_a_bad_one() -> None:
    with pytest.raises(BadReply):
        list(spoken(text="hello", to="fr").decode(Event(b'{"text":"bonjour"}')))


def test_its_errors_carry_the_id_of_the_request() -> None:
    error = Refused("to", "invalid_type", "'to' must be a string")

    assert Acme().error_body(error, "req_1") == {
        "fault": "invalid_type",
        "said": "'to' must be a string",
        "field": "to",
        "request": "req_1",
    }
