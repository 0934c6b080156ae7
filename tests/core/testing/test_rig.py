"""What stands in for the core: requests from samples, Needs answered, decoder work done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from toys.echo import Config, Toy
from toys.files import Files
from toys.jobs import broken, measure, no_text, too_much, twice, unplain

from modgate.api.modality import Shape
from modgate.errors import PluginFault
from modgate.plugin import Ask, Refused, Units, Usage, Work
from modgate.testing import Contract, Rig
from modgate.testing.rig import Incomplete
from modgate.testing.suite import played, played_until, replies


class TestFiles(Contract):
    modality = Files
    examples = 20


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(Files(Config()), tmp_path) as made:
        yield made


def test_a_sample_with_a_file_is_a_form_with_that_file_in_the_spool(rig: Rig) -> None:
    request = rig.request(Files.samples[0])

    assert request.file("file").read() == b"hello you all"
    assert request.fields().text("model") == "m"


def test_a_sample_is_played_through_needs_and_drawn_calls(rig: Rig) -> None:
    whole = played(rig, Files.samples[0])

    assert whole.reply == b'{"text":"HELLO YOU ALL"}'
    assert [call.size["characters"] for call in whole.calls] == [8, 5]
    assert [usage.units["characters"] for usage in whole.usages] == [8, 13, 13]


def test_a_drawn_piece_is_a_file_of_its_own(rig: Rig) -> None:
    calls = list(rig.calls(rig.plan(Files.samples[0])))

    pieces = [call.body.parts[0].content for call in calls]
    assert [piece.file.read() for piece in pieces if not isinstance(piece, bytes)] == [
        b"hello yo",
        b"u all",
    ]


def test_bytes_answer_a_fetch_and_an_exception_is_thrown_in(rig: Rig) -> None:
    assert played(rig, Files.samples[1]).reply == b'{"text":"HELLO"}'


def test_a_need_without_an_answer_is_told_by_its_number(rig: Rig) -> None:
    silent = replace(Files.samples[0], answers=())

    with pytest.raises(Incomplete, match=r"no answer for need 0 \(Ask\); give it in `answers`"):
        rig.plan(silent)


def test_a_call_without_an_upstream_reply_is_told_by_its_number(rig: Rig) -> None:
    short = replace(Files.samples[0], upstream=Files.samples[0].upstream[:1])

    with pytest.raises(Incomplete, match="call 1"):
        rig.drive(rig.plan(short)).play(replies(short))


def test_what_a_decoder_function_refuses_comes_out_in_shape(rig: Rig) -> None:
    sample = replace(Files.samples[0], form={"model": "m", "file": ("a.txt", b"\xff\xfe")})

    with pytest.raises(Refused, match="not ASCII") as refused:
        rig.plan(sample)

    assert (refused.value.field, refused.value.code) == ("file", "invalid_value")


@pytest.mark.parametrize("function", [broken, no_text])
def test_any_other_error_of_a_decoder_function_is_undecodable(rig: Rig, function: object) -> None:
    with pytest.raises(Refused) as refused:
        rig.inline.work(Work(function, field="file"))

    assert (refused.value.field, refused.value.code) == ("file", "undecodable")


def test_files_that_a_decoder_function_writes_arrive_as_files(rig: Rig) -> None:
    first, second = rig.inline.work(Work(twice, b"abc"))

    assert (first.read(), second.read()) == (b"abc", b"cba")


@pytest.mark.parametrize("function", [too_much, unplain, Files.shape, lambda: 1])
def test_what_no_decoder_process_could_do_is_the_plugins_fault(rig: Rig, function: object) -> None:
    with pytest.raises(PluginFault):
        rig.inline.work(Work(function))


def test_a_decoder_function_reads_from_the_start_each_time(rig: Rig) -> None:
    file = rig.file(b"hello")

    assert [rig.inline.work(Work(measure, file, 9))["characters"] for _ in range(2)] == [5, 5]


def test_the_files_of_a_rig_are_freed_at_its_end(tmp_path: Path) -> None:
    with Rig(Files(Config()), tmp_path) as rig:
        played(rig, Files.samples[0])
        spool = rig.scope

        assert spool.size > 0
    assert spool.size == 0


ENDLESS = repeat(next(iter(Toy(Config()).endpoints())))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(None, "NoneType"), (["/v1/echo"], "str"), (ENDLESS, "over 1000 Endpoints")],
)
def test_endpoints_that_are_none_are_told_in_words(
    tmp_path: Path, answer: object, kind: str
) -> None:
    class Mute(Toy):
        def endpoints(self) -> Any:
            return answer

    with pytest.raises(Incomplete, match=f"'endpoints' of toy answers {kind}"):
        Rig(Mute(Config()), tmp_path)


def test_a_drive_stops_between_two_events_with_the_call_pending(tmp_path: Path) -> None:
    with Rig(Toy(Config()), tmp_path) as rig:
        drive = played_until(rig, Toy.samples[0], 1)

    assert [outcome.state for outcome in drive.outcomes] == ["ok", "pending"]
    drive.stop()
    assert [outcome.state for outcome in drive.outcomes] == ["ok", "cancelled"]
    assert drive.usage().units["characters"] == 4


def test_a_lazy_plan_must_give_its_reserve(rig: Rig) -> None:
    plan = rig.plan(Files.samples[0])

    with pytest.raises(AssertionError, match="reserve"):
        _ = rig.drive(replace(plan, reserve=None)).reserve


def test_a_plan_that_draws_no_call_is_told_and_does_not_look_whole(rig: Rig) -> None:
    plan = replace(rig.plan(Files.samples[1]), calls=iter([None]), reserve=Units())

    with pytest.raises(AssertionError, match="a plan drew NoneType, and no Call"):
        rig.drive(plan).draw()


def yields(need: object) -> Shape:
    def shape(request: object) -> Iterator[object]:
        yield need

    return shape  # type: ignore[return-value]  # it is the fault


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (lambda request: None, "shape returned NoneType, and no Plan"),
        (yields(7), "shape yielded int, and no Need"),
        (yields(Ask(repeat(None))), "a list or a tuple, and not repeat"),  # type: ignore[arg-type]  # it is the fault
    ],
)
def test_what_shape_must_not_answer_is_told_in_words(rig: Rig, shape: Shape, told: str) -> None:
    request = rig.request(Files.samples[0])
    rig.endpoints[request.path] = replace(rig.endpoints[request.path], shape=shape)

    with pytest.raises(AssertionError, match=told):
        rig.shape(request, lambda step, need: pytest.fail("it is not asked"))


@pytest.mark.parametrize(
    ("said", "told"),
    [(None, "usage answered NoneType"), (Usage(Units(), other=7), "the other of a Usage is Units")],  # type: ignore[arg-type]  # it is the fault
)
def test_what_is_no_usage_is_told_in_words(rig: Rig, said: object, told: str) -> None:
    drive = rig.drive(rig.plan(Files.samples[1]))
    drive.relay.usage = lambda outcomes: said  # type: ignore[method-assign,assignment,return-value]  # it is the fault

    with pytest.raises(AssertionError, match=told):
        drive.usage()
