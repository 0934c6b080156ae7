"""The levels in memory against the store's script, transcribed here on its own.

`Script` follows the script of algorithms.md, appendix A, line by line over a small imitation of the
store: strings, hashes, one sorted set, expiry.  It shares no code with `Levels`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from modgate.limits.levels import Levels, Limit

Hash = dict[str, int | str]


@dataclass
class Script:
    hashes: dict[str, Hash] = field(default_factory=dict)
    strings: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    expiry: dict[str, int] = field(default_factory=dict)
    real: int = 0

    def at(self, now: int) -> None:
        self.real = max(self.real, now)
        for key in [key for key, when in self.expiry.items() if when <= self.real]:
            self.delete(key)

    def delete(self, key: str) -> None:
        self.hashes.pop(key, None)
        self.strings.pop(key, None)
        self.expiry.pop(key, None)

    def level(self, key: str, kind: str, lim: int, now: int) -> tuple[int, int]:
        if kind == "b":
            found = self.hashes.get(key, {})
            level, t = int(found.get("l", 0)), int(found.get("t", now))
            level -= max(0, now - t) * lim
            return max(0, level), max(t, now)
        return self.strings.get(key, 0), now

    def store(self, key: str, kind: str, lim: int, per: int, level: int, t: int) -> None:
        if kind == "b":
            if level <= 0:
                self.delete(key)
            else:
                self.hashes[key] = {"l": level, "t": t}
                self.expiry[key] = self.real + -(-level // lim) + 1000
        elif kind == "w":
            self.strings[key] = level
            self.expiry[key] = per + 172_800_000
        elif level <= 0:
            self.delete(key)
        else:
            self.strings[key] = level

    def apply(self, key: str, kind: str, lim: int, per: int, delta: int, now: int) -> None:
        if delta == 0:
            return
        level, t = self.level(key, kind, lim, now)
        level += delta * per if kind == "b" else delta
        self.store(key, kind, lim, per, max(0, level), t)

    def wait(self, limit: Limit, level: int, c: int, now: int) -> int:
        if limit.kind == "b":
            over = level + c * limit.period_ms - limit.burst * limit.period_ms
            return -(-over // limit.amount) if over > 0 else 0
        if level + c <= limit.amount:
            return 0
        return max(1, limit.period_ms - now) if limit.kind == "w" else 1000

    def reserve(
        self, rid: str, limits: list[tuple[Limit, int]], now: int, ttl: int
    ) -> tuple[int, int] | None:
        self.at(now)
        if rid in self.hashes:
            return None
        wait, worst, taken = 0, 0, []
        for i, (limit, c) in enumerate(limits):
            level, t = self.level(limit.key, limit.kind, limit.amount, now)
            if limit.kind == "b":
                c = min(c, limit.burst)
            if (w := self.wait(limit, level, c, now)) > wait:
                wait, worst = w, i
            taken.append((level, t, c))
        if wait > 0:
            return wait, worst
        record: Hash = {"s": "o", "e": now + ttl, "n": len(limits)}
        for i, ((limit, _), (level, t, c)) in enumerate(zip(limits, taken, strict=True)):
            if c > 0:
                after = level + c * limit.period_ms if limit.kind == "b" else level + c
                self.store(limit.key, limit.kind, limit.amount, limit.period_ms, after, t)
            record[f"k{i}"] = f"{limit.key}|{limit.kind}|{limit.amount}|{limit.period_ms}"
            record[f"c{i}"], record[f"m{i}"] = c, 0
        self.hashes[rid] = record
        self.expiry[rid] = self.real + ttl + 600_000
        self.late[rid] = now + ttl
        return None

    def close(self, rid: str, actual: list[int] | None, now: int) -> None:
        record = self.hashes[rid]
        for i in range(int(record["n"])):
            key, kind, lim, per = str(record[f"k{i}"]).split("|")
            a = int(record[f"m{i}"]) if actual is None else actual[i]
            if kind == "c":
                a = 0
            self.apply(key, kind, int(lim), int(per), a - int(record[f"c{i}"]), now)
            record[f"c{i}"] = a

    def settle(self, rid: str, actual: list[int], now: int) -> bool:
        self.at(now)
        record = self.hashes.get(rid)
        if record is None or record["s"] == "f":
            return False
        self.close(rid, actual, now)
        record["s"] = "f"
        self.expiry[rid] = self.real + 600_000
        self.late.pop(rid, None)
        return True

    def touch(self, rid: str, measured: list[int], now: int, ttl: int) -> bool:
        self.at(now)
        record = self.hashes.get(rid)
        if record is None or record["s"] != "o":
            return False
        for i, value in enumerate(measured):
            record[f"m{i}"] = value
        record["e"] = self.late[rid] = now + ttl
        self.expiry[rid] = self.real + ttl + 600_000
        return True

    def reap(self, now: int) -> int:
        self.at(now)
        due = sorted((when, rid) for rid, when in self.late.items() if when <= now)
        for _, rid in due:
            if self.hashes[rid]["s"] == "o":
                self.close(rid, None, now)
                self.hashes[rid]["s"] = "r"
                self.expiry[rid] = self.real + 600_000
            del self.late[rid]
        return len(due)


LIMITS = (
    Limit(key="b1", kind="b", amount=20, period_ms=1_000, burst=20),
    Limit(key="b2", kind="b", amount=700, period_ms=60_000, burst=700),
    Limit(key="b3", kind="b", amount=7, period_ms=3_600_000, burst=7),
    Limit(key="w1", kind="w", amount=900, period_ms=400_000),
    Limit(key="w2", kind="w", amount=100_000, period_ms=2_000_000),
    Limit(key="c1", kind="c", amount=5),
)
TTL = 30_000


class Pair:
    """Both, driven by one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.levels, self.script = Levels(), Script()
        self.now = 0
        self.made: dict[str, tuple[int, int]] = {}  # id -> when, how many limits
        self.seen: set[str] = set()

    def rid(self) -> str:
        """One of the last fifty, or one that nobody knows."""
        recent = [rid for rid, (at, _) in self.made.items() if self.now - at < 500_000][-50:]
        return self.random.choice(recent) if recent else "nobody"

    def numbers(self, rid: str) -> list[int]:
        return [self.random.randrange(60) for _ in range(self.made.get(rid, (0, 1))[1])]

    def step(self, index: int) -> None:
        draw = self.random.random()
        gap = self.random.choice((0, 1, 40, 300, 2_000))
        self.now = max(0, self.now + (gap if draw < 0.93 else -self.random.randrange(500)))
        kind = self.random.choices(("reserve", "again", "settle", "touch", "reap"), (5, 1, 4, 2, 1))
        getattr(self, kind[0])(index)
        for limit in LIMITS:
            expected, _ = self.script.level(limit.key, limit.kind, limit.amount, self.now)
            assert self.levels.level(limit, self.now) == expected, (index, kind, limit.key)
        self.seen.add(kind[0])

    def reserve(self, index: int) -> None:
        limits = self.random.sample(LIMITS, self.random.randrange(1, len(LIMITS)))
        wanted = [
            (limit, 1 if limit.kind == "c" else self.random.randrange(limit.amount // 6 + 2))
            for limit in limits
        ]
        rid = f"r{index}"
        denied = self.levels.reserve(rid, wanted, self.now, TTL)
        expected = self.script.reserve(rid, wanted, self.now, TTL)
        assert (denied and (denied.wait_ms, denied.index)) == expected
        if denied is None:
            self.made[rid] = (self.now, len(limits))
        self.seen.add("denied" if denied else "granted")

    def again(self, index: int) -> None:
        del index
        if (rid := self.rid()) != "nobody":
            wanted = [(LIMITS[0], 1)]
            assert self.levels.reserve(rid, wanted, self.now, TTL) is None
            assert self.script.reserve(rid, wanted, self.now, TTL) is None

    def settle(self, index: int) -> None:
        del index
        rid = self.rid()
        actual = self.numbers(rid)
        done = self.levels.settle(rid, actual, self.now)
        assert done == self.script.settle(rid, actual, self.now)
        self.seen.add("settled" if done else "settled before")

    def touch(self, index: int) -> None:
        del index
        rid = self.rid()
        measured = self.numbers(rid)
        expected = self.script.touch(rid, measured, self.now, TTL)
        assert self.levels.touch(rid, measured, self.now, TTL) == expected

    def reap(self, index: int) -> None:
        del index
        reaped = self.script.reap(self.now)
        assert self.levels.reap(self.now, at_most=10_000) == reaped
        self.seen.add("reaped" if reaped else "nothing to reap")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_operations_find_no_difference(seed: int) -> None:
    pair = Pair(seed)
    for index in range(10_000):
        pair.step(index)

    assert pair.seen >= {"granted", "denied", "settled", "settled before", "reaped", "touch"}
