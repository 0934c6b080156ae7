from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.fleet.bound import Bound
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.line import Line, retry_s


@dataclass(eq=False)
class Call:
    claim: Claim
    shape: Hashable = ""


def call(
    tenant: str,
    work: float = 1.0,
    *,
    weight: float = 1.0,
    body_bytes: int = 0,
    until: float = inf,
    begun: bool = False,
) -> Call:
    return Call(
        Claim(
            tenant=tenant,
            weight=weight,
            request=object(),
            work=work,
            body_bytes=body_bytes,
            until=until,
            begun=begun,
        )
    )


def busy(line: Line[Call], rate: float) -> float:
    """So much was done a second while a call waited; what time it is then."""
    first = call("somebody")
    line.push(first, QueueRules(), 0.0)
    now = 0.0
    while now < 4.0:
        now += 0.5
        line.tally.served += rate * 0.5
        line.tally.look(now)
    line.remove(first, now)
    return now


def gone(line: Line[Call], item: Call, rules: QueueRules, now: float = 0.0) -> list[Call]:
    """What has to go for this one."""
    return [each for each, _ in line.push(item, rules, now)]


def names(calls: list[Call]) -> list[str]:
    return [each.claim.tenant for each in calls]


def test_the_queue_holds_so_many_calls_and_one_tenant_half_of_them() -> None:
    line: Line[Call] = Line()
    rules = QueueRules(calls=10)
    dropped = [names(gone(line, call("flood"), rules, 0.0)) for _ in range(7)]

    assert dropped == [[]] * 5 + [["flood"]] * 2
    assert line.calls == 5


def test_where_there_is_no_room_the_longest_gives_it_and_not_the_newcomer() -> None:
    line: Line[Call] = Line()
    rules = QueueRules(calls=10, share=1.0)
    for _ in range(10):
        line.push(call("flood"), rules, 0.0)
    dropped = [names(gone(line, call(tenant), rules, 0.0)) for tenant in "abc"]

    assert dropped == [["flood"]] * 3
    assert line.calls == 10


def test_a_tenant_of_more_weight_may_have_more_of_a_full_queue() -> None:
    line: Line[Call] = Line()
    rules = QueueRules(calls=9, share=1.0)
    for _ in range(5):
        line.push(call("heavy", weight=4.0), rules, 0.0)
    for _ in range(4):
        line.push(call("light"), rules, 0.0)

    assert names(gone(line, call("heavy", weight=4.0), rules, 0.0)) == ["light"]


def test_bodies_that_wait_are_bounded_in_bytes() -> None:
    line: Line[Call] = Line()
    rules = QueueRules(body_bytes=1000)
    first = gone(line, call("a", body_bytes=400), rules, 0.0)
    own = gone(line, call("a", body_bytes=200), rules, 0.0)
    line.push(call("b", body_bytes=400), rules, 0.0)
    other = gone(line, call("c", body_bytes=300), rules, 0.0)

    assert (names(first), names(own), names(other)) == ([], ["a"], ["a"])
    assert line.body_bytes == 700


def test_work_that_waits_is_bounded_by_what_the_pool_does() -> None:
    line: Line[Call] = Line()
    now = busy(line, rate=10.0)
    rules = QueueRules(work_s=10.0)  # 100 units, and 50 of one tenant
    dropped = [names(gone(line, call("a", 20), rules, now)) for _ in range(3)]
    large = names(gone(line, call("b", 500), rules, now))

    assert line.tally.rate == pytest.approx(10.0)
    assert dropped == [[], [], ["a"]]
    assert large == []  # a tenant's only call is judged by its deadline, and not by its size
    assert line.work == 540


@pytest.mark.parametrize(
    ("rules", "tenants", "told"),
    [
        (QueueRules(calls=4), "aaa", Bound(of="calls", whose="tenant", held=3, most=2)),
        (QueueRules(calls=2), "abc", Bound(of="calls", held=3, most=2)),
        (
            QueueRules(body_bytes=1000),
            "aa",
            Bound(of="body_bytes", whose="tenant", held=800, most=500),
        ),
        (QueueRules(body_bytes=1000), "abc", Bound(of="body_bytes", held=1200, most=1000)),
        (QueueRules(work_s=6), "aa", Bound(of="work", whose="tenant", held=4.0, most=3.0)),
        (QueueRules(work_s=5, share=1.0), "aab", Bound(of="work", held=6.0, most=5)),
    ],
)
def test_who_has_to_go_is_told_the_bound_and_how_far_it_is_over(
    rules: QueueRules, tenants: str, told: Bound
) -> None:
    line: Line[Call] = Line()
    now = busy(line, rate=10.0)
    dropped = [line.push(call(each, 20, body_bytes=400), rules, now) for each in tenants]

    assert dropped[:-1] == [[]] * (len(tenants) - 1)
    [(_, bound)] = dropped[-1]
    assert bound == told


def test_a_request_that_was_worked_on_is_the_last_to_go() -> None:
    line: Line[Call] = Line()
    rules = QueueRules(calls=4)
    begun = [call("a", begun=True), call("a")]
    for each in begun:
        line.push(each, rules, 0.0)
    dropped = gone(line, call("a", begun=True), rules, 0.0)

    assert dropped == [begun[1]]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 500), st.booleans()), max_size=40))
def test_too_much_work_never_ends_a_request_that_was_worked_on(
    coming: list[tuple[str, float, bool]],
) -> None:
    line: Line[Call] = Line()
    now = busy(line, rate=1.0)
    rules = QueueRules(calls=1000, work_s=10.0)
    for tenant, work, begun in coming:
        dropped = gone(line, call(tenant, work, begun=begun), rules, now)

        assert not any(each.claim.begun for each in dropped)


