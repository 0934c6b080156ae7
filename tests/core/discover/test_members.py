from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydantic import BaseModel
from rigs.virtual import Still

from modgate.api.discover import (
    ConfiguredDiscoverer,
    Discoverer,
    Finding,
    Found,
    Instance,
    Lost,
    Number,
)
from modgate.api.select import Backend
from modgate.clock import SystemClock
from modgate.discover.source import FIRST_WORD_S, REASONS_AT_MOST, Source
from modgate.host.installed import Origin
from modgate.members import Members
from modgate.upstream.world import World


class Nothing(BaseModel, frozen=True):
    pass


def configured(kind: str = "x") -> ConfiguredDiscoverer:
    template = Backend(
        name="pods", family="vllm", url="", serves={"m": "e", "n": "e"}, region="eu", slots=4
    )
    return ConfiguredDiscoverer(name="pods", kind=kind, config=Nothing(), template=template)


def members(found: Sequence[Instance]) -> tuple[Members, ConfiguredDiscoverer]:
    made = Members(world=World(), clock=SystemClock(), changed=lambda: None)
    look = configured()
    source = Source(look, lambda: pytest.fail("not run"), made.world, made.clock, lambda: None)
    source.instances = found
    made._sources["pods"] = source
    return made, look


def test_what_is_found_is_what_its_section_says_but_for_what_it_says_itself() -> None:
    made, look = members(
        [
            Instance(uid="1", url="http://a:1", name="one"),
            Instance(uid="2", url="http://b:1", region="us", slots=9, serves={"n": "x"}),
        ]
    )
    one, two = made.of([], [look])

    assert (one.name, one.identity, one.region, one.slots) == ("pods/one", "pods:1", "eu", 4)
    assert (two.name, two.region, two.slots, dict(two.serves)) == ("pods/2", "us", 9, {"n": "x"})


def test_an_engine_of_another_name_is_left_out_where_nobody_knows_that_it_is_the_same() -> None:
    others = [
        Instance(uid="1", url="http://a", serves={"m": "other"}),
        Instance(uid="2", url="http://b", serves={"n": "other"}),
        Instance(uid="3", url="http://c", serves={"m": "e"}),
    ]
    made, look = members(others)

    assert len(made.of([], [look])) == 3
    named = replace(look, named=frozenset({"m"}))
    assert [each.uid for each in made.of([], [named])] == ["pods:2", "pods:3"]


def test_an_engine_that_the_file_names_too_is_the_files() -> None:
    made, look = members([Instance(uid="1", url="http://a:1/"), Instance(uid="2", url="http://b")])
    mine = Backend(name="mine", family="home", url="http://a:1", serves={"m": "e"})

    assert [each.name for each in made.of([mine], [look])] == ["mine", "pods/2"]


def test_two_of_one_name_are_two_engines_of_two_names() -> None:
    made, look = members(
        [
            Instance(uid="1", url="http://a", name="same"),
            Instance(uid="2", url="http://b", name="same"),
        ]
    )

    assert [each.name for each in made.of([], [look])] == ["pods/same", "pods:2"]


