"""The levels of one host: who owns them, and what the next owner begins with."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from waiting import until

from modgate.clock import SystemClock
from modgate.limits.hosted import HostedStore
from modgate.limits.kept_levels import KeptLevels
from modgate.limits.levels import Levels, Limit
from modgate.limits.owner import OwnerStore
from modgate.limits.store import Reserved, StoreDown

NOW_MS = 1_800_000_000_000
MONTH = Limit(key="{acme}:tenant:llm.output_tokens:month:2027-01", kind="w", amount=100,
              period_ms=NOW_MS + 86_400_000)  # fmt: skip  # rows as they are read
PLACES = Limit(key="{acme}:tenant:in_flight", kind="c", amount=4)
GOLDEN = bytes.fromhex(  # of format 1
    "930182d92d7b61636d657d3a74656e616e743a6c6c6d2e6f75747075745f746f6b656e733a6d6f6e"
    "74683a323032372d303184a46b696e64a177a576616c756546a561745f6d73cf000001a3185c5000"
    "a7676f6e655f6d73cf000001a327cf6400b77b61636d657d3a74656e616e743a696e5f666c696768"
    "7484a46b696e64a163a576616c756503a561745f6d73cf000001a3185c5000a7676f6e655f6d73cf"
    "000001a3185c53e981a77b61636d657d6185a57374617465a46f70656ea66c696d6974739286a36b"
    "6579d92d7b61636d657d3a74656e616e743a6c6c6d2e6f75747075745f746f6b656e733a6d6f6e74"
    "683a323032372d3031a46b696e64a177a6616d6f756e7464a9706572696f645f6d73cf000001a31d"
    "82ac00a5627572737400a97768656e5f646f776eab6c6f63616c5f736861726586a36b6579b77b61"
    "636d657d3a74656e616e743a696e5f666c69676874a46b696e64a163a6616d6f756e7404a9706572"
    "696f645f6d7300a5627572737400a97768656e5f646f776eab6c6f63616c5f7368617265a7636861"
    "72676564924603a86d65617375726564920000a7656e64735f6d73cf000001a3185c9e20"
)
TTL_MS = 20_000


def _stores(folder: Path, count: int = 2) -> list[HostedStore]:
    return [HostedStore(folder / "own" / "levels.sock", SystemClock()) for _ in range(count)]


async def test_the_first_owns_and_all_charge_one_level(tmp_path: Path) -> None:
    one, two = _stores(tmp_path)
    try:
        first = await one.reserve("{acme}a", [(MONTH, 70)], TTL_MS, NOW_MS)
        second = await two.reserve("{acme}b", [(MONTH, 70)], TTL_MS, NOW_MS)
        owns = [one.owns, two.owns]
    finally:
        await two.close()
        await one.close()

    assert owns == [True, False]
    assert first.denied is None
    assert second.denied is not None
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    for each in (tmp_path / "own").iterdir():
        assert each.stat().st_mode & 0o077 == 0, each.name


async def test_an_owner_that_closes_hands_over_all_that_it_knew(tmp_path: Path) -> None:
    one, two = _stores(tmp_path)
    try:
        await one.reserve("{acme}a", [(MONTH, 70), (PLACES, 3)], TTL_MS, NOW_MS)
        await two.join("two", 1000)
        await one.close()
        said = await _patiently(two)
        settled = await two.settle("{acme}a", [50, 0], NOW_MS)
        after = await two.reserve("{acme}c", [(MONTH, 50), (PLACES, 4)], TTL_MS, NOW_MS)
        assert two.owns
    finally:
        await two.close()

    assert said.levels == (70, 3)
    assert settled
    assert after.denied is None


async def test_what_leaks_is_as_full_at_the_next_owner_as_it_was(tmp_path: Path) -> None:
    hour = Limit(key="{acme}:tenant:llm.output_tokens:hour", kind="b", amount=100,
                 period_ms=3_600_000, burst=100)  # fmt: skip  # as MONTH is
    one, two = _stores(tmp_path)
    try:
        await one.reserve("{acme}a", [(hour, 70)], TTL_MS)
        await one.close()
        said = await two.reserve("{acme}b", [(hour, 70)], TTL_MS)
    finally:
        await two.close()

    assert said.denied is not None


async def _patiently(store: HostedStore) -> Reserved:
    """Ask until somebody answers: at first nobody may have noticed that the owner left."""
    for _ in range(20):
        try:
            return await store.reserve("{acme}b", [(MONTH, 0), (PLACES, 0)], TTL_MS, NOW_MS)
        except StoreDown:
            await asyncio.sleep(0.01)
    raise AssertionError("nobody owns the levels")


async def test_an_owner_that_is_killed_leaves_what_it_wrote_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.limits.kept_levels.WRITTEN_EVERY_S", 0.01)
    [one] = _stores(tmp_path, 1)
    path = tmp_path / "own" / "levels.sock.levels"
    try:
        await one.reserve("{acme}a", [(MONTH, 70)], TTL_MS, NOW_MS)
        await until(
            lambda: path.exists() and Levels.read(path.read_bytes(), NOW_MS).level(MONTH, NOW_MS)
        )
        kept = Levels.read(path.read_bytes(), NOW_MS)
    finally:
        await one.close()

    assert kept.level(MONTH, NOW_MS) == 70


async def test_what_came_while_the_levels_were_being_written_is_written_when_the_owner_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, goes_on = threading.Event(), threading.Event()
    write = KeptLevels.write

    def write_slowly(kept: KeptLevels, data: bytes) -> bool:
        writing.set()
        goes_on.wait(10)
        return write(kept, data)

    monkeypatch.setattr("modgate.limits.kept_levels.WRITTEN_EVERY_S", 0.01)
    monkeypatch.setattr(KeptLevels, "write", write_slowly)
    one, two = _stores(tmp_path)
    try:
        await one.reserve("{acme}a", [(MONTH, 30)], TTL_MS, NOW_MS)
        await until(writing.is_set)
        await one.reserve("{acme}b", [(MONTH, 40)], TTL_MS, NOW_MS)
        closing = asyncio.create_task(one.close())
        await until(lambda: one._closing.is_set())
        goes_on.set()
        await closing
        said = await two.reserve("{acme}c", [(MONTH, 0)], TTL_MS, NOW_MS)
    finally:
        goes_on.set()
        await two.close()

    assert said.levels == (70,)


async def test_who_cannot_listen_leaves_the_lock_to_others(tmp_path: Path) -> None:
    one, two = _stores(tmp_path)
    (tmp_path / "own" / "levels.sock").mkdir(parents=True)
    try:
        with pytest.raises(StoreDown):
            await one.reserve("{acme}a", [(MONTH, 70)], TTL_MS, NOW_MS)
        (tmp_path / "own" / "levels.sock").rmdir()
        said = await two.reserve("{acme}a", [(MONTH, 70)], TTL_MS, NOW_MS)
        assert two.owns
    finally:
        await two.close()
        await one.close()

    assert said.levels == (70,)


async def test_who_has_asked_an_owner_that_leaves_waits_no_longer(tmp_path: Path) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    path = tmp_path / "levels.sock"
    async with await asyncio.start_unix_server(leave, path):
        store = OwnerStore(path)
        asked = [store.reserve(f"{{acme}}{n}", [(MONTH, 1)], TTL_MS) for n in range(3)]
        async with asyncio.timeout(30):
            said = await asyncio.gather(*asked, return_exceptions=True)
        await store.close()

    assert [type(each) for each in said] == [StoreDown] * 3


async def test_what_is_no_record_of_levels_is_said_and_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "levels.sock.levels").write_bytes(b"\x93\x63junk")
    [one] = _stores(tmp_path, 1)
    try:
        said = await one.reserve("{acme}a", [(MONTH, 70)], TTL_MS, NOW_MS)
    finally:
        await one.close()

    assert said.levels == (70,)
    assert "limit levels not read" in [record.message for record in caplog.records]


def test_what_is_written_down_has_not_changed() -> None:
    levels = Levels()
    levels.reserve("{acme}a", [(MONTH, 70), (PLACES, 3)], NOW_MS, TTL_MS)

    assert levels.written() == GOLDEN
    assert Levels.read(GOLDEN, NOW_MS).settle("{acme}a", [50, 0], NOW_MS)


@pytest.mark.parametrize("path", ["levels.sock", "/" + "x" * 120])
def test_a_path_that_cannot_be_a_socket_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        HostedStore(Path(path), SystemClock())
