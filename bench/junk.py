"""Each sort of bad input again and again: what the gateway keeps of it.

    python bench/junk.py [--times 2000, at least 1500] [--only WORDS] [--since WORDS] [--list]

For each sort: the means of 20 readings of RSS over requests 500 to 1,000 and over the last 500,
and what grew of tasks, sockets, spool files and the maps of State.  Gateway, scripted engine and
client share the process, so that every map can be looked at: RSS is an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from junk.case import Case  # noqa: E402  # found on the path that was set above
from junk.judge import judge  # noqa: E402  # path first
from junk.leftovers import holding, settled  # noqa: E402  # path first
from junk.world import SORTS, World  # noqa: E402  # path first

from modgate.money.statements import RECENT  # noqa: E402  # path first

STEP = 25  # requests between two readings: 20 readings in 500 requests
SPAN = 500
GROWTH_AT_MOST_MIB = 2.0
BILLED = next(case for case in SORTS if case.name == "200 with garbage, llm")
TIMES_AT_LEAST = 3 * SPAN  # or early and late would be the same requests, and nothing could grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What many of one sort left."""

    early_mib: float
    late_mib: float
    left: Sequence[str]
    wrong: Sequence[str]
    took_s: float

    @property
    def good(self) -> bool:
        """Nothing grew, and every answer was right."""
        grew = self.late_mib - self.early_mib
        return not self.left and not self.wrong and grew <= GROWTH_AT_MOST_MIB


def rss_mib() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS")


async def fill(world: World, cases: Sequence[Case]) -> None:
    """Have as many receipts as a gateway keeps: until then each request leaves one more."""
    for gate in {case.gate for case in cases}:
        for _ in range(0, RECENT, STEP):
            await world.play_all([replace(BILLED, gate=gate)] * STEP, STEP)
            world.engine.forget()


async def tried(world: World, case: Case, times: int) -> Finding:
    """Send one sort so often; the first 500 fill caches and pools."""
    began = time.monotonic()
    await world.play_all([case] * STEP, STEP)
    world.engine.forget()
    before = holding(world)
    readings: list[float] = []
    wrong: list[str] = []
    for _ in range(0, times, STEP):
        played = await world.play_all([case] * STEP, STEP)
        wrong += [text for _, client in played for text in judge(case, client)]
        world.engine.forget()
        del played
        readings.append(rss_mib())
    # Reading a ledger back takes memory of its own, so the bill is looked at behind the readings.
    wrong += world.bill(await world.play_all([case] * STEP, STEP))
    span = SPAN // STEP
    gc.collect()
    return Finding(
        early_mib=_mean(readings[span : 2 * span]),
        late_mib=_mean(readings[-span:]),
        left=await settled(world, before),
        wrong=wrong,
        took_s=time.monotonic() - began,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def report(case: Case, found: Finding) -> None:
    """One line, and one for each fault."""
    mark = "ok " if found.good else "BAD"
    grew = found.late_mib - found.early_mib
    print(
        f"{mark} {found.early_mib:7.1f} {found.late_mib:7.1f} {grew:+6.2f} MiB "
        f"{found.took_s:6.1f} s  {case.name}",
        flush=True,
    )
    for text in (*found.left, *list(found.wrong)[:3]):
        print(f"      {text}", flush=True)


async def run(cases: Sequence[Case], times: int) -> int:
    """All of them; how many were bad."""
    bad = 0
    with tempfile.TemporaryDirectory(prefix="modgate-junk-") as folder:
        async with World(Path(folder)) as world:
            await world.warm()
            await world.play_all(SORTS)
            await fill(world, cases)
            print("      early    late   grew          took  sort", flush=True)
            for case in cases:
                found = await tried(world, case, times)
                report(case, found)
                bad += not found.good
            held = holding(world)
    print(f"tasks {held.tasks}, sockets {held.sockets}, maps:")
    for name, size in sorted(held.maps.items()):
        if name.startswith("shut.state.") and size and "[]" not in name and "_gateway" not in name:
            print(f"  {size:6} {name}")
    return bad


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=2000, help="how often each is sent")
    parser.add_argument("--only", default="", help="those with this in their name")
    parser.add_argument("--since", default="", help="from the first with this in its name")
    parser.add_argument("--list", action="store_true", help="print their names and end")
    chosen = parser.parse_args()
    if chosen.times < TIMES_AT_LEAST:
        parser.error(f"growth shows over {TIMES_AT_LEAST} requests of a sort, not {chosen.times}")
    rest = dropwhile(lambda case: chosen.since not in case.name, SORTS)
    cases = [case for case in rest if chosen.only in case.name]
    if chosen.list:
        print("\n".join(case.name for case in cases))
        return
    sys.exit(1 if asyncio.run(run(cases, chosen.times)) else 0)


if __name__ == "__main__":
    main()
