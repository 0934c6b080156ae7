"""What a sink leaves with the event loop of its thread cannot end the shipping."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rigs.ledger import ledger, request
from rigs.sinks import Kept, Store, shipping, until

from modgate.api.shipment import Cursor


class Leaving(Kept):
    """Leaves a callback with its loop that exits before the first rows come."""

    async def open(self) -> Sequence[Cursor]:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.sleep(0)
        return await super().open()


def test_a_callback_of_a_sink_that_exits_ends_no_shipping(tmp_path: Path) -> None:
    store = Store()
    with ledger(tmp_path) as made, shipping(made, lambda: Leaving(store)):
        request(made, "r1")
        until(lambda: store.ids == {"r1"})
