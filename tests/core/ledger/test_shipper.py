"""The ledger reaches its sinks: everything, once, whatever they do, and nobody waits for them."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from rigs.ledger import KEY, WALL, Stopped, ledger, notes_of, opened, receipt, request, segments
from rigs.shortage import no_file_left
from rigs.sinks import Kept, Lossy, Store, shipping, until

from modgate.api.shipment import Cursor, LedgerSink, Shipment
from modgate.clock import SystemClock
from modgate.ledger.backoff import Backoff
from modgate.ledger.reader import rows
from modgate.ledger.records import Adjusted
from modgate.ledger.shipping import Shipping


def ids(directory: Path) -> set[str]:
    return {row.id for row in rows(directory, KEY)}


def test_what_is_written_comes_to_the_sink_while_it_is_written(tmp_path: Path) -> None:
    store = Store()
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)) as shipper:
        for index in range(100):
            request(made, f"r{index}")
        made.adjusted(
            Adjusted(id="r1", sequence=1, wall=WALL, reason="correction", units={"llm.x": -1})
        )
        until(lambda: len(store.rows) == 101)
        until(lambda: shipper.lag.frames == 0)

        assert shipper.up
        assert store.rows["r1", "adjust", 1].units == {"llm.x": -1}
    assert store.ids == {f"r{index}" for index in range(100)}


@pytest.mark.parametrize("seed", range(5))
def test_a_sink_that_drops_repeats_and_delays_has_each_row_once_in_the_end(
    tmp_path: Path, seed: int
) -> None:
    store, rng = Store(), random.Random(seed)
    with ledger(tmp_path, segment_bytes=20_000) as made:
        with shipping(made, lambda: Lossy(store, rng), batch_bytes=2_000) as shipper:
            for index in range(400):
                request(made, f"r{index}")
                if index % 100 == 0:
                    time.sleep(0.05)
            until(lambda: shipper.lag.frames == 0, 60)
        wanted = ids(tmp_path)

    assert store.repeated > 0
    assert store.ids == wanted == {f"r{index}" for index in range(400)}


def test_a_sink_that_is_down_blocks_nothing_loses_nothing_and_shows_its_lag(
    tmp_path: Path,
) -> None:
    store = Store()
    store.down = True
    with (
        ledger(tmp_path, segment_bytes=50_000) as made,
        shipping(made, lambda: Kept(store), batch_bytes=8_000) as shipper,
    ):
        began = time.monotonic()
        for index in range(1_000):
            request(made, f"r{index}")
        took_s = time.monotonic() - began
        made.sync()
        until(lambda: shipper.error == "it is down")
        lag = shipper.lag
        assert (shipper.up, lag.frames, store.writes) == (False, 2_000, 0)
        assert lag.size_bytes > 400_000
        assert lag.seconds > 0
        store.down = False
        until(lambda: shipper.lag.frames == 0)

        assert shipper.up
        assert took_s < 5
    assert store.ids == {f"r{index}" for index in range(1_000)}
    assert store.largest < 40  # in memory was never more than a batch


def test_as_many_failures_as_an_hour_has_lose_nothing_and_hold_no_more_in_memory(
    tmp_path: Path,
) -> None:
    backoff, hour_s, failures = Backoff(random.Random(7)), 3600.0, 0
    while hour_s > 0:
        hour_s -= backoff.failed()
        failures += 1
    store, tried = Store(), list[None]()
    store.down = True

    def make() -> Kept:
        tried.append(None)
        return Kept(store)

    with ledger(tmp_path) as made, shipping(made, make, most_s=0.004) as shipper:
        for index in range(failures):
            request(made, f"r{index}")
            until(lambda index=index: len(tried) > index)
        made.sync()
        store.down = False
        until(lambda: shipper.lag.frames == 0)

    assert failures > 120
    assert store.ids == {f"r{index}" for index in range(failures)}
    assert store.repeated == 0
    assert store.largest < 40


def test_a_restart_goes_on_behind_what_was_acknowledged(tmp_path: Path) -> None:
    store = Store()
    for front in "abc":
        with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)) as shipper:
            for index in range(20):
                request(made, f"{front}{index}")
            until(lambda shipper=shipper: shipper.lag.frames == 0)

    assert len(store.ids) == 60
    assert store.repeated == 0
    assert len(store.cursors) == 1


def test_what_was_left_at_the_end_is_shipped_before_the_shipper_stops(tmp_path: Path) -> None:
    store = Store()
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)):
        for index in range(50):
            request(made, f"r{index}")
        made.close()

    assert len(store.ids) == 50


def test_two_sinks_go_their_own_ways(tmp_path: Path) -> None:
    good, bad = Store(), Store()
    bad.down = True
    with (
        ledger(tmp_path) as made,
        shipping(made, lambda: Kept(good), name="good"),
        shipping(made, lambda: Kept(bad), name="bad"),
    ):
        request(made, "a")
        until(lambda: good.ids == {"a"})

        assert bad.ids == set()
        assert (made.acked["good"], made.acked["bad"]) == (1, 0)


def test_a_cut_tail_is_seen_by_the_sink_that_had_it_and_written_down(tmp_path: Path) -> None:
    store = Store()
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)) as shipper:
        for index in range(20):
            request(made, f"r{index}")
        until(lambda: shipper.lag.frames == 0)
    [file] = segments(tmp_path)
    [before] = store.cursors
    file.write_bytes(file.read_bytes()[:-2_000])
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)) as shipper:
        request(made, "after")
        until(lambda: "after" in store.ids)

    [note] = [note for note in notes_of(tmp_path) if note.what == "behind"]
    assert (note.writer, note.segment, note.sink) == (before, 1, "kept")
    assert set(store.cursors) == {before, made.writer}
    assert store.ids == {*(f"r{index}" for index in range(20)), "after"}


def test_a_directory_that_was_lost_is_noticed_and_the_sink_has_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    """Node loss: what was not acknowledged is lost, which is as much as the lag was."""
    store = Store()
    with ledger(tmp_path / "ledger", name="gw-1") as made:
        with shipping(made, lambda: Kept(store)) as shipper:
            for index in range(20):
                request(made, f"r{index}")
            until(lambda: shipper.lag.frames == 0)
            store.down = True
            for index in range(20, 25):
                request(made, f"r{index}")
            opened(made, "never ended")
            lost = shipper.lag.frames
        writer = made.writer
    store.down = False
    shutil.rmtree(tmp_path / "ledger")
    with ledger(tmp_path / "ledger", name="gw-1") as made, shipping(made, lambda: Kept(store)):
        until(lambda: made.writer in store.cursors)
        request(made, "after")
        until(lambda: "after" in store.ids)

    assert lost == 11
    assert store.ids == {*(f"r{index}" for index in range(20)), "after"}
    [note] = [note for note in notes_of(tmp_path / "ledger") if note.what == "replaced"]
    assert (note.writer, note.sink) == (writer, "kept")
    assert note.until > WALL


def test_the_ledgers_of_other_gateways_in_the_same_sink_are_no_loss(tmp_path: Path) -> None:
    store = Store()
    for name in ("gw-1", "gw-2"):
        with ledger(tmp_path / name, name=name) as made, shipping(made, lambda: Kept(store)):
            request(made, name)
            until(lambda name=name: name in store.ids)

    assert [note.what for note in notes_of(tmp_path / "gw-2")] == ["closed"]


def test_an_edited_frame_is_not_shipped(tmp_path: Path) -> None:
    store = Store()
    store.down = True
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)) as shipper:
        request(made, "a")
        made.sync()
        [file] = segments(tmp_path)
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(data)
        store.down = False
        request(made, "b")
        until(lambda: "changed by somebody else" in shipper.error)

        assert store.ids == set()


def test_segments_that_were_dropped_before_the_sink_came_back_are_counted(tmp_path: Path) -> None:
    store = Store()
    store.down = True
    with ledger(tmp_path, segment_bytes=2_000, max_bytes=6_000, on_full="drop-oldest") as made:
        request(made, "first")
        with shipping(made, lambda: Kept(store)) as shipper:
            for index in range(60):
                request(made, f"r{index}")
            store.down = False
            until(lambda: "r59" in store.ids)
            assert shipper.up

    assert made.dropped_unacknowledged > 0
    assert store.ids == ids(tmp_path)


def test_what_a_sink_has_lost_is_not_acknowledged_any_more(tmp_path: Path) -> None:
    store, lost = Store(), threading.Event()

    class Emptied(Kept):
        async def open(self) -> Sequence[Cursor]:
            return [] if lost.is_set() else await super().open()

        async def write(self, shipment: Shipment) -> None:
            if lost.is_set():
                raise ConnectionResetError
            await super().write(shipment)

    with ledger(tmp_path, segment_bytes=2000) as made, shipping(made, lambda: Emptied(store)):
        for index in range(20):
            request(made, f"r{index}")
        until(lambda: len(store.rows) == 20)
        before = made.acked["kept"]
        lost.set()
        request(made, "one more")
        until(lambda: made.acked["kept"] == 0)

    assert before > 1


def test_while_a_sink_catches_up_its_cursor_tells_no_later_time_than_its_rows(
    tmp_path: Path,
) -> None:
    store, clock = Store(), Stopped()
    with ledger(tmp_path, clock=clock) as made:
        for index in range(40):
            clock.at = 100.0 * index
            made.ended(replace(receipt(f"r{index}"), wall=clock.wall()))
        clock.at = 5000.0
        told: list[tuple[float, float]] = []

        class Slow(Kept):
            async def write(self, shipment: Shipment) -> None:
                await super().write(shipment)
                told.append((shipment.cursor.at - WALL, shipment.rows[-1].ended - WALL))

        with shipping(made, lambda: Slow(store), batch_bytes=4096, clock=clock):
            until(lambda: len(store.rows) == 40)

    assert len(told) > 3
    assert [at for at, _ in told[:-1]] == [ended for _, ended in told[:-1]]
    assert told[-1][0] == 5000.0


def test_a_sink_that_cannot_even_be_made_is_tried_again(tmp_path: Path) -> None:
    store, tried = Store(), []

    def make() -> LedgerSink:
        tried.append(1)
        if len(tried) < 3:
            raise RuntimeError("not yet")
        return Kept(store)

    with ledger(tmp_path) as made, shipping(made, make):
        request(made, "a")
        until(lambda: store.ids == {"a"})

    assert len(tried) == 3


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    backoff = Backoff(random.Random(7))
    waits = [backoff.failed() for _ in range(400)]

    assert all(0.05 < wait <= 30 for wait in waits)
    assert max(waits[:3]) <= 1
    assert max(waits) > 25
    assert len({round(wait, 3) for wait in waits[20:]}) > 300
    backoff.succeeded()
    assert backoff.failed() <= 0.25


def quits() -> object:
    raise SystemExit(3)


def cancels() -> object:
    raise asyncio.CancelledError


class Rude(Kept):
    """Does something bad once at one place, in its first life."""

    where = "write"
    what: Callable[[], object] = quits
    lives = 0

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        type(self).lives += 1

    async def open(self) -> Sequence[Cursor]:
        if self.lives == 1 and self.where == "open":
            return self.what()  # type: ignore[return-value]  # an answer that is none
        return await super().open()

    def write(self, shipment: Shipment) -> Coroutine[object, object, None]:
        if self.lives == 1 and self.where == "write":
            self.what()  # before there is anything to await
        return super().write(shipment)

    async def close(self) -> None:
        if self.lives == 1:
            self.what()


@pytest.mark.parametrize("where", ["open", "write"])
@pytest.mark.parametrize("what", [quits, cancels, lambda: None, lambda: [5]])
def test_whatever_a_sink_does_a_new_one_is_made(
    tmp_path: Path, where: str, what: Callable[[], object]
) -> None:
    store = Store()
    rude = type("OfThisTest", (Rude,), {"where": where, "what": staticmethod(what), "lives": 0})
    with ledger(tmp_path) as made, shipping(made, lambda: rude(store)) as shipper:
        request(made, "r1")
        until(lambda: store.ids == {"r1"})
        until(lambda: shipper.up)


def test_which_file_cannot_be_had_and_why_is_told_in_the_systems_words(tmp_path: Path) -> None:
    store = Store()
    store.down = True
    with ledger(tmp_path) as made, shipping(made, lambda: Kept(store)) as shipper:
        request(made, "r1")
        until(lambda: shipper.error == "it is down")
        with no_file_left():
            store.down = False
            until(lambda: shipper.error == f"OSError: {made.directory}: too many open files")
        until(lambda: len(store.rows) == 1)


def test_who_brings_a_sink_that_takes_no_rows_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.down = True
    sinks = {"kept": (lambda: Kept(store), None, "racks (acme-racks 2.0)")}
    with ledger(tmp_path) as made:
        request(made, "r1")
        shipping = Shipping.of(sinks, made, KEY, SystemClock())
        until(lambda: "a sink takes no rows" in caplog.messages)
        shipping.close(0)

    assert "racks (acme-racks 2.0)" in [vars(each).get("plugin") for each in caplog.records]
