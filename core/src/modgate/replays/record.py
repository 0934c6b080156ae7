"""What is kept under an idempotency key: that it runs, or what came of it; and how it is written.

A record is a msgpack array: version, state, digest of the body, request id, and of what is done
the status, the headers and the body, where replies are kept.  A reader knows its own version and
the one before; what a newer gateway wrote counts as running, for it must not be done twice.

Source: wire.md 1.8, algorithms.md 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

VERSION = 1
READ = (1,)

State = Literal["running", "done"]
Wire = tuple[int, State, bytes, str, int, dict[str, str], bytes | None]

_NUMBER = msgspec.msgpack.Decoder(list[msgspec.Raw])
_WIRE = msgspec.msgpack.Decoder(Wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One key's state.

    `digest`: of the request's body.  `body`: of the reply; None where it is not kept.  `unknown`:
    written by a newer gateway.
    """

    state: State
    digest: bytes
    request_id: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    unknown: bool = False

    @property
    def size(self) -> int:
        """Bytes of the reply that it holds."""
        return len(self.body) if self.body is not None else 0

    def write(self) -> bytes:
        """As it lies in a store."""
        told = (self.state, self.digest, self.request_id, self.status, self.headers, self.body)
        return msgspec.msgpack.encode((VERSION, *told))


def read(raw: bytes) -> Record:
    """A record of a store; one that cannot be read is `unknown`, and running."""
    try:
        front = _NUMBER.decode(raw)
        if msgspec.msgpack.decode(front[0], type=int) not in READ:
            return Record(state="running", digest=b"", request_id="", unknown=True)
        _, state, digest, request_id, status, headers, body = _WIRE.decode(raw)
    except (msgspec.DecodeError, IndexError):
        return Record(state="running", digest=b"", request_id="", unknown=True)
    return Record(
        state=state,
        digest=digest,
        request_id=request_id,
        status=status,
        headers=headers,
        body=body,
    )
