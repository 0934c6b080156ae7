"""Which failures are tried again, where, and after how long: the table of algorithms.md 5.1."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from modgate.errors import (
    BadReply,
    ConnectTimedOut,
    Draining,
    Forbidden,
    GatewayError,
    LimitReached,
    ModelLoading,
    NoBackend,
    Overloaded,
    PluginFault,
    Refused,
    TooLarge,
    Unreached,
    Unsupported,
    UpstreamFailed,
    UpstreamTimedOut,
)
from modgate.retry import (
    DOUBLED_AT_MOST,
    Failure,
    alike,
    failure_of,
    pause_s,
    state_of,
)

BACK_OFF_S = 0.025  # algorithms.md 5.1
FAILURES: list[Failure] = ["unreached", "loading", "full", "lost", "fault", "late", "final"]


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (Unreached("x"), None, "unreached"),
        (ConnectTimedOut("x"), None, "unreached"),
        (Overloaded("x"), 429, "full"),
        (Overloaded("x"), 503, "full"),
        (ModelLoading("x"), 503, "loading"),
        (UpstreamFailed("reset, or an empty reply"), None, "lost"),
        (UpstreamFailed("cut before its first event"), 200, "lost"),
        (UpstreamFailed("x"), 502, "lost"),
        (UpstreamFailed("x"), 504, "lost"),
        (UpstreamFailed("x"), 500, "fault"),
        (UpstreamFailed("x"), 503, "fault"),
        (UpstreamFailed("not its model"), 404, "fault"),
        (BadReply("x"), 200, "fault"),
        (UpstreamTimedOut("x"), None, "late"),
        (Refused(None, "invalid_value", "x"), 400, "final"),
        (TooLarge("x"), 413, "final"),
        *(
            (error, None, "final")
            for error in (
                Forbidden("x"),
                LimitReached("x", limit="l", unit="u", retry_after_s=1.0),
                NoBackend("x"),
                Draining("x"),
                PluginFault("x"),
            )
        ),
    ],
)
def test_a_failure_has_a_kind(error: GatewayError, status: int | None, failure: Failure) -> None:
    assert failure_of(error, status) == failure


def test_an_attempt_is_told_by_what_ended_it() -> None:
    assert state_of(ConnectTimedOut("x")) == "timed_out"
    assert state_of(Refused(None, "invalid_value", "x")) == "refused"
    assert state_of(Unsupported("x", "voice")) == "refused"
    assert state_of(UpstreamFailed("x")) == "failed"
    assert state_of(asyncio.CancelledError()) == "cancelled"


def asked(
    *failures: Failure,
    other: bool = True,
    left_s: float = 60.0,
    held_s: float = 0.0,
    turn_s: float = 0.0,
) -> float | None:
    return pause_s(
        failures,
        other=other,
        left_s=left_s,
        needs_s=1.0,
        held_s=held_s,
        turn_s=lambda: turn_s,
        lot=lambda: 0.5,
    )


@pytest.mark.parametrize(
    ("failures", "elsewhere", "same"),
    [
        (["unreached"], 0.0, BACK_OFF_S / 2),
        (["unreached", "unreached"], 0.0, BACK_OFF_S),
        (["full"], 0.0, None),
        (["full", "full"], 0.0, None),
        (["loading"], 0.0, None),
        (["lost"], 0.0, BACK_OFF_S / 2),
        (["lost", "lost"], None, None),
        (["fault"], 0.0, None),
        (["fault", "fault"], None, None),
        (["late"], 0.0, None),
        (["late", "late"], None, None),
        (["final"], None, None),
        (["unreached", "final"], None, None),
        (["fault", "lost"], 0.0, BACK_OFF_S),
        (["unsaid"], 0.0, None),
        (["unsaid", "unsaid", "unsaid", "unsaid"], 0.0, None),
        (["unsaid", "unsaid", "unsaid", "lost"], 0.0, BACK_OFF_S / 2),
        (["full", "unsaid", "fault", "unsaid"], 0.0, None),
    ],
)
def test_what_failed_is_tried_elsewhere_or_there_again_as_the_table_says(
    failures: list[Failure], elsewhere: float | None, same: float | None
) -> None:
    assert asked(*failures) == elsewhere
    assert asked(*failures, other=False) == same


def test_a_late_call_goes_elsewhere_only_if_there_is_time_for_it() -> None:
    assert asked("late", left_s=1.1) == 0.0
    assert asked("late", left_s=0.9) is None
    assert asked("lost", left_s=0.9) == 0.0
    assert asked("lost", left_s=-0.1) is None
    assert asked("unsaid", left_s=-0.1) == 0.0  # its deadline is told, and no mistake of the client


def test_no_call_has_more_than_two_attempts_beside_the_first() -> None:
    for failures in product(FAILURES, repeat=3):
        for other in (True, False):
            assert asked(*failures, other=other) is None


def test_one_that_is_held_is_tried_as_long_as_that_lasts_and_the_model_loads() -> None:
    for tries in range(1, 2000):
        loads: list[Failure] = ["loading"] * tries
        pause = asked(*loads, other=False, held_s=9.0)
        assert pause == BACK_OFF_S * 2 ** min(tries - 1, DOUBLED_AT_MOST) / 2
        assert asked(*loads, held_s=0.1) == 0.0
    assert asked("loading", other=False, held_s=9.0, turn_s=3.0) == 3.0
    assert asked("loading", other=False, held_s=2.0, turn_s=3.0) == 2.0
    assert asked("loading", "loading", "loading", other=False, held_s=-0.1) is None
    assert asked("loading", "loading", "loading", other=False, held_s=9.0, left_s=0.01) is None


@pytest.mark.parametrize("failure", ["unreached", "full", "lost", "fault", "late"])
def test_nothing_is_held_but_what_waits_for_a_model_to_load(failure: Failure) -> None:
    assert asked("loading", "loading", failure, other=False, held_s=9.0) is None
    assert asked(failure, "loading", "loading", other=False, held_s=9.0) is None


@pytest.mark.parametrize(
    ("failures", "is_so"),
    [
        (["lost"], False),
        (["lost", "lost"], True),
        (["fault", "fault"], True),
        (["fault", "full", "fault"], True),
        (["fault", "lost"], False),
        (["lost", "lost", "full"], False),
        (["full", "full"], False),
        (["late", "late"], False),
    ],
)
def test_a_call_is_the_reason_where_it_failed_twice_in_the_same_way_and_not_for_load(
    failures: list[Failure], is_so: bool
) -> None:
    assert alike(failures) is is_so
