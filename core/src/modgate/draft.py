"""What is known of a request while it lives; its receipt is made of that at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import inf

import msgspec

from modgate.api.auth import Caller
from modgate.api.residency import sorted_regions
from modgate.api.sink import Ending, Receipt, Ruling, Step
from modgate.errors import GatewayError
from modgate.fleet.lease import Lease
from modgate.fleet.waiting import Due
from modgate.ledger.records import RECORD_VERSION, Opened
from modgate.limits.headers import RateView
from modgate.observe.tracing import Trace
from modgate.tries import Missed, Try
from modgate.units import NOTHING, Units

NOBODY = Caller(tenant="", key_id="")
ATTEMPTS_AT_MOST = 4096
ATTEMPT = "x-modgate-attempt"
DRY_RUN = "x-modgate-dry-run"
MODEL = "x-modgate-model"
NO = ("", "0", "false")  # any other value means a dry run: in doubt nothing is billed
SDK_RETRY = "x-stainless-retry-count"
MISSED_AT_MOST = 8


class Draft(msgspec.Struct, kw_only=True, eq=False):
    """One request's receipt in the making: whoever learns something of the request writes it here.

    Each group of members is written by the owner that its comment names, and by nobody else; all
    may read it.  In the end the trails keep it (`explain/trails.py`), without `request_headers` and
    `dues`.

    `began`: when it did, by `now`; `wall`: the same in epoch seconds.  `due_s`: its deadline, in
    seconds since it began; `heard_s`: when its body had come, in the same.  `reserved`: by full
    unit name; `owed`: its bill, should the gateway die, where that is not what its open frame
    reserved.  `opened`: the ledger has its open frame, which says the region `opened_in`.
    `abandoned`: its client left, and its engines finish.  `rates`: the caller's limits when the
    reply's headers were made.  `missed`: the first calls that found no slot at once.  `dues`: of
    the calls that waited, what the fair queue counted.  `waits`: by call that waits for a slot or
    an engine, what makes the error of having waited in vain.
    """

    # from its first header on
    request_id: str
    trace: Trace
    now: Callable[[], float]
    began: float
    wall: float
    entropy: Callable[[int], bytes] = os.urandom
    method: str = ""
    request_headers: Mapping[str, str] = {}

    # Exchange: route, authenticate, body.  A policy narrows the caller (Judge).
    route: str = ""
    client: str = ""
    client_request_id: str = ""
    caller: Caller = NOBODY
    heard_s: float = 0.0

    # Serving, once for each model that it is served as; `fallback.along` puts `model` back
    modality: str = ""
    model: str = ""
    operation: str = ""
    surface: str = ""
    demo: bool = False
    stream: bool = False
    due_s: float = inf

    # Trips: other models that its plugin asked, or its plan calls
    beside: set[str] = set()

    # Judge: one of each policy that was asked
    rulings: tuple[Ruling, ...] = ()

    # Bill: admit, reserve, headers.  At the end of a dry run `admitted` is taken back.
    admitted: bool = False
    reserved: dict[str, int] = {}
    owed: Mapping[str, int] = {}
    rates: Sequence[RateView] = ()

    # State.opened, before a call is sent; Bill.take_back, for another model has a frame of its own
    opened: bool = False
    opened_in: str = ""

    # Leasing, for calls that find no slot at once
    missed: tuple[Missed, ...] = ()
    dues: list[Due] | None = None

    # Leasing; Retrying, while a call waits for its model to be loaded
    waits: dict[int, Callable[[], GatewayError]] = {}

    # Dispatch begins them (`attempt`); what becomes of one is written by whoever carries it
    tries: list[Try] = []
    _last: dict[int, Try] = {}

    # Responder: when the reply begins
    first_byte_s: float | None = None
    reply_headers: Mapping[str, str] | None = None

    # disconnect.py, where the client leaves
    abandoned: bool = False
    discarded_bytes: int = 0

    # anybody: a step when it ends (`step`), and notes, each under a name of its owner's
    steps: list[Step] = []
    notes: dict[str, str] = {}

    @property
    def begun(self) -> bool:
        """Whether an engine was asked for a part of the reply; side calls do not count."""
        return any(tried.call >= 0 for tried in self.tries)

    def elapsed(self) -> float:
        """Seconds since the request began."""
        return self.now() - self.began

    def step(self, name: str, began_s: float) -> None:
        """Note a step that ends now; bounded, because each call of a fan-out may have one."""
        if len(self.steps) < ATTEMPTS_AT_MOST:
            self.steps.append(Step(name=name, began_s=began_s, ended_s=self.elapsed()))

    def attempt(self, index: int, model: str, lease: Lease, size: Units = NOTHING) -> Try:
        """A new attempt of call `index`."""
        backend = lease.backend
        tried = Try(
            call=index,
            backend=backend.name,
            region=backend.region,
            family=backend.family,
            model=model,
            span=self.entropy(8).hex(),
            now=self.now,
            zero=self.began,
            began_s=self.elapsed(),
            size=size,
            wanted=lease.wanted,
            choice=lease.choice,
            promise=lease.promise,
        )
        self._last[index] = tried
        if len(self.tries) < ATTEMPTS_AT_MOST:
            self.tries.append(tried)
        return tried

    def last_try(self, index: int) -> Try | None:
        """The newest attempt of a call."""
        return self._last.get(index)

    def region(self) -> str:
        """The region of its calls, by each call's last attempt; '' where they are in several.

        Side calls count as long as there is no other call.  Of a request that went on as another
        model only the calls since then count.
        """
        if len(self.tries) == 1:  # the result is the same without this
            return self.tries[0].region
        own = [tried for tried in self.tries if tried.call >= 0] or self.tries
        if "fallback_for" in self.notes:
            firsts = (at for at, t in enumerate(own) if (t.call, t.model) == (0, self.model))
            own = own[next(firsts, 0) :]
        regions = set({tried.call: tried.region for tried in own}.values())
        return regions.pop() if len(regions) == 1 else ""

    @property
    def left_s(self) -> float:
        """Seconds until its deadline."""
        return self.due_s - self.elapsed()

    @property
    def dry(self) -> bool:
        """Whether it is a dry run (`dry_run.py`)."""
        return self.request_headers.get(DRY_RUN, "").lower() not in NO

    @property
    def named(self) -> str:
        """The model that a header names before the body does; '' = none."""
        return self.request_headers.get(MODEL, "")

    @property
    def behind_gateway(self) -> bool:
        """Whether another gateway sent it, which does its own retries."""
        count = self.request_headers.get(ATTEMPT, "")
        return count.isdecimal() and int(count[:9]) > 0

    def opening(self) -> Opened:
        """The ledger's first record of it, as things stand."""
        caller, noted = self.caller, self.notes.get
        return Opened(  # by position: by name it takes several times as long
            RECORD_VERSION,
            self.request_id,
            self.wall,
            caller.tenant,
            caller.key_id,
            self.model,
            self.modality,
            caller.policy.slo,
            self.reserved,
            None,
            self.opened_in,
            noted("fallback_for", ""),
            noted("fallback_on", ""),
            sorted_regions(caller.policy.regions),
        )

    def receipt(
        self,
        *,
        ending: Ending,
        status: int,
        units: Mapping[str, int],
        exact: bool,
        measured_by: str,
        error: GatewayError | None,
    ) -> Receipt:
        """The receipt; called once, when everything has ended."""
        caller, operation, trace = self.caller, self.operation, self.trace
        retry = self.request_headers.get(SDK_RETRY, "0")
        if retry != "0" and retry.isdecimal():  # an SDK sends the request again
            self.notes["client_retry"] = retry[:4]
        return Receipt(  # by position: by name it takes seven times as long
            self.request_id,
            self.wall,
            self.elapsed(),
            ending,
            status,
            caller.tenant,
            caller.key_id,
            self.method,
            self.route,
            operation,
            self.modality,
            self.model,
            self.surface,
            caller.policy.slo,
            self.stream,
            str(error.code) if error is not None else "",
            units,
            self.reserved,
            exact,
            measured_by,
            tuple([tried.record(operation) for tried in self.tries]),
            tuple(self.steps),
            self.first_byte_s,
            self.admitted,
            trace.trace_id,
            trace.span_id,
            trace.parent or "",
            trace.sampled,
            self.client_request_id,
            self.client,
            self.notes,
            self.rulings,
            caller.policy.regions,
        )
