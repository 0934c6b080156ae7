"""Bodies changed at their top level, where every other value stays the client's own bytes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import permutations

import pytest

from modgate.plugin import Body, JsonObject, Part, Refused

BIG = b"1208925819614629174706177"


def content(body: Body) -> object:
    return body.content


def test_what_is_not_touched_stays_as_it_came() -> None:
    body = Body.json(b'{"id": %b, "x": 1.0, "model": "a"}' % BIG).put(model="b").drop("x")

    assert body.members() == {"id": BIG, "model": b'"b"'}
    assert content(body) == b'{"id":%b,"model":"b"}' % BIG


def test_a_body_whose_members_were_looked_at_is_still_sent_whole() -> None:
    body = Body.json(b' {"id" : %b, "text": "\\u00e4 "} ' % BIG)

    body.members()

    assert content(body) == b'{"id":%b,"text":"\\u00e4 "}' % BIG
    assert body.held_bytes == body.size == len(b'{"id":%b,"text":"\\u00e4 "}' % BIG)


def test_a_member_is_read_by_itself() -> None:
    body = Body.json(b'{"text": "\\u00e4", "stop": null, "rest": [1, {"a": 2}]}')

    assert (body.member("text"), body.member("rest")) == ("\u00e4", [1, {"a": 2}])
    assert (body.member("stop", 1), body.member("n", 1), body.member("n")) == (None, 1, None)


def test_a_small_member_takes_little_room() -> None:
    tracemalloc.start()
    try:
        bodies = [Body.of(model=f"model {number}", n=number) for number in range(100)]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert held / len(bodies) < 1000


def test_what_a_client_nested_too_deeply_to_be_written_is_its_fault() -> None:
    nested: JsonObject = {}
    for _ in range(300):
        nested = {"a": nested}

    for made in (Body.of, Body.json(b"{}").put):
        with pytest.raises(Refused) as caught:
            made(tools=nested)
        assert (caught.value.status, caught.value.field) == (400, "tools")


def test_what_is_no_json_at_all_is_nobodys_fault_but_ours() -> None:
    with pytest.raises(TypeError):
        Body.of(tools=object())


def test_a_renamed_member_keeps_its_value() -> None:
    assert Body.json(b'{"text": %b, "to": 1}' % BIG).rename("text", "q").members() == {
        "q": BIG,
        "to": b"1",
    }


@pytest.mark.parametrize("order", [*permutations([b'"text":"seen"', b'"q":"unseen"', b'"x":1'])])
def test_a_renamed_member_takes_the_place_of_one_that_had_the_name(order: list[bytes]) -> None:
    body = Body.json(b"{" + b",".join(order) + b"}").rename("text", "q")

    assert body.members() == {"q": b'"seen"', "x": b"1"}


@pytest.mark.parametrize("order", [*permutations(["text", "q", "x"])])
def test_a_renamed_part_takes_the_place_of_one_that_had_the_name(order: list[str]) -> None:
    parts = [Part(name=name, content=name.encode()) for name in order]
    body = Body.form(parts).rename("text", "q")

    assert {part.name: part.content for part in body.parts} == {"q": b"text", "x": b"x"}
    assert len(body.parts) == 2


@pytest.mark.parametrize(("old", "new"), [("none", "q"), ("q", "q")])
def test_a_rename_without_effect_leaves_the_body_alone(old: str, new: str) -> None:
    form = Body.form([Part(name="q", content=b"1"), Part(name="q", content=b"2")])

    assert Body.json(b'{"q":1}').rename(old, new).members() == {"q": b"1"}
    assert [part.content for part in form.rename(old, new).parts] == [b"1", b"2"]


@pytest.mark.parametrize("made", [lambda b: b.put(text="short"), lambda b: b.drop("text")])
def test_a_long_member_that_is_wanted_no_more_is_held_no_more(made: Callable[[Body], Body]) -> None:
    """Of a picture that was scaled down the stream's memory has the small one only."""
    tracemalloc.start()
    try:
        body = made(Body.json(b'{"a":1,"text":"%b","z":[2]}' % (b"x" * 1_000_000)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 500_000
    assert {"a": b"1", "z": b"[2]"}.items() <= body.members().items()
