"""A real gateway before a fleet of which one engine in each pool goes wrong, under steady traffic:
what clients had of it, against targets that were committed before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from gateways import MODELS, configuration

from rigs.live_fleet import LLAMA, How, LiveFleet
from rigs.live_traffic import Call, Sort, Targets, Traffic, targets_of
from rigs.served import served

NOTICED_S = 5.0
PATIENCE_S = 1.5  # at least, or twice the target: with what a busy machine adds
TENANTS = {"": "acme", LLAMA: "real"}
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of each part of a run."""

    warm_s: float = 12.0
    healthy_s: float = 30.0
    fault_s: float = 30.0
    rest_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is promised: a target is `times` the healthy fleet's 95th percentile, at least `kept`
    of the calls keep theirs, `failed` of those that are not unary may fail, and engines are asked
    at most `amplified` times as often as the gateway.
    """

    times: float = 2.0
    kept: float = 0.95
    failed: float = 0.01
    amplified: float = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one fault did to one model.

    `began`: when.  `late` are calls that began `NOTICED_S` after that or later, `early` those
    before, and `in_hand` those that ran when it came.  `amplified`: calls at the engines for one of
    `late`; `amplified_early`: for one of `early`.
    """

    how: How
    model: str
    engine: str
    targets: Targets
    bounds: Bounds
    began: float
    late: Sequence[Call]
    early: Sequence[Call]
    in_hand: Sequence[Call]
    amplified: float
    amplified_early: float

    @property
    def kept(self) -> int:
        """How many of `late` ended well and in time."""
        return sum(call.kept(self.targets) for call in self.late)

    @property
    def others(self) -> list[Call]:
        """Those of `late` that are streams."""
        return [call for call in self.late if not call.sort.unary]

    @property
    def errors(self) -> list[str]:
        """What failed, and how."""
        parts = {"in hand": self.in_hand, "early": self.early, "late": self.late}
        return [
            f"{self.how}, {part}, {call.sort.name}: {call.record.error}"
            for part, calls in parts.items()
            for call in failed(calls)
        ]

    @property
    def missed(self) -> list[str]:
        """Those of `late` that were not kept: when they began, how long they took, attempts."""
        return [
            f"{call.sort.name} at {call.record.began_at - self.began:.1f} s: first byte after "
            f"{call.first_s:.2f} s, each {call.between_s:.3f} s, end after {call.total_s:.2f} s, "
            f"{call.record.headers.get('x-modgate-attempts', '1')} attempts"
            for call in self.late
            if not call.kept(self.targets)
        ]

    def broken(self) -> list[str]:
        """Which promises it broke.

        A unary call must not fail at any time, unless a part of its reply was relayed already when
        the fault was new; nor take longer than an engine is waited for and then another one takes.
        """
        found = []
        if self.kept < self.bounds.kept * len(self.late) or not self.late:
            found.append(f"kept {self.kept} of {len(self.late)}")
        unary = [call for call in failed(self.late) if call.sort.unary]
        unary += [call for call in failed((*self.in_hand, *self.early)) if call.sort.whole]
        if unary:
            found.append(f"{len(unary)} unary calls failed")
        if (others := len(failed(self.others))) > self.bounds.failed * len(self.others):
            found.append(f"{others} of {len(self.others)} others failed")
        whole = [call for call in (*self.in_hand, *self.early, *self.late) if call.sort.whole]
        longest_s = max((call.total_s for call in whole), default=0.0)
        if longest_s > PATIENCE_S + 3 * self.targets.total_s:
            found.append(f"a call took {longest_s:.1f} s")
        if self.amplified > self.bounds.amplified:
            found.append(f"amplified {self.amplified:.2f} times")
        return found


def failed(calls: Sequence[Call]) -> list[Call]:
    """Those that did not end well."""
    return [call for call in calls if not call.ok]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """`modgate serve`, and the file that it serves."""

    config: Path
    url: str
    admin: str
    keys: Mapping[str, str]

    async def commit(self, targets: Mapping[str, Targets]) -> str:
        """Write the targets into its file and make it read them; what was written."""
        lines = ""
        for model, each in targets.items():
            modality = "llm" if model == LLAMA else MODELS[model]
            lines += f"[slo.{TENANTS.get(model, TENANTS[''])}.{modality}]\n"
            for phase, seconds in (
                ("first_byte", each.first_byte_s),
                ("between", each.between_s),
                ("total", each.total_s),
            ):
                if seconds:
                    lines += f'{phase} = {{ base = "{1000 * seconds:.0f}ms" }}\n'
        text = self.config.read_text()
        for tenant in {TENANTS.get(model, TENANTS[""]) for model in targets}:
            text = text.replace(f"[tenant.{tenant}]\n", f'[tenant.{tenant}]\nslo = "{tenant}"\n')
        self.config.write_text(text + lines)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.admin}/admin/v1/reload") as reply,
        ):
            assert reply.status == 200, await reply.text()
        return lines


PROMISED = Bounds()


