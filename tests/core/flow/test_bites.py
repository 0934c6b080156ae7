"""A heavy relay works in a thread, and what it yields goes out while it works on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modgate.errors import BadReply, Cancelled, PluginFault
from modgate.heavy import BITE_AT_MOST_S, BITE_BYTES, BITE_S, bitten, longer
from modgate.plugin import Event, Head, Outcome, Plan, Relay, Units, Usage
from modgate.run import Run
from modgate.spool import Spool
from modgate.testing.clock import FakeClock

LONG_S = 10.0


class Slow(Relay):
    """Makes its reply in three steps."""

    heavy = True

    def __init__(self) -> None:
        self.thread = 0
        self.given = threading.Event()
        self.seen = False

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """Nothing is fed: a plan without calls."""
        raise NotImplementedError  # not asked here

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The second step waits until the first has gone out."""
        self.thread = threading.get_ident()
        time.sleep(2 * BITE_S)
        yield b"first"
        self.seen = self.given.wait(LONG_S)
        yield b"second"
        yield from self.then()

    def then(self) -> Iterator[bytes]:
        yield b"third"

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Costs nothing."""
        return Usage(Units())


class Quick(Slow):
    """Has its first step at once."""

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """Without a moment between."""
        yield b"first"
        self.seen = self.given.wait(LONG_S)
        yield b"second"


class Begun(Slow):
    """Has something to make before it is fed."""

    begun = 0

    def begin(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert not self.thread
        self.begun += 1


class Unready(Slow):
    def begin(self) -> None:
        raise ValueError("a mistake")


class Endless(Slow):
    """Yields for ever, a little at a time, or much."""

    piece = b"x" * 1024

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """It would go on until nobody asks any more."""
        while True:
            yield self.piece


class Bulky(Endless):
    piece = b"x" * (BITE_BYTES // 4)


class Refusing(Slow):
    def then(self) -> Iterator[bytes]:
        raise BadReply("no more")


class Broken(Slow):
    def then(self) -> Iterator[bytes]:
        raise ValueError("a mistake")


class Paper:
    """A sink that tells the relay what it has."""

    opened = False

    def __init__(self, relay: Slow) -> None:
        self.written: list[bytes] = []
        self._relay = relay

    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """Keeps it."""
        self.written += data
        self._relay.given.set()


class Gone(Paper):
    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """The client has left."""
        raise Cancelled("the client left")


async def ran(relay: Slow, folder: Path, paper: Paper) -> None:
    with ThreadPoolExecutor(1) as pool:
        run = Run(
            Plan(calls=(), relay=relay),
            trip_of=lambda index, call: pytest.fail("there is no call"),
            sink=paper,
            scope=Spool(folder, 0).scope(),
            pool=pool,
            draw=lambda drawn, ahead: pytest.fail("nothing is drawn"),
            step_ended=lambda step, began: pytest.fail("it keeps no loop"),
        )
        await run.go()


async def test_what_a_heavy_relay_yields_goes_out_while_it_works_on(tmp_path: Path) -> None:
    relay = Slow()
    paper = Paper(relay)

    await ran(relay, tmp_path, paper)

    assert relay.seen
    assert paper.written == [b"first", b"second", b"third"]
    assert relay.thread != threading.get_ident()


async def test_the_beginning_of_a_reply_goes_out_however_soon_more_would_follow(
    tmp_path: Path,
) -> None:
    relay = Quick()
    paper = Paper(relay)

    await ran(relay, tmp_path, paper)

    assert relay.seen
    assert paper.written == [b"first", b"second"]


async def test_what_came_before_a_bad_reply_of_a_heavy_relay_is_given(tmp_path: Path) -> None:
    relay = Refusing()
    paper = Paper(relay)

    with pytest.raises(BadReply, match="no more"):
        await ran(relay, tmp_path, paper)

    assert paper.written == [b"first", b"second"]


@pytest.mark.parametrize("kind", [Broken, Unready])
async def test_a_mistake_of_a_heavy_relay_is_its_plugins_fault(
    kind: type[Slow], tmp_path: Path
) -> None:
    relay = kind()

    with pytest.raises(PluginFault, match=f"ValueError in {kind.__name__}"):
        await ran(relay, tmp_path, Paper(relay))


async def test_a_heavy_relay_begins_once_in_its_thread_before_anything_else(tmp_path: Path) -> None:
    relay = Begun()

    await ran(relay, tmp_path, Paper(relay))

    assert relay.begun == 1


@pytest.mark.parametrize(("kind", "pieces"), [(Bulky, 4), (Endless, BITE_BYTES // 1024)])
def test_a_bite_ends_with_a_megabyte_however_long_it_may_last(
    kind: type[Endless], pieces: int
) -> None:
    data: list[bytes] = []
    still = FakeClock()

    assert bitten(kind().close(()), data, 1e9, still.now)
    assert len(data) == pieces


def test_bites_grow_up_to_a_bound() -> None:
    bites = [0.0]
    for _ in range(20):
        bites.append(longer(bites[-1]))

    assert bites[:4] == [0.0, BITE_S, 2 * BITE_S, 4 * BITE_S]
    assert max(bites) == bites[-1] == BITE_AT_MOST_S


async def test_a_heavy_relay_stops_where_nobody_takes_what_it_made(tmp_path: Path) -> None:
    relay = Slow()

    with pytest.raises(Cancelled):
        await ran(relay, tmp_path, Gone(relay))

    assert not relay.given.is_set()
    assert not relay.seen
