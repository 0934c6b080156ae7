"""Records in memory: bounded, of one tenant each, and gone when their time is over."""

from __future__ import annotations

from dataclasses import dataclass

from modgate.replays.memory import MemoryReplays
from modgate.replays.record import Record
from modgate.replays.store import Name


@dataclass
class _Time:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def _running(number: int) -> Record:
    return Record(state="running", digest=b"d", request_id=f"req_{number}")


def _done(size: int) -> Record:
    return Record(state="done", digest=b"d", request_id="req_x", status=200, body=b"x" * size)


async def _add(store: MemoryReplays, tenant: str, number: int, size: int) -> Name:
    name, mine = Name.of(tenant, "/v1/embeddings", f"key {number}"), _running(number)
    assert await store.claim(name, mine) is None
    await store.keep(name, mine, _done(size), keep_s=100)
    return name


async def test_the_oldest_of_a_tenant_goes_when_it_has_too_many_keys() -> None:
    store = MemoryReplays(_Time(), keys=3, at_most=1000)

    names = [await _add(store, "a", number, 1) for number in range(5)]

    assert [await store.find(name) is not None for name in names] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert store.held_bytes == 3


async def test_bytes_are_taken_from_who_holds_most() -> None:
    store = MemoryReplays(_Time(), keys=100, at_most=100)
    mine = await _add(store, "small", 0, 10)

    for number in range(50):
        await _add(store, "large", number, 10)

    assert await store.find(mine) is not None
    assert store.held_bytes == 100


async def test_what_runs_is_never_pushed_out() -> None:
    store = MemoryReplays(_Time(), keys=1, at_most=1)
    name, mine = Name.of("a", "r", "runs"), _running(0)
    await store.claim(name, mine)

    for number in range(1, 9):
        await _add(store, "a", number, 5)

    assert await store.find(name) is mine


async def test_a_record_ends_with_its_time_and_leaves_nothing() -> None:
    time = _Time()
    store = MemoryReplays(time, keys=10, at_most=100)
    name = await _add(store, "a", 0, 7)
    time.now = 100.0

    assert await store.find(name) is None
    assert (store.count, store.held_bytes) == (0, 0)


async def test_a_key_of_one_tenant_or_route_is_none_of_another() -> None:
    store = MemoryReplays(_Time())
    await _add(store, "a", 0, 1)

    assert await store.find(Name.of("b", "/v1/embeddings", "key 0")) is None
    assert await store.find(Name.of("a", "/v1/rerank", "key 0")) is None


async def test_only_who_holds_a_key_frees_or_keeps_it() -> None:
    store = MemoryReplays(_Time())
    name, mine, other = Name.of("a", "r", "k"), _running(0), _running(1)
    await store.claim(name, mine)

    await store.free(name, other)
    await store.keep(name, other, _done(1), 100)

    assert await store.find(name) is mine


async def test_what_was_left_by_a_tenant_that_never_returns_goes_with_its_time() -> None:
    time = _Time()
    store = MemoryReplays(time)
    await _add(store, "gone", 0, 10)
    running = Name.of("gone too", "/v1/embeddings", "key")
    await store.claim(running, _running(0))

    time.now = 100
    await _add(store, "here", 0, 1)

    assert (store.count, store.held_bytes) == (2, 1)
    assert await store.find(running) is not None
