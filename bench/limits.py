"""Limits that three gateway processes share: how much is admitted, and what it costs the store.

`python bench/limits.py [busy] [load] [kill] [conformance]`.  `busy`: trips to the store for one
busy key.  `load`: twice the limit is asked for, of hot and cold keys side by side, with the store
paused in the middle.  `kill`: how long what a killed process held stays taken.  `conformance`:
random operations against each kind of store.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from oracle import requests as ask  # noqa: E402  # the tests' own engine, servers and load
from oracle.engine import ScriptedEngine  # noqa: E402  # path first
from oracle.faults import OK, Script  # noqa: E402  # path first
from rigs.sharing import Answer, Load, Offer, Sharing, most_beyond, sharing, trips  # noqa: E402  # path first
from run import free_port, process, wait_for  # noqa: E402  # path first
from servers import Server, redis  # noqa: E402  # path first

TOKENS, HELD_TOKENS = 100, 400  # what bench/engine.py says of each reply; what a killed one held
GATEWAYS = 3
SETTLING_S, SLICE_S = 2.0, 1.0
WINDOWS_S = (0.25, 1.0, 3.0, 10.0, 30.0)
SLOW_S = 0.02  # a reply that took this long may have waited for the store
PARTS = ("busy", "load", "kill", "conformance")
KINDS = ("memory", "owner", "redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the run.  `begins`, `ends`: monotonic seconds."""

    name: str
    begins: float
    ends: float


def body(tokens: int) -> bytes:
    return ask.chat(1, model="chat", max_tokens=tokens).body


def rates(hot_per_s: int, cold_per_s: int, cold: int) -> dict[str, int]:
    return {"hot": hot_per_s} | {f"cold{number}": cold_per_s for number in range(cold)}


def tenants(per_s: Mapping[str, int]) -> dict[str, str]:
    """The hot one is limited in tokens, the cold ones in requests."""
    return {
        name: f'limits = {{ units = {{ "llm.output_tokens" = "{rate * TOKENS}/s" }} }}'
        if name == "hot"
        else f'limits = {{ requests = "{rate}/s" }}'
        for name, rate in per_s.items()
    }


@contextmanager
def gateways(engine: str, per_s: Mapping[str, int]) -> Iterator[tuple[Sharing, Server]]:
    with tempfile.TemporaryDirectory(prefix="limits-") as made:
        folder = Path(made)
        with (
            redis(folder) as store,
            sharing(folder, engine, f'url = "{store.url}"', tenants(per_s), GATEWAYS) as shared,
        ):
            yield shared, store


async def busy(seconds: float, hot_per_s: int) -> bool:
    """One key, at half its limit, at it, and at twice."""
    port, shares = free_port(), []
    per_s = {"hot": hot_per_s}
    print(f"{'asked':>8} {'requests':>9} {'trips':>7} {'a request':>10}")
    with process(sys.executable, str(HERE / "engine.py"), str(port)):
        wait_for(port)
        with gateways(f"http://127.0.0.1:{port}", per_s) as (shared, store):
            for times in (0.5, 1.0, 2.0):
                offer = Offer(tenant="hot", per_s=times * hot_per_s, body=body(TOKENS))
                driver, before = Load(shared), trips(store)
                await driver.offer([offer], seconds)
                driver.close()
                made, asked = trips(store) - before, len(driver.answers)
                shares.append(made / asked)
                print(f"{times:>6g} x {asked:>9} {made:>7} {shares[-1]:>10.3f}")
    return max(shares) < 0.5


async def load(seconds: float, hot_per_s: int, cold_per_s: int, cold: int) -> bool:
    """Three phases of one length: the store answers, is paused, answers again."""
    per_s = rates(hot_per_s, cold_per_s, cold)
    port = free_port()
    with process(sys.executable, str(HERE / "engine.py"), str(port)):
        wait_for(port)
        with gateways(f"http://127.0.0.1:{port}", per_s) as (shared, store):
            phases, counts, answers = await _phases(shared, store, per_s, seconds)
            logged = [shared.logged(at) for at in range(GATEWAYS)]
            admitted = shared.admitted()
    print(f"{GATEWAYS} processes, {seconds:g} s a phase, twice the limit asked for")
    print(f"{'phase':<10} {'tenant':<8} {'limit/s':>8} {'asked':>7} {'admitted':>9} {'share':>6}")
    offset, good = time.time() - time.monotonic(), True
    for phase in phases:
        for name, rate in per_s.items():
            if name not in ("hot", "cold0"):
                continue
            begins = phase.begins + (SETTLING_S if phase is phases[0] else 0)
            inside = [r for r in admitted[name] if begins <= r.wall - offset < phase.ends]
            asked = sum(1 for a in answers if a.tenant == name and begins <= a.at < phase.ends)
            share = len(inside) / rate / (phase.ends - begins)
            print(f"{phase.name:<10} {name:<8} {rate:>8} {asked:>7} {len(inside):>9} {share:>6.3f}")
    print("\nmost in any window beyond rate x window, in requests (the bound: limit + 1 s of rate)")
    print(f"{'tenant':<8} {'bound':>6} " + " ".join(f"{w:>7g} s" for w in WINDOWS_S))
    for name, rate in per_s.items():
        rows = [(row.wall, 1) for row in admitted[name]]
        steady = [at for at, _ in rows if at >= rows[0][0] + SETTLING_S]
        share = len(steady) / rate / (3 * seconds - SETTLING_S)
        found = [most_beyond(rows, rate, window_s) for window_s in WINDOWS_S]
        bound = rate + rate * SLICE_S
        good = good and max(found) <= bound and share >= 0.95
        print(f"{name:<8} {bound:>6g} " + " ".join(f"{each:>9.1f}" for each in found)
              + f"   share in all {share:.3f}")  # fmt: skip  # rows as they are read
    _waits(phases, counts, answers, logged)
    return good


