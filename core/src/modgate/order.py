"""One call of a request, with all that leasing and dispatch must know of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Protocol

import msgspec

from modgate.api.auth import Caller
from modgate.api.modality import AnyModality, Batching
from modgate.api.model import Model
from modgate.api.plan import Call
from modgate.api.select import Reason
from modgate.draft import Draft
from modgate.errors import GatewayError, NoBackend, Refused, Unsupported
from modgate.fleet.pick import Wanted
from modgate.retry import Failure

NONE_TRIED: frozenset[str] = frozenset()


class Way(Protocol):
    """The models that a call may go to instead: a `fallback.Chain`."""

    def first(self, reason: Reason, fits: Callable[[str], bool]) -> str | None:
        """The first model that stands in for this reason and fits."""
        ...


class Elsewhere(NoBackend):
    """Another model should serve the request; raised for `fallback.along`."""

    def __init__(self, model: str, reason: Reason) -> None:
        super().__init__(f"the model '{model}' stands in")
        self.model = model
        self.reason = reason


class Order(msgspec.Struct, eq=False, kw_only=True):
    """One call, its request, and what became of its attempts.

    `index`: in the plan; below 0 for a side call.  `asked`: the model's name as it was asked for.
    `members`: of a merged call, the orders that share it, the first one's own included.
    `earned`: it added its part of a retry to its pool.
    `attempts`: how many went out; `failures`: how they failed; `tried`: backends that failed it, or
    whose dialect cannot say it.  `engine_error`: the last one that an engine failed it with.
    `waits_since_s`: when it began to wait for a slot, in seconds since the request began.  `chain`:
    models that may stand in for its own, before anything was sent.
    """

    # Trips, and Batcher for a merged call
    index: int
    call: Call
    model: Model
    modality: AnyModality
    draft: Draft
    asked: str
    batch: Batching | None = None
    chain: Way | None = None
    members: Sequence[Order] = ()

    # Leasing
    waits_since_s: float | None = None

    # Dispatch counts the attempts, Retrying says how they `failed`
    attempts: int = 0
    failures: Sequence[Failure] = ()
    tried: set[str] = set()
    engine_error: GatewayError | None = None
    earned: bool = False

    @property
    def each(self) -> Sequence[Order]:
        """The orders that one trip of this order serves."""
        return self.members or (self,)

    @property
    def alone(self) -> bool:
        """Whether no other model may stand in."""
        return self.chain is None and "fallback_for" not in self.draft.notes

    @property
    def caller(self) -> Caller:
        """Whose call it is."""
        return self.draft.caller

    def begin_again(self) -> None:
        """It goes out as another call than before: its attempts are counted from none."""
        self.attempts, self.failures = 0, ()

    def failed(
        self, error: GatewayError | Unsupported, failure: Failure, backends: Collection[str]
    ) -> None:
        """Note a failed attempt; at each of `backends` it would fail in the same way."""
        self.failures = (*self.failures, failure)
        if failure != "final":
            self.tried.update(backends)
            if isinstance(error, GatewayError):
                self.engine_error = error

    def final_error(self, error: GatewayError | Unsupported) -> GatewayError | Unsupported:
        """The error that the call ends with, when `error` ended its last attempt.

        An engine's failure before counts more than Unsupported.  Where there was none, a client is
        told Unsupported as Refused, and a plugin whose side call it is gets it as it is.
        """
        if not isinstance(error, Unsupported):
            return error
        return self.engine_error or (error if self.index < 0 else refused(error))

    def new_wanted(self) -> Wanted:
        """What a backend must have for it; its work and its promise are not filled in yet."""
        return Wanted(
            regions=self.draft.caller.policy.regions,
            requires=self.call.requires,
            tried=frozenset(self.tried) if self.tried else NONE_TRIED,
        )

    def batch_key(self) -> Hashable | None:
        """Calls of equal keys may share a trip: same model and tenant, and the plugin's own key.

        None: it goes alone, as does a call that is retried, which must go to another backend.
        """
        key = self.batch.key(self.call) if self.batch is not None and not self.tried else None
        if key is None:
            return None
        hash(key)  # an unhashable key must fail here: it is this call's fault, and no slot is taken
        return (self.model.name, self.call.requires, batch_group(self.caller), key)


def refused(error: Unsupported) -> Refused:
    """How a client is told of what a dialect cannot say."""
    return Refused(error.field, "unsupported_value", str(error))


def batch_group(caller: Caller) -> Hashable:
    """Callers of one group may share a trip: one tenant's, or those of tenants that agreed to it.

    Callers with different regions never do.
    """
    return ("" if caller.policy.batch_shared else caller.tenant, caller.policy.regions)
