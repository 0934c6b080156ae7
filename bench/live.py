"""The promise kept while engines go wrong: one `modgate serve` before a fleet behind proxies that
spoil, under steady traffic of all seven modalities.  Run by `./dev python bench/live.py`.

The healthy fleet's 95th percentile is measured first, per model and phase; twice that is written
into the gateway's own file as its SLO, and printed.  Then in each pool the busiest engine stalls,
fast-fails, is a black hole, is killed.  The exit code is 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from rigs.live import Times, live, live_gateway  # the tests' own rig
from rigs.live_fleet import HOWS, How, has_llama, live_fleet
from rigs.live_traffic import sorts

SHOWN = 5  # of the calls of a row that were late
say = partial(print, flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-s", type=float, default=3.0, help="requests a second of a modality")
    parser.add_argument("--llama-per-s", type=float, default=1.6)
    parser.add_argument("--fault-s", type=float, default=30.0)
    parser.add_argument("--healthy-s", type=float, default=30.0)
    parser.add_argument("--only", choices=get_args(How), action="append", help="this")
    parser.add_argument("--no-llama", action="store_true", help="without llama.cpp")
    parser.add_argument("--keep", type=Path, help="a folder for the gateway's file and output")
    wanted = parser.parse_args()
    llamas = 0 if wanted.no_llama or not has_llama() else 2
    if not llamas:
        say("without llama.cpp")
    with tempfile.TemporaryDirectory(prefix="live-") as made:
        folder = wanted.keep or Path(made)
        folder.mkdir(exist_ok=True)
        async with (
            live_fleet(folder, seed=wanted.seed, llamas=llamas) as fleet,
            live_gateway(folder, fleet) as gateway,
        ):
            say(f"{len(fleet.posts)} engines of {len(fleet.models)} models, seed {wanted.seed}")
            rows = await live(
                fleet,
                gateway,
                sorts(wanted.per_s, llama_per_s=wanted.llama_per_s if llamas else 0.0),
                wanted.only or HOWS,
                times=Times(fault_s=wanted.fault_s, healthy_s=wanted.healthy_s),
                seed=wanted.seed,
                tell=say,
            )
    for error, times in Counter(each for row in rows for each in row.errors).items():
        say(f"{error} ({times} times)")
    for row in rows:
        for missed in row.missed[:SHOWN] if row.broken() else ():
            say(f"{row.how}, late, {missed}")
    broken = [row for row in rows if row.broken()]
    say(f"{len(rows) - len(broken)} of {len(rows)} kept every promise")
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
