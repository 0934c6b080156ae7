"""Rules of shared trips: each call gets its own, in order, and pays for its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import permutations
from pathlib import Path

import orjson

from modgate.api.json import Json
from modgate.api.modality import Batching, Sample
from modgate.api.plan import Call
from modgate.api.relay import Event
from modgate.testing.rig import Incomplete, Rig
from modgate.testing.suite import Suite, require

MEMBERS_AT_MOST = 4


class BatchRules(Suite):
    """Of endpoints that batch."""

    def test_calls_that_share_a_trip_get_their_own(self, tmp_path: Path) -> None:
        """Shared or alone, a call's reply is the same; `engine` plays the engine."""
        with self.rig(tmp_path) as rig:
            for path, endpoint in rig.endpoints.items():
                if endpoint.batch is None:
                    continue
                groups = [each for each in self._groups(rig, path, endpoint.batch) if len(each) > 1]
                told = (
                    f"{path}: no two samples may share a trip, so the rule has nothing to look at"
                )
                require(bool(groups), told)
                for group in groups:
                    for members in _orders(group):
                        self._shared(rig, endpoint.batch, members)

    def _groups(
        self, rig: Rig, path: str, batch: Batching
    ) -> Iterator[Sequence[tuple[Sample, Call]]]:
        """Samples of one call each whose calls have equal keys."""
        found: dict[Hashable, list[tuple[Sample, Call]]] = defaultdict(list)
        for _, sample in self.samples():
            if sample.path != path:
                continue
            calls = list(rig.calls(rig.plan(sample)))
            if len(calls) == 1 and (key := batch.key(calls[0])) is not None:
                found[key].append((sample, calls[0]))
        yield from found.values()

    def _shared(self, rig: Rig, batch: Batching, members: Sequence[tuple[Sample, Call]]) -> None:
        calls = [call for _, call in members]
        merged = batch.merge(calls)
        require(merged.path == calls[0].path, "merge sends the call to another path")
        for name in {name for call in calls for name in call.size}:
            each = sum(call.size.get(name, 0) for call in calls)
            require(merged.size.get(name, 0) == each, f"merge says {merged.size} for {each} {name}")
        before = [call.body.content for call in calls]
        shares = batch.split(calls, self._said(merged))
        require(len(shares) == len(calls), f"split gave {len(shares)} of {len(calls)} replies")
        require(before == [call.body.content for call in calls], "merge or split changed a call")
        for (sample, call), share in zip(members, shares, strict=True):
            alone = self._reply(rig, sample, self._said(call))
            shared = self._reply(rig, sample, share)
            require(shared == alone, f"{sample.json}: shared it is {shared}, alone {alone}")

    def _said(self, call: Call) -> Event:
        """What the author's engine answers."""
        said = self.engine(call)
        kind = type(said).__name__
        if not isinstance(said, bytes):
            raise Incomplete(f"engine(call) must answer bytes, and not {kind}")
        return Event(said)

    def _reply(self, rig: Rig, sample: Sample, event: Event) -> Json:
        """A reply and its bill."""
        whole = rig.drive(rig.plan(sample)).play(lambda index, call: [event])
        return orjson.loads(whole.reply), dict(whole.usage.units)


def _orders(group: Sequence[tuple[Sample, Call]]) -> Iterator[Sequence[tuple[Sample, Call]]]:
    """Each pair in both orders, one call with itself, and all together."""
    first = group[:MEMBERS_AT_MOST]
    yield from permutations(first, 2)
    yield [first[0], first[0]]
    yield first
    yield first[::-1]