@asynccontextmanager
async def live_gateway(folder: Path, fleet: LiveFleet) -> AsyncIterator[Gateway]:
    """A process of its own; AssertionError when it does not start, or stop, as it should."""
    models = {name: modality for name, modality in MODELS.items() if name in fleet.models}
    if LLAMA in fleet.models:
        models[LLAMA] = "llm"
    config, named = configuration(
        folder,
        [post.backend() for post in fleet.posts],
        tenants=dict.fromkeys(TENANTS.values(), ""),
        models=models,
        more=f'[state]\ndirectory = "{folder / "state"}"\n[log]\nlevel = "warning"\n',
    )
    keys = {model: named[tenant] for model, tenant in TENANTS.items()}
    async with served(config) as running:
        yield Gateway(config=config, url=running.url, admin=running.admin, keys=keys)


async def live(
    fleet: LiveFleet,
    gateway: Gateway,
    sorts: Sequence[Sort],
    hows: Sequence[How],
    *,
    times: Times,
    seed: int,
    tell: Tell,
    bounds: Bounds = PROMISED,
) -> list[Row]:
    """Measure the healthy fleet, commit the targets, and let one engine of each pool go wrong in
    each of these ways; a row for each way and model.
    """
    rows: list[Row] = []
    async with Traffic(gateway.url, gateway.keys, sorts, seed=seed) as traffic:
        await asyncio.sleep(times.warm_s)
        since = time.monotonic()
        await asyncio.sleep(times.healthy_s)
        until = time.monotonic()
        await traffic.settled()
        healthy = traffic.between(since, until)
        targets = targets_of(healthy, bounds.times)
        tell(f"{len(healthy)} calls of the healthy fleet; committed, {bounds.times:g} x its p95:")
        tell(await gateway.commit(targets))
        for how in hows:
            before, until = fleet.asked(), time.monotonic()
            await asyncio.sleep(times.rest_s)
            calm = traffic.between(until, time.monotonic())
            kept = sum(call.kept(targets[call.sort.model]) for call in calm)
            share = 100 * kept / max(1, len(calm))
            tell(f"nothing wrong for {times.rest_s:g} s: {share:.1f} % of {len(calm)} in time")
            rows += await _fault(fleet, traffic, targets, how, before, times, bounds, tell)
    return rows


async def _fault(
    fleet: LiveFleet,
    traffic: Traffic,
    targets: Mapping[str, Targets],
    how: How,
    before: Mapping[str, int],
    times: Times,
    bounds: Bounds,
    tell: Tell,
) -> list[Row]:
    posts = fleet.busiest(before)
    began = time.monotonic()
    noticed, ended = began + NOTICED_S, began + times.fault_s
    await asyncio.gather(*(post.engine.go_wrong(how, post.spoiler) for post in posts))
    await asyncio.sleep(ended - time.monotonic())
    await asyncio.gather(*(post.engine.recover(post.spoiler) for post in posts))
    await traffic.settled()
    rows = []
    tell(HEADS.format(lag=1000 * traffic.lag_s(noticed, ended)))
    for post in posts:
        own = [call for call in traffic.calls if call.sort.model == post.model]
        late = [c for c in own if noticed <= c.record.began_at < ended]
        early = [c for c in own if began <= c.record.began_at < noticed]
        row = Row(
            how=how,
            model=post.model,
            engine=post.name,
            targets=targets[post.model],
            bounds=bounds,
            began=began,
            late=late,
            early=early,
            in_hand=[c for c in own if c.record.began_at < began <= c.record.ended_at],
            amplified=_amplified(fleet, late),
            amplified_early=_amplified(fleet, early),
        )
        tell(line_of(row))
        rows.append(row)
    return rows


def _amplified(fleet: LiveFleet, calls: Sequence[Call]) -> float:
    asked = fleet.asked_for([call.record.request_id or "" for call in calls])
    return asked / max(1, len(calls))


HEADS = (
    f"{'fault':<11}{'model':<9}{'engine':<15}{'calls':>6}{'kept %':>8}{'failed':>8}"
    f"{'engine calls':>14}  | in hand: {'calls':>5}{'failed':>8}"
    f"  | first 5 s: {'calls':>5}{'kept %':>8}{'failed':>8}{'engine calls':>14}"
    "  | the clients' own lag: {lag:.0f} ms"
)


def line_of(row: Row) -> str:
    """A row of the table."""
    early_kept = sum(call.kept(row.targets) for call in row.early)
    broken = row.broken()
    return (
        f"{row.how:<11}{row.model:<9}{row.engine:<15}{len(row.late):>6}"
        f"{100 * row.kept / max(1, len(row.late)):>8.1f}{len(failed(row.late)):>8}"
        f"{row.amplified:>13.2f}x  |          {len(row.in_hand):>5}{len(failed(row.in_hand)):>8}"
        f"  |            {len(row.early):>5}{100 * early_kept / max(1, len(row.early)):>8.1f}"
        f"{len(failed(row.early)):>8}{row.amplified_early:>13.2f}x"
        + (f"  BROKEN: {'; '.join(broken)}" if broken else "")
    )
