"""One gateway under mixed traffic that ends in every way, for as long as it is told to: its memory.

`python bench/soak.py`.  The exit code is 1 when resident memory grows with the requests, something
is left open, or too many answers were others than they should have been.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from rigs.soak import SETTLED, soaking  # the tests' own rig

BOUND = 16 << 10  # bytes by 1,000 requests
RESTS = 6 << 20  # bytes that a heap may still take in the last part, however few requests
WRONG_AT_MOST = 0.001  # of all
OPEN = ("close-wait", "in hand", "spool")
say = partial(print, flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the gateway's file and output")
    wanted = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as made:
        folder = wanted.keep or Path(made)
        folder.mkdir(exist_ok=True)
        async with soaking(folder, seed=wanted.seed, tell=say) as soak:
            verdict = await soak.run(wanted.requests)
    say(", ".join(f"{status}: {times}" for status, times in sorted(verdict.statuses.items())))
    wrong = Counter(verdict.wrong)
    for (name, status), times in wrong.most_common():
        say(f"wrong, {times} times: {name}: {status}")
    still = {name: verdict.left[name] for name in OPEN if verdict.left[name]}
    say(f"{time.monotonic() - began:.0f} s; left open: {still or 'nothing'}")
    bound = max(BOUND, 1000 * RESTS / ((1 - SETTLED) * wanted.requests))
    say(f"{verdict.per_1000:+.0f} bytes by 1,000 requests, at most {bound:.0f}")
    if verdict.per_1000 > bound or still or wrong.total() > WRONG_AT_MOST * wanted.requests:
        sys.exit(1)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
