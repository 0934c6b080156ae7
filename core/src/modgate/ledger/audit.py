"""The audit log: who changed what, and how many requests were denied.

It is made of the ledger's frames and segments, in a directory of its own and under its own key.
There are two chains, so that a flood of denied requests cannot push out who changed what.  Both are
bounded on disk; their oldest segments go first, and the chain says that they went.  Denied requests
are counted by tenant and reason, and written once a minute, so a flood becomes a few records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from modgate.api.secret import Secret
from modgate.api.sink import Receipt
from modgate.clock import Clock
from modgate.ledger.frames import Kind, Tampered, Torn
from modgate.ledger.policy import LedgerPolicy
from modgate.ledger.records import Audited
from modgate.ledger.segments import frames_of, segments
from modgate.ledger.writer import Ledger

AuditChain = Literal["changes", "denied"]
CHAINS: tuple[AuditChain, ...] = ("changes", "denied")
SEGMENTS = 8  # that a full chain has: what is dropped at once is an eighth of it
FLUSH_S = 60.0
REASONS_AT_MOST = 256
OTHER = ("other", "other")  # tenant and reason of what comes when there are so many
DENIED = frozenset({401, 403, 429})
INVISIBLE = "model_not_found"  # what a caller is told of a model that it may not see


class Audit:
    """Writes both chains.  Tampered when somebody else changed one of them.

    `max_bytes`: what both may take on disk together.  `anchor`: each chain has the file
    `ANCHOR.NAME`.  `epoch`: the number of the last change that came from a key store.
    """

    def __init__(
        self,
        directory: Path,
        key: Secret,
        clock: Clock,
        *,
        max_bytes: int,
        anchor: Path | None = None,
    ) -> None:
        self._clock = clock
        self._since = clock.wall()
        self._counts: dict[tuple[str, str], int] = {}
        self._chains: dict[AuditChain, Ledger] = {}
        self.epoch = _last_epoch(directory)
        share = max_bytes // len(CHAINS)
        policy = LedgerPolicy(
            segment_bytes=max(1, share // SEGMENTS),
            max_bytes=share,
            on_full="drop-oldest",
            anchor=anchor,
        )
        try:
            for name in CHAINS:
                self._chains[name] = Ledger(
                    directory,
                    key,
                    clock,
                    policy,
                    name="audit",
                    worker=name,
                )
        except BaseException:
            self.close()
            raise

    def changed(
        self,
        action: str,
        *,
        actor: str,
        subject: str = "",
        detail: str = "",
        epoch: int = 0,
        wall: float | None = None,
    ) -> None:
        """Somebody changed something.

        `action`, `actor`, `subject`, `detail`: as `Audited` has them.  `epoch`: the number that a
        key store gave the change, 0 without one.  `wall`: when; None is now.
        """
        record = Audited(
            wall=self._clock.wall() if wall is None else wall,
            action=action,
            actor=actor,
            subject=subject,
            detail=detail,
            epoch=epoch,
        )
        self._chains["changes"].audited(record)
        self.epoch = epoch or self.epoch

    def saw(self, receipt: Receipt) -> None:
        """A request has ended: count it if it was denied, by the gateway or by a policy."""
        if receipt.status < 400:
            return
        if receipt.status in DENIED or receipt.error == INVISIBLE:
            self.denied(receipt.tenant, receipt.error)
            return
        for ruling in receipt.rulings:
            if ruling.verdict == "deny" and not ruling.shadow:
                self.denied(receipt.tenant, ruling.code)

    def denied(self, tenant: str, reason: str) -> None:
        """Count one request that was denied, under the reason's code."""
        at = (tenant, reason)
        if at not in self._counts and len(self._counts) >= REASONS_AT_MOST:
            at = OTHER
        self._counts[at] = self._counts.get(at, 0) + 1

    def flush(self, *, at_once: bool = False) -> None:
        """Write what was counted, once a minute.  `at_once`: before the minute is over."""
        now = self._clock.wall()
        if not at_once and 0 <= now - self._since < FLUSH_S:
            return
        counts, self._counts = self._counts, {}
        for (tenant, reason), count in sorted(counts.items()):
            record = Audited(
                wall=now,
                action="denied",
                tenant=tenant,
                subject=reason,
                count=count,
                since=self._since,
            )
            self._chains["denied"].audited(record)
        self._since = now

    def close(self) -> None:
        """Write what was counted, and close both chains; a second time does nothing."""
        if len(self._chains) == len(CHAINS):
            self.flush(at_once=True)
        for chain in self._chains.values():
            chain.close()
        self._chains.clear()


def _last_epoch(directory: Path) -> int:
    """The epoch of the last change that came from a key store; 0 when there was none."""
    for path in reversed(list(segments(directory, "changes").values())):
        try:
            found = [
                msgspec.msgpack.decode(frame.payload, type=Audited).epoch
                for _, frame in frames_of(path, None)
                if frame.kind is Kind.AUDIT
            ]
        except (Torn, Tampered):
            found = []
        if last := [epoch for epoch in found if epoch]:
            return last[-1]
    return 0