async def _phases(
    shared: Sharing, store: Server, per_s: Mapping[str, int], seconds: float
) -> tuple[list[Phase], list[int], list[Answer]]:
    offers = [Offer(tenant=name, per_s=2 * rate, body=body(TOKENS)) for name, rate in per_s.items()]
    driver, phases, counts = Load(shared), [], []
    counts.append(trips(store))
    began = time.monotonic()
    offering = asyncio.create_task(driver.offer(offers, 3 * seconds))
    for number, name in enumerate(("up", "paused", "up again")):
        if name == "paused":
            store.pause()
        elif number:
            store.go_on()
        begins = began + number * seconds
        await asyncio.sleep(begins + seconds - time.monotonic())
        if name != "paused":
            counts.append(await asyncio.to_thread(trips, store))
        phases.append(Phase(name=name, begins=begins, ends=begins + seconds))
    await offering
    driver.close()
    return phases, counts, driver.answers


def _waits(
    phases: list[Phase], counts: list[int], answers: list[Answer], logged: list[list[str]]
) -> None:
    up = phases[0]
    asked = sum(1 for answer in answers if up.begins <= answer.at < up.ends)
    made = counts[1] - counts[0]
    print(f"\nstore up: {made} trips for {asked} requests, {made / asked:.3f} a request")
    first = [a for a in answers if 0 <= a.at - phases[1].begins < 1 and a.took_s > SLOW_S]
    waited = [sum(a.gateway == g for a in first) for g in range(GATEWAYS)]
    print(f"over {SLOW_S * 1000:g} ms in the first second of the pause, by gateway: {waited}")
    print(f"{'phase':<10} {'p50 ms':>8} {'p99 ms':>8}  over {SLOW_S * 1000:g} ms, by gateway")
    for phase in phases:
        inside = [a for a in answers if phase.begins <= a.at < phase.ends]
        took = sorted(a.took_s * 1000 for a in inside)
        slow = [sum(a.took_s > SLOW_S for a in inside if a.gateway == g) for g in range(GATEWAYS)]
        half, most = took[len(took) // 2], took[len(took) * 99 // 100]
        print(f"{phase.name:<10} {half:>8.2f} {most:>8.2f}  {slow}")
    print("log lines of the store, by gateway:", [" ".join(each) for each in logged])


async def kill() -> bool:
    """Requests that live for longer than a touch, and then their gateway is killed."""
    held = (
        f'limits = {{ in_flight = 2, units = {{ "llm.output_tokens" = "{2 * HELD_TOKENS}/day" }} }}'
    )
    async with ScriptedEngine(
        lambda record: (
            Script(headers_after_ms=120_000)
            if record.asked.json["max_tokens"] == HELD_TOKENS
            else OK
        )
    ) as engine:
        with tempfile.TemporaryDirectory(prefix="limits-") as made, redis(Path(made)) as store:
            known = f'url = "{store.url}"'
            with sharing(Path(made), engine.url, known, {"acme": held}, 2) as shared:
                took_s = await _killed(shared, engine)
    print(f"\nkilled after two touches: all of it was back after {took_s:.1f} s (at most 30)")
    return took_s <= 30


async def _killed(shared: Sharing, engine: ScriptedEngine) -> float:
    driver = Load(shared)
    lost = [asyncio.create_task(driver.ask("acme", 0, body(HELD_TOKENS))) for _ in range(2)]
    await engine.reached(1, calls=2)
    await asyncio.sleep(5)
    shared.served[0].process.kill()
    began = time.monotonic()
    await asyncio.gather(*lost, return_exceptions=True)
    status = 0
    while status != 200:
        await asyncio.sleep(0.25)
        status = (await driver.ask("acme", 1, body(8))).status
    driver.close()
    return time.monotonic() - began


def conformance(operations: int) -> bool:
    """The test that compares each store with the levels in memory, at full length."""
    print(f"\n{operations:,} seeded operations a store, each answer compared with the levels' own")
    good = True
    for kind in KINDS:
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", "-p", "no:cacheprovider"]
        command += ["tests/core/limits/test_stores.py", "-k", f"agree and {kind}"]
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=HERE.parent,
            env={**os.environ, "MODGATE_OPERATIONS": str(operations)},
        )
        same = made.returncode == 0
        good = good and same
        said = "0 mismatches" if same else f"a mismatch:\n{made.stdout[-2000:]}"
        print(f"{kind:<8} {time.monotonic() - began:6.1f} s  {said}", flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase")
    parser.add_argument("--hot", type=int, default=90, help="requests a second of the hot limit")
    parser.add_argument("--cold", type=int, default=6, help="the same of a cold one")
    parser.add_argument("--colds", type=int, default=8, help="how many cold ones")
    parser.add_argument("--operations", type=int, default=100_000)
    asked = parser.parse_args()
    parts = asked.parts or PARTS
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed: apt-get install redis-server")
    good = []
    if "busy" in parts:
        good.append(asyncio.run(busy(asked.seconds / 2, 3 * asked.hot)))
    if "load" in parts:
        good.append(asyncio.run(load(asked.seconds, asked.hot, asked.cold, asked.colds)))
    if "kill" in parts:
        good.append(asyncio.run(kill()))
    if "conformance" in parts:
        good.append(conformance(asked.operations))
    raise SystemExit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
