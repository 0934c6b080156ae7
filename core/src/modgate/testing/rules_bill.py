"""Rules of the bill: what is reserved covers it, what was cut costs no more, nothing ever falls."""

from __future__ import annotations

from pathlib import Path

import orjson

from modgate.api.json import Json
from modgate.api.relay import State, Usage
from modgate.kit.sse import Splitter
from modgate.testing.drive import Drive, Played
from modgate.testing.suite import (
    Suite,
    covers,
    played,
    played_until,
    positions,
    replies,
    require,
)

CUT: tuple[State, ...] = ("failed", "timed_out", "cancelled")


class BillRules(Suite):
    """Usage at any moment."""

    def test_a_sample_has_its_reply_and_its_usage(self, tmp_path: Path) -> None:
        """What the samples promise is what a client gets and pays."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                whole = played(rig, sample)
                if sample.reply is not None:
                    got = read(whole)
                    require(got == sample.reply, f"{label}: the reply is {got}")
                used = whole.usage
                told = f"{label}: the usage is {used.units}, exact={used.exact}"
                require(dict(used.units) == dict(sample.usage or {}), told)
                require(used.exact == sample.exact, told)
                unread = len(sample.upstream) - len(whole.calls)
                require(unread == 0, f"{label}: {unread} upstream replies were never asked for")

    def test_the_reserve_covers_what_the_gateway_counts(self, tmp_path: Path) -> None:
        """A limit that admits a request is never overrun by what the gateway itself measures."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                drive = rig.drive(rig.plan(sample))
                reserve = drive.reserve
                for usage in drive.play(replies(sample)).usages:
                    own = self._own(usage)
                    require(covers(reserve, own), f"{label}: used {own} of a reserve of {reserve}")

    def _own(self, usage: Usage) -> dict[str, int]:
        counted = self.modality.gateway_counts
        return {name: count for name, count in usage.units.items() if name in counted}

    def test_a_cut_reply_costs_no_more_and_is_not_exact(self, tmp_path: Path) -> None:
        """Cut before any event, the bill is a floor of what came; before the first, nothing."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                whole = played(rig, sample)
                for events in positions(len(whole.steps) - 1):
                    drive = played_until(rig, sample, events)
                    if not events:
                        units = drive.usage().units
                        require(not any(units.values()), f"{label}: {units} before any event")
                    self._cut(f"{label}, cut before event {events}", drive, whole.usage)

    def _cut(self, label: str, drive: Drive, whole: Usage) -> None:
        """All endings of the pending call; `usage` is pure, so one drive will do."""
        before = drive.usage()
        for state in CUT if not drive.plan.partial else ("cancelled",):
            drive.end(state)
            cut = drive.usage()
            above = covers(whole.units, cut.units)
            require(above, f"{label}: {cut.units} is more than the whole, {whole.units}")
            require(not cut.exact, f"{label} ({state}): the usage claims to be exact")
            fell = f"{label} ({state}): usage fell from {before.units} to {cut.units}"
            require(covers(cut.units, before.units), fell)

    def test_usage_never_falls(self, tmp_path: Path) -> None:
        """At any moment it is asked, and however often, it is at least what it was."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                drive, reply = rig.drive(rig.plan(sample)), replies(sample)
                last = drive.usage()
                while (call := drive.draw()) is not None:
                    last = self._risen(label, last, drive)
                    for event in reply(len(drive.calls) - 1, call):
                        drive.feed(event)
                        last = self._risen(label, last, drive)
                    drive.end()
                    last = self._risen(label, last, drive)
                drive.close()
                self._risen(label, last, drive)

    def _risen(self, label: str, last: Usage, drive: Drive) -> Usage:
        now = drive.usage()
        fell = f"{label}: usage fell from {last.units} to {now.units}"
        require(covers(now.units, last.units), fell)
        require(drive.usage() == now, f"{label}: asked twice, usage gave two answers")
        return now


def read(whole: Played) -> Json:
    """A reply as a sample spells it: JSON, the JSON of each event of a stream, or bytes."""
    if whole.head.kind == "sse":
        return [_value(event.data) for event in Splitter().feed(whole.reply)]
    return (
        _value(whole.reply)
        if whole.head.content_type.startswith("application/json")
        else whole.reply
    )


def _value(data: bytes) -> Json:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