@pytest.mark.parametrize(
    "junk",
    [
        Instance(uid="", url="http://b"),
        Instance(uid="1", url="http://b"),
        Instance(uid="2", url="ftp://b"),
        Instance(uid="2", url="http://b", slots=0),
        Instance(uid="2", url="http://user:pass@b"),
        Instance(uid="2", url="http://b", serves={"other": "e"}),
        Instance(uid="2", url="http://b", serves={}),
    ],
)
def test_what_cannot_be_an_engine_is_left_out_and_told_once(
    junk: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    made, look = members([Instance(uid="1", url="http://a"), junk])
    with caplog.at_level(logging.ERROR):
        found = [made.of([], [look]) for _ in range(3)]

    assert [[each.url for each in some] for some in found] == [["http://a"]] * 3
    assert len(caplog.records) == 1
    assert "pass" not in str(vars(caplog.records[0]).get("reason"))


def test_an_engine_stays_as_it_was_when_its_entry_is_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = Instance(uid="1", url="http://a", serves={"m": "e"}, slots=2)
    made, look = members([good])
    [before] = made.of([], [look])
    slip = replace(good, serves={"mm": "e"}, slots=9)
    new = Instance(uid="2", url="http://b", serves={"mm": "e"})
    made._sources["pods"].instances = [slip, new]
    assert made.of([], [look]) == [before]
    made._sources["pods"].instances = [replace(slip, draining=True)]
    assert made.of([], [look]) == [replace(before, draining=True)]
    assert [vars(each)["found"] for each in caplog.records] == ["1", "2"]
    made._sources["pods"].instances = []
    assert made.of([], [look]) == []
    made._sources["pods"].instances = [slip]

    assert made.of([], [look]) == []  # nobody knows it any more


def test_each_reason_of_an_outage_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    world, clock = World(), SystemClock()
    source = Source(configured(), lambda: pytest.fail("not run"), world, clock, lambda: None)
    said = []
    for outage in (["a", "b", "a", "b"], ["b"], [str(number) for number in range(100)]):
        caplog.clear()
        for reason in outage:
            source._hear(Lost(reason=reason))
        said.append([vars(each)["reason"] for each in caplog.records])
        source._hear(Found(instances=()))

    assert said[:2] == [["a", "b"], ["b"]]
    assert len(said[2]) == REASONS_AT_MOST


def test_nobody_is_waited_for_that_has_had_its_time_or_came_later() -> None:
    clock = Still()
    made = Members(world=World(), clock=clock, changed=lambda: None)

    def silent() -> Source:
        return Source(configured(), lambda: pytest.fail("not run"), made.world, clock, lambda: None)

    made._sources["pods"] = silent()
    assert not made.heard()
    clock.at += FIRST_WORD_S + 1
    assert made.heard()
    made._sources["more"] = silent()

    assert made.heard()


def test_a_change_that_the_fleet_could_not_take_is_told_again() -> None:
    told: list[int] = []

    def changed() -> None:
        told.append(len(source.instances))
        if len(told) == 1:
            raise OSError("at the wrong moment")

    source = Source(
        configured(), lambda: pytest.fail("not run"), World(), SystemClock(), lambda: changed()
    )
    found = Found(instances=[Instance(uid="1", url="http://a:1")])
    with pytest.raises(OSError, match="wrong moment"):
        source._hear(found)
    source._hear(found)
    source._hear(found)

    assert told == [1, 1]


def test_a_section_that_looks_elsewhere_now_has_none_of_the_engines_that_were_there() -> None:
    made, look = members([Instance(uid="1", url="http://a")])

    assert made.of([], [look])
    assert made.of([], [configured(kind="y")]) == []
    assert made.of([], []) == []


@pytest.mark.parametrize("name", ["name", "region", "hardware"])
@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_an_engine_whose_name_no_row_can_hold_is_none(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"control|surrogates"):
        Instance(uid="1", url="http://a:1", **{name: text})


async def test_who_brings_a_discoverer_that_breaks_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = asyncio.Event()

    class Broken(Discoverer[Nothing]):
        def discover(self, now: Number, rng: Number) -> Finding[None]:
            asked.set()
            raise SystemExit

    made = Members(world=World(), clock=SystemClock(), changed=lambda: None)
    origin = Origin(name="racks", distribution="acme-racks", version="2.0")
    await made.use([configured()], {"x": (origin, Broken)})
    await asked.wait()
    await made.use([], {})

    assert vars(caplog.records[0])["plugin"] == "racks (acme-racks 2.0)"


def test_none_are_there_only_where_somebody_says_that_there_are_none() -> None:
    made, _ = members([])
    [source] = made.sources
    unknown = made.said_none()
    source._hear(Found(instances=[Instance(uid="1", url="http://a", serves={"other": "e"})]))
    unfit = made.said_none()
    source._hear(Found(instances=[]))

    assert (unknown, unfit, made.said_none()) == (False, False, True)
