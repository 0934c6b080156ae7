"""Failed attempts to get in, counted by address and by key id.

A count never refuses a good key: it only decides what a bad one is told, and what it may cost.
An attacker behind the proxy of good tenants, or one who knows a key's id, locks nobody out.
Source: algorithms.md 9 (20 a minute).
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

BURST = 20
PER_S = 20 / 60
COUNTED_AT_MOST = 10_000
BAD_S = 5.0
BAD_AT_MOST = 10_000


class Bucket:
    """Failures by name; bounded: the name that failed longest ago is forgotten first."""

    def __init__(self) -> None:
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """Seconds until `name` may fail once more; 0 when it may now."""
        return max(0.0, (self._level(name, now) - BURST + 1) / PER_S)

    def count(self, name: str, now: float) -> None:
        """One more failure; a full bucket stays full, so it clears in the same time for all."""
        level = min(float(BURST), self._level(name, now) + 1)
        self._spent[name] = (level, now)
        self._spent.move_to_end(name)
        if len(self._spent) > COUNTED_AT_MOST:
            self._spent.popitem(last=False)

    def _level(self, name: str, now: float) -> float:
        level, at = self._spent.get(name, (0.0, now))
        return max(0.0, level - (now - at) * PER_S)

    def __len__(self) -> int:
        return len(self._spent)


class Attempts:
    """Both counts, and the keys that were found bad a moment ago (by SHA-256 of the whole key)."""

    def __init__(self) -> None:
        self.addresses = Bucket()
        self.key_ids = Bucket()
        self._bad: OrderedDict[bytes, float] = OrderedDict()

    def failed(self, address: str, key_id: str, mark: bytes, now: float) -> float:
        """Count a failure; the answer is how long its sender must wait, 0 while it may fail on.

        A key that was known to be bad is not found bad anew: else one that has become good stays
        out for as long as it keeps coming.
        `key_id`: of a key that exists, else "": ids that somebody made up would push out others.
        """
        where = network_of(address)
        wait_s = max(self.addresses.wait_s(where, now), self.key_ids.wait_s(key_id, now))
        self.addresses.count(where, now)
        if key_id:
            self.key_ids.count(key_id, now)
        if not self.known_bad(mark, now):
            self._bad[mark] = now + BAD_S
            self._bad.move_to_end(mark)
            if len(self._bad) > BAD_AT_MOST:
                self._bad.popitem(last=False)
        return wait_s

    def spent(self, address: str, now: float) -> bool:
        """Whether this address has failed too often: what cannot be good is then not looked at."""
        return self.addresses.wait_s(network_of(address), now) > 0

    def known_bad(self, mark: bytes, now: float) -> bool:
        """Whether this key was found bad within the last five seconds."""
        return self._bad.get(mark, 0.0) > now

    def forget_bad(self) -> None:
        """Keys were made or changed: what was bad may be good."""
        self._bad.clear()


def network_of(address: str) -> str:
    """Whom an address belongs to: itself, or the /64 of an IPv6 one, which is one customer's."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
