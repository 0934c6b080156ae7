"""One call of a request, with all that must be known to send it somewhere."""

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
    """Where a call may go instead: see `fallback.Chain`."""

    def first(self, reason: Reason, fits: Callable[[str], bool]) -> str | None:
        """The first model that stands in for this reason, and fits."""
        ...


class Elsewhere(NoBackend):
    """The call is better made of another model, for whoever serves the request."""

    def __init__(self, model: str, reason: Reason) -> None:
        super().__init__(f"the model '{model}' stands in")
        self.model = model
        self.reason = reason


class Order(msgspec.Struct, eq=False, kw_only=True):
    """One call of one request, with all that dispatch must know of both.

    `members`: of a merged call, the orders that share it, this one's own first.  `tries`: attempts
    that went out, `failures`: how they failed, `tried`: backends that failed it, or to which it
    cannot be said.  `met`: how an engine failed it last.  `waited_s`: since when it waited for a
    slot, in seconds since the request began.  `chain`: models that may stand in, as long as nothing
    of the request went out.
    """

    index: int
    call: Call
    model: Model
    modality: AnyModality
    draft: Draft
    asked: str
    batch: Batching | None = None
    members: Sequence[Order] = ()
    tried: set[str] = set()
    tries: int = 0
    failures: Sequence[Failure] = ()
    met: GatewayError | None = None
    waited_s: float | None = None
    chain: Way | None = None

    @property
    def each(self) -> Sequence[Order]:
        """The orders that this call is sent for."""
        return self.members or (self,)

    @property
    def alone(self) -> bool:
        """Whether no other model may serve the request in this one's place."""
        return self.chain is None and "fallback_for" not in self.draft.notes

    @property
    def caller(self) -> Caller:
        """Whose call it is."""
        return self.draft.caller

    def failed(
        self, error: GatewayError | Unsupported, failure: Failure, backends: Collection[str]
    ) -> None:
        """An attempt at one of these backends failed so; another would, at each."""
        self.failures = (*self.failures, failure)
        if failure != "final":
            self.tried.update(backends)
            self.met = error if isinstance(error, GatewayError) else self.met

    def final_error(self, error: GatewayError | Unsupported) -> GatewayError | Unsupported:
        """The error that a call ends with whose last attempt ended with this one.

        Unsupported does not hide how an engine failed before; where none did, a client gets it as
        Refused, and a plugin that asked gets it as it is.
        """
        if not isinstance(error, Unsupported):
            return error
        return self.met or (error if self.index < 0 else refused(error))

    @property
    def wanted(self) -> Wanted:
        """What the pick must know, but for its work."""
        return Wanted(
            regions=self.caller.policy.regions,
            requires=self.call.requires,
            tried=frozenset(self.tried) if self.tried else NONE_TRIED,
        )

    def batch_key(self) -> Hashable | None:
        """Calls of equal keys may share a trip: one model, one tenant, the plugin's own key.

        None = it goes alone; so does a call that is tried once more, for it must go elsewhere.
        """
        key = self.batch.key(self.call) if self.batch is not None and not self.tried else None
        if key is None:
            return None
        hash(key)  # here, where it is this call's fault alone, and it has no slot
        return (self.model.name, self.call.requires, batch_group(self.caller), key)


def refused(error: Unsupported) -> Refused:
    """What a dialect cannot say, as the client is told it."""
    return Refused(error.field, "unsupported_value", str(error))


def batch_group(caller: Caller) -> Hashable:
    """Callers of one group may share a trip: of one tenant, or of tenants that agreed to share.

    Never callers of different regions.
    """
    return ("" if caller.policy.batch_shared else caller.tenant, caller.policy.regions)
