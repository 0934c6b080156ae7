"""What every sink has is kept for a while, and then removed."""

from __future__ import annotations

import os
from pathlib import Path

from rigs.ledger import Stopped, ledger, let_go, request, segments, stop_syncing

from modgate.ledger.segments import segment_name


def test_what_every_sink_has_had_for_long_is_removed(tmp_path: Path) -> None:
    clock = Stopped(10**9)  # far behind the files' own times
    with ledger(tmp_path, segment_bytes=2_000, clock=clock, keep_acknowledged_s=60.0) as made:
        stop_syncing(made)
        for index in range(20):
            request(made, f"r{index}")
        made.acknowledge("sink", made.position.segment)
        made._drop_acknowledged(60.0)
        let_go(made)

        assert len(segments(tmp_path)) <= 2  # the notes of it may have begun another
        assert made.dropped_unacknowledged == 0


def test_what_one_sink_needs_is_kept_and_so_is_what_was_written_lately(tmp_path: Path) -> None:
    clock = Stopped(10**9)
    with ledger(tmp_path, segment_bytes=2_000, clock=clock) as made:
        stop_syncing(made)
        for index in range(20):
            request(made, f"r{index}")
        made.acked.update(fast=made.position.segment, slow=3)
        written = clock.wall() - 30
        os.utime(segments(tmp_path)[1], (written, written))
        left = []
        for later_s in (0, 30, 31):
            clock.at = 10**9 + later_s
            made._drop_acknowledged(60.0)
            left.append(segments(tmp_path)[0].name)
        made.acked.update(fast=10_000, slow=10_000)
        made._drop_acknowledged(60.0)
        let_go(made)

        assert left == [segment_name("", number) for number in (2, 2, 3)]
        assert segments(tmp_path)[-1].name == segment_name("", made.position.segment)
