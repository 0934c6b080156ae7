"""Frames a second that the ledger takes on one core, and rows a second that its SQLite sink takes.

`python bench/ledger.py`.  Processor time of the whole process, its syncing thread included: a
request is an open and an end frame.  Fails under 20,000 frames a second.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from rigs.ledger import ledger, opened, receipt  # the tests' own rigs
from rigs.sinks import shipping

from modgate.api.sink import Attempt
from modgate.ledger.sqlite_sink import SqliteConfig, SqliteSink

LEAST = 20_000
ATTEMPT = Attempt(
    call=0,
    backend="eu-1",
    region="eu",
    model="m",
    began_s=0.001,
    span="a" * 16,
    family="vllm",
    operation="chat",
    sent=True,
    first_s=0.1,
    ended_s=0.2,
    state="ok",
    status=200,
)


def frames_per_s(folder: Path, requests: int) -> tuple[float, float]:
    """By processor time and by the clock."""
    ends = [receipt(f"req_{n:032x}", attempts=(ATTEMPT,)) for n in range(requests)]
    with ledger(folder, segment_bytes=64 << 20) as made:
        wall, cpu = time.perf_counter(), time.process_time()
        for each in ends:
            opened(made, each.request_id)
            made.ended(each)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return 2 * requests / cpu, 2 * requests / wall


def rows_per_s(folder: Path) -> float:
    """What the sink takes of a ledger that lies there, by processor time."""
    with ledger(folder / "ledger") as made:
        cpu = time.process_time()
        with shipping(
            made,
            lambda: SqliteSink(SqliteConfig(), folder=folder),
            batch_bytes=256 << 10,
            deadline_s=30.0,
        ) as shipper:
            while shipper.lag.frames:
                time.sleep(0.05)
            return shipper.rows / (time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    by_cpu, by_clock, shipped = [], [], []
    for _ in range(wanted.rounds):
        folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        cpu, clock = frames_per_s(folder / "ledger", wanted.requests)
        by_cpu.append(cpu)
        by_clock.append(clock)
        shipped.append(rows_per_s(folder))
        shutil.rmtree(folder)
    for name, values in (("by processor time", by_cpu), ("by the clock", by_clock)):
        spread = f"{min(values):,.0f}-{max(values):,.0f}"
        print(f"frames/s {name}: {statistics.median(values):,.0f} ({spread})")
    rows = statistics.median(shipped)
    print(f"rows/s into SQLite by processor time: {rows:,.0f}, {1e6 / rows:.1f} us a row")
    if statistics.median(by_cpu) < LEAST:
        sys.exit(f"under {LEAST:,} frames/s")


if __name__ == "__main__":
    main()
