"""What one request has cost: its plan and its asides, in units that a bill can hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import get_args

from modgate.api.relay import MeasuredBy, Usage
from modgate.api.sink import Ending
from modgate.disconnect import DRAINED, NOTE
from modgate.draft import Draft
from modgate.errors import PluginFault
from modgate.faults import RAISED
from modgate.observe.differences import count_differences
from modgate.units import COUNT_AT_MOST, NOTHING, Units, UnitTable

log = logging.getLogger(__name__)

MEASURED_BY = get_args(MeasuredBy)


class Meter:
    """Reads one request's usage; all its units are by full name.

    `plan`: asked for what the plan has cost so far; None before it runs.  `aside`: what
    its asides did cost.
    """

    def __init__(self, units: UnitTable, draft: Draft) -> None:
        self._units = units
        self._draft = draft
        self.aside = NOTHING
        self._aside_exact = True
        self._closed: Usage | None = None
        self.plan: Callable[[], Usage] | None = None

    def add_aside(self, usage: Usage, modality: str, index: int) -> None:
        """An aside was answered; it is billed even if the request is refused later."""
        used = usage.units.of(modality).full()
        aside = self.aside + used
        self._check(usage, aside)
        self.aside = aside
        if (tried := self._draft.last_try(index)) is not None:
            tried.units = used
        self._aside_exact = self._aside_exact and usage.exact is True

    def _read(self) -> Usage:
        if self.plan is None:
            return Usage(self.aside, self._aside_exact)
        usage = self.plan()
        own = usage.units.named(self._draft.modality)
        if self.aside is not NOTHING:
            own = self.aside + own
        return Usage(own, usage.exact is True and self._aside_exact, usage.by, usage.other)

    def so_far(self) -> Units | None:
        """What it has cost so far; None before the plan runs, or where the plugin cannot say it."""
        if self.plan is None:
            return None
        try:
            usage = self._read()
            units = usage.units
            self._check(usage, units)
        except RAISED:
            return None
        return units

    def closed(self) -> Usage:
        """The final usage, when everything was fed; PluginFault where it is no usable bill."""
        if self._closed is None:
            try:
                usage = self._read()
            except RAISED as error:
                raise PluginFault(f"{type(error).__name__} in a relay's usage") from error
            self._check(usage, usage.units)
            self._closed = usage
        return self._closed

    def settled(self) -> Usage:
        """The final usage; where the plugin cannot say it, that of its asides as an estimate.

        The limits' reserve stands then.
        """
        try:
            return self.closed()
        except RAISED:
            log.exception("usage failed", extra={"request_id": self._draft.request_id})
            return Usage(self.aside, exact=False, by="estimate")

    def _only_aside(self, units: Mapping[str, int]) -> bool:
        """Whether all of these units are of asides, and known exactly."""
        aside = self.aside
        return self._aside_exact and all(n == aside.get(name, 0) for name, n in units.items())

    def counted(self, usage: Usage, bytes_in: int, bytes_out: int) -> dict[str, int]:
        """The units that limits and the bill count, those of the request itself included."""
        units = dict(usage.units.items())
        if self._draft.admitted and (front := self._draft.modality):
            units[f"{front}.requests"] = 1
            units[f"{front}.bytes_in"] = bytes_in
            units[f"{front}.bytes_out"] = bytes_out
        return units

    def exact(self, usage: Usage, ending: Ending) -> bool:
        """Whether the bill is exact and not a floor: all was done, or nothing was begun."""
        if ending != "refused":
            return usage.exact and (ending == "ok" or self._draft.notes.get(NOTE) == DRAINED)
        if self.plan is None:
            return usage.exact or not any(usage.units.values())
        own = [each for each in self._draft.tries if each.call >= 0 and not each.units]
        begun = any(each.sent and each.state != "refused" for each in own)
        return not begun and self._only_aside(usage.units)

    def header(self) -> str:
        """The value of the `x-modgate-units` header."""
        known, shown = self._units.units, []
        for name, count in self.closed().units.items():
            if (unit := known.get(name)) is not None:
                shown.append(f"{unit.public}={count if unit.scale == 1 else unit.outside(count)}")
        return ";".join(shown)

    def compare(self, units: Mapping[str, int], other: Mapping[str, int]) -> None:
        """Note where engine and gateway counted the plan's units differently; no bill changes."""
        if not other:
            return
        own = {name: count - self.aside.get(name, 0) for name, count in units.items()}
        if told := count_differences(own, other, self._draft.modality, self._units):
            self._draft.notes["counts_differ"] = told

    def _check(self, usage: Usage, units: Mapping[str, int]) -> None:
        """PluginFault for what no ledger row can hold: it would block all later rows."""
        self.check_units(units)
        if usage.by not in MEASURED_BY:
            raise PluginFault(f"a Usage is by {', '.join(MEASURED_BY)}, and by nobody else")
        if not isinstance(usage.other, Units):
            raise PluginFault(
                f"the other of a Usage is Units, and not {type(usage.other).__name__}"
            )

    def check_units(self, units: Mapping[str, int]) -> None:
        """PluginFault for an undeclared unit, or a count that is too large for a row."""
        known = self._units.declared
        for name, count in units.items():
            if name not in known:
                raise PluginFault(f"a unit is counted that no modality declares: {name!r}")
            if count > COUNT_AT_MOST:
                text = f"a unit of a request is counted up to {COUNT_AT_MOST}, no further"
                raise PluginFault(text)