def test_a_piece_of_a_long_speech_waits_behind_one_slow_call_and_new_requests_go_for_it() -> None:
    line: Line[Call] = Line()
    now = busy(line, rate=1.0)  # the first call was slow: the pool seems to do but one a second
    rules = QueueRules(work_s=30.0)
    speech, other = object(), object()
    piece = call("a", 10)
    later = [call("a", 10) for _ in range(3)]
    for each in (piece, *later):
        each.claim.request = speech
    line.push(piece, rules, now)
    assert gone(line, later[0], rules, now) == [later[0]]  # nobody has heard anything yet

    piece.claim.begun = True
    line.remove(piece, now)
    for each in later:
        each.claim.begun = True
        assert gone(line, each, rules, now) == []
    newcomer = call("a", 10)
    newcomer.claim.request = other
    assert gone(line, newcomer, rules, now) == [newcomer]


def test_a_call_that_would_be_late_is_known_when_it_comes_and_told_when_to_come_again() -> None:
    line: Line[Call] = Line()
    now = busy(line, rate=10.0)
    rules = QueueRules()
    for _ in range(4):
        line.push(call("a", 20), rules, now)
    line.push(call("b", 20), rules, now)
    soon, late = call("a", 20, until=now + 10), call("a", 20, until=now + 25)

    assert line.wait_s(soon.claim, rules) == pytest.approx(16.0)  # half of ten a second
    assert (found := line.late(soon.claim, rules, now)) is not None
    assert (found.of, found.held, found.most) == ("deadline", pytest.approx(20.0), 10.0)
    assert line.late(late.claim, rules, now) is None
    assert line.late(call("c", 20, until=now + 1).claim, rules, now) is None  # nothing of its waits
    begun = call("a", 20, until=now + 10, begun=True)
    assert line.late(begun.claim, rules, now) is None


def test_a_call_whose_time_is_up_is_not_served() -> None:
    line: Line[Call] = Line()
    for _ in range(9):
        line.tally.service.took(10, 2.0)
    small, large = call("a", 1, until=1.5), call("a", 1000, until=3.0)

    assert not line.expired(small.claim, 1.0)
    assert line.expired(small.claim, 1.4)
    assert not line.expired(large.claim, 0.9)  # no call needs more than the mean, for sure
    assert line.expired(large.claim, 1.1)


@settings(derandomize=True, deadline=None)
@given(seconds=st.floats(-10, 1e6), lot=st.floats(0, 1, exclude_max=True))
def test_retry_after_is_a_second_at_least_and_spread(seconds: float, lot: float) -> None:
    told = retry_s(seconds, lot)

    assert 1.0 <= told <= 60.0
    assert told >= min(60.0, seconds)
    assert told <= max(1.0, seconds) * 1.2


def test_the_rate_is_learned_only_while_calls_wait() -> None:
    line: Line[Call] = Line()
    line.tally.served += 1000
    now = busy(line, rate=5.0)
    line.tally.served += 1000
    line.push(call("a"), QueueRules(), now + 50)

    assert line.tally.rate == pytest.approx(5.0)


def test_where_nothing_is_known_nobody_is_refused_for_being_late() -> None:
    line: Line[Call] = Line()
    rules = QueueRules()
    for _ in range(100):
        line.push(call("a", 1e6), rules, 0.0)

    assert line.late(call("a", 1e6, until=0.5).claim, rules, 0.0) is None
    assert line.drain_s == 0.0


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("push"),
            st.sampled_from("abcd"),
            st.floats(1, 50),
            st.integers(0, 400),
            st.booleans(),
        ),
        st.tuples(st.just("serve")),
        st.tuples(st.just("leave"), st.integers(0, 99)),
    ),
    max_size=120,
)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(steps=steps)
def test_bounds_hold_whatever_comes_and_nothing_is_left_behind(
    steps: list[tuple[object, ...]],
) -> None:
    line: Line[Call] = Line()
    now = busy(line, rate=10.0)
    rules = QueueRules(calls=12, body_bytes=2000, work_s=20.0)
    waiting: list[Call] = []
    for step in steps:
        now += 0.01
        match step:
            case ("push", str(tenant), float(work), int(size), bool(begun)):
                item = call(tenant, work, body_bytes=size, begun=begun)
                waiting.append(item)
                for each in gone(line, item, rules, now):
                    waiting.remove(each)
            case ("serve",):
                found = line.serve(lambda item: "taken", set(), now)
                if found is not None:
                    waiting.remove(found[0])
            case ("leave", int(at)) if waiting:
                line.remove(waiting.pop(at % len(waiting)), now)
            case _:
                pass
        of_a = [each.claim for each in waiting if each.claim.tenant == "a"]
        assert line.calls == len(waiting) <= 12
        assert line.body_bytes == sum(each.claim.body_bytes for each in waiting) <= 2000
        assert line.work == pytest.approx(sum(each.claim.work for each in waiting))
        most_work = 20.0 * line.tally.rate
        single = len({each.claim.tenant for each in waiting}) == len(waiting)
        largest = max((each.claim.work for each in waiting), default=0.0)
        begun_work = sum(each.claim.work for each in waiting if each.claim.begun)
        assert line.work <= most_work + begun_work + 4 * largest or single
        assert len(of_a) <= 6
        assert sum(each.body_bytes for each in of_a) <= 1000 or len(of_a) == 1
    for each in waiting:
        line.remove(each, now)

    assert (line.calls, line.work, line.body_bytes) == (0, 0.0, 0)
    assert line._room._held == {}
    assert line._queue.calls == 0
