"""kill -9 under mixed traffic of all modalities, with leaving clients and failing engines.

`python bench/chaos.py`.  Each round has a gateway and a scripted engine of its own; the gateway is
killed at random moments and started again, and in the end client, engine and ledger are held
together per request id and unit.  0 lost, 0 twice, 0 differences, or the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from rigs.chaos import chaos  # the tests' own rig

COUNTS = ("requests", "rows", "hit", "crashed", "touched", "unheard")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=800, help="of one round")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    total: Counter[str] = Counter()
    wrong: list[str] = []
    began = time.monotonic()
    for number in range(wanted.rounds):
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            verdict = await chaos(
                Path(folder),
                seed=wanted.seed + number,
                kills=wanted.kills // wanted.rounds,
                requests=wanted.requests,
            )
        total.update({name: getattr(verdict, name) for name in COUNTS})
        total["kills"] += verdict.kills
        wrong += verdict.violations
        done = ", ".join(f"{name} {total[name]}" for name in ("kills", *COUNTS))
        print(f"round {number + 1}: {done}, violations {len(wrong)}", flush=True)
    for each in wrong:
        print(each)
    print(f"{time.monotonic() - began:.0f} s")
    if wrong or total["kills"] < wanted.kills // wanted.rounds * wanted.rounds:
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
