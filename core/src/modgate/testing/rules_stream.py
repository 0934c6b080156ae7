"""Rules of a reply on its way: any cut of the network, no hoarding, and nothing left behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count, cycle
from pathlib import Path
from zlib import crc32

from modgate.api.modality import Sample
from modgate.api.need import Need
from modgate.api.plan import Call, Plan
from modgate.api.relay import Event
from modgate.errors import GatewayError, Unsupported
from modgate.kit.sse import DONE, Splitter
from modgate.testing.drive import Drive, wire
from modgate.testing.guards import Held
from modgate.testing.rig import Rig
from modgate.testing.suite import Suite, played, played_until, positions, replies, require

PIECE_BYTES = (1, 2, 3, 7, 64, 1000)
PIECES_AT_MOST = 5000
DRAWN_CUTS = 8

Cut = Callable[[bytes], Iterator[bytes]]


class StreamRules(Suite):
    """From events to bytes, in time."""

    def test_the_reply_is_the_same_wherever_the_network_cuts(self, tmp_path: Path) -> None:
        """Segments of TCP mean nothing: bytes one by one, in odd pieces, or all at once."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                whole = played(rig, sample)
                if all(call.reply == "whole" for call in whole.calls):
                    continue
                for name, cut in cuts():
                    again = rig.drive(rig.plan(sample)).play(recut(sample, cut))
                    same = self.meaning(again) == self.meaning(whole)
                    require(same, f"{label}: the reply is another one when cut {name}")
                    require(
                        again.usage == whole.usage,
                        f"{label}: cut {name} it costs {again.usage}, not {whole.usage}",
                    )

    def test_a_stream_is_relayed_as_it_comes(self, tmp_path: Path) -> None:
        """Of a streamed reply, bytes come out while events still come in."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                whole = played(rig, sample)
                fed = whole.steps[:-1]
                if whole.head.kind == "whole" or len(fed) < 2:
                    continue
                spoke = sum(1 for step in fed if step)
                require(
                    spoke >= int(len(fed) * self.flow),
                    f"{label}: {spoke} of {len(fed)} events gave bytes; the stream is held back",
                )

    def test_a_cancelled_request_leaves_nothing_open(self, tmp_path: Path) -> None:
        """The client may leave while shape waits, between any two events, and inside a feed."""
        for index, (label, sample) in enumerate(self.samples()):
            with self.rig(tmp_path / f"first-{index}") as rig:
                played(rig, sample)  # loads what is loaded once and stays
            before = Held.now()
            with self.rig(tmp_path / str(index)) as rig:
                self._left_while_shaping(rig, sample, label)
                steps = len(played(rig, sample).steps)
                watched = [each for at in positions(steps) for each in left(rig, sample, at)]
                kept = _alive(watched)
                require(not kept, f"{label}: something keeps the {' and the '.join(kept[:3])}")
            if Held.now() != before:
                gc.collect()
            require(Held.now() == before, f"{label}: left behind {Held.now()}, before {before}")

    def _left_while_shaping(self, rig: Rig, sample: Sample, label: str) -> None:
        """Close `shape` at each Need; a generator that goes on then is one that leaks."""
        stop_at = 0
        while True:
            shaping = rig.endpoint(sample).shape(rig.request(sample))
            if isinstance(shaping, Plan) or not _advanced(rig, sample, shaping, stop_at):
                return
            try:
                shaping.close()
            except RuntimeError:
                require(False, f"{label}: shape goes on after the client left at need {stop_at}")
            stop_at += 1


def _advanced(rig: Rig, sample: Sample, shaping: Generator[Need, object, Plan], needs: int) -> bool:
    """Bring `shape` to need number `needs`; False when it has its plan before."""
    answer = rig.answers(sample)
    try:
        need = next(shaping)
        for step in range(needs):
            try:
                given = answer(step, need)
            except (GatewayError, Unsupported) as error:
                need = shaping.throw(error)
            else:
                need = shaping.send(given)
    except StopIteration:
        return False
    return True


Watched = tuple[str, "weakref.ref[object]"]


def left(rig: Rig, sample: Sample, events: int) -> tuple[Watched, ...]:
    """A request that is left after so many events: what must be gone, once nobody holds it."""
    drive = played_until(rig, sample, events)
    call = drive.calls[-1] if drive.calls else None
    if call is not None and not drive.outcomes[-1].ok:
        _fed_in_part(drive, replies(sample)(len(drive.calls) - 1, call)[-1:])
    drive.stop()
    drive.usage()
    watched: list[Watched] = [(f"relay of {events} events", weakref.ref(drive.relay))]
    if isinstance(drive.plan.calls, Generator):
        watched.append((f"calls of {events} events", weakref.ref(drive.plan.calls)))
    return tuple(watched)


def _alive(watched: Sequence[Watched]) -> list[str]:
    """What is still held; only what sits in a cycle has to be collected for that."""
    if any(ref() is not None for _, ref in watched):
        gc.collect()
    return [name for name, ref in watched if ref() is not None]


def _fed_in_part(drive: Drive, events: list[Event]) -> None:
    """Take the first bytes of a feed, and go away."""
    for event in events:
        feeding = drive.relay.feed(len(drive.calls) - 1, event)
        if isinstance(feeding, Generator):
            next(feeding, None)
            feeding.close()


def cuts() -> Iterator[tuple[str, Cut]]:
    """Ways to cut a stream of bytes, each with a name."""
    for size in PIECE_BYTES:
        yield f"every {size} bytes", _every(size)
    for seed in range(DRAWN_CUTS):
        yield f"at random (seed {seed})", _drawn(seed)
    yield "nowhere", lambda data: iter([data])


def _every(size: int) -> Cut:
    return lambda data: _sized(data, cycle([max(size, len(data) // PIECES_AT_MOST)]))


def _drawn(seed: int) -> Cut:
    def cut(data: bytes) -> Iterator[bytes]:
        most = max(40, len(data) // 10)
        return _sized(data, (1 + crc32(b"%d %d" % (seed, at)) % most for at in count()))

    return cut


def _sized(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = start + next(sizes)
        yield data[start:end]
        start = end


def recut(sample: Sample, cut: Cut) -> Callable[[int, Call], list[Event]]:
    """A sample's upstream replies as the core reads them off a network that cuts so."""
    reply = replies(sample)

    def events(index: int, call: Call) -> list[Event]:
        if call.reply == "whole":
            return reply(index, call)
        pieces = cut(wire(call, reply(index, call)))
        if call.reply == "chunked":
            return [Event(piece) for piece in pieces]
        splitter = Splitter()
        found = [event for piece in pieces for event in splitter.feed(piece)]
        return [event for event in found if event.data != DONE]

    return events
