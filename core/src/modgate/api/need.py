"""What `shape` may ask of the core.

A plugin does no I/O: it yields a Need and is sent the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from modgate.api.json import Json
from modgate.api.plan import Call

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Get a file from a client's URL through the core's guard; the answer is a `File`.

    `kinds`: the formats that may come, by magic bytes: `image`, `audio`, `pdf`, or one by its name
    as `png`; empty: any, as for text, which has no magic bytes.  `field` is named in errors.
    """

    url: str
    at_most: int
    kinds: frozenset[str] = frozenset()
    field: str | None = None


class Work:
    """Run a module-level function in a killable decoder process; the answer is what it returned.

    Arguments and answer are plain values (msgpack, an answer of at most 1 MiB); a `File` among the
    arguments arrives as an open binary file.  A function with a parameter `spool` may write big
    results: `spool(data)` answers a token, which arrives here as a `File`.  An exception with the
    attributes `field`, `code` and `reason` comes out in `shape` as Refused; out of memory, CPU or
    time, a crash, or any other exception is Refused `undecodable` naming `field`.
    """

    __slots__ = ("args", "field", "function")

    def __init__(
        self, function: Callable[..., Json], *args: object, field: str | None = None
    ) -> None:
        self.function = function
        self.args = args
        self.field = field


@dataclass(frozen=True, slots=True)
class Ask:
    """Call engines before there is a plan; the answer is the list of whole replies (Event), in call
    order.

    Each call is reserved, queued, dispatched, retried and billed like any other, and stays billed
    when the request is refused later.  A failure is thrown into `shape` as the GatewayError; so is
    an answer of more than 8 MiB, for all of them are held until the last has come.
    """

    calls: Sequence[Call]
    width: int = field(default=1, kw_only=True)


Need = Fetch | Work | Ask
