"""Shipping a ledger to all of its sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modgate.api.secret import Secret
from modgate.api.shipment import LedgerSink
from modgate.clock import Clock
from modgate.ledger.postgres_sink import PostgresSink
from modgate.ledger.shipper import CLOSE_S, Shipper
from modgate.ledger.sqlite_sink import SqliteSink
from modgate.ledger.writer import Ledger

Make = Callable[[], LedgerSink]  # a sink serves until its first failure, then a new one is made


def built_in() -> dict[str, type[LedgerSink]]:
    """The sinks that need no plugin, by kind."""
    return {kind.name: kind for kind in (SqliteSink, PostgresSink)}


@dataclass(slots=True, eq=False)
class Shipping:
    """The shippers, one for each sink; none of them can hold up another one, or a request."""

    shippers: Sequence[Shipper] = ()

    @classmethod
    def of(
        cls,
        sinks: Mapping[str, tuple[Make, str | None, str]],
        ledger: Ledger,
        key: Secret,
        clock: Clock,
    ) -> Shipping:
        """Begin to ship.

        `sinks`: by name what makes the sink, the region where it stands, and whose it is.
        """
        made = [
            Shipper(name, make, ledger, key, clock, region=region, plugin=plugin)
            for name, (make, region, plugin) in sinks.items()
        ]
        for shipper in made:
            shipper.start()
        return cls(made)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Ship what is left, and stop.  Close the ledger first.

        Each sink has `within_s` for it, after all were told to stop.
        """
        for shipper in self.shippers:
            shipper.stop()
        for shipper in self.shippers:
            shipper.close(within_s)
