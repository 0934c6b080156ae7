"""What is kept under an idempotency key: that it runs, or what came of it; and how it is written.

A record is a msgpack array: version, state, digest of the body, request id, and of what is done
the status, the headers, the body, where replies are kept, and from version 2 on `beside`.  A reader
knows its own version and the one before; what a newer gateway wrote counts as running, for it must
not be done twice.

Source: wire.md 1.8, algorithms.md 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

VERSION = 2

State = Literal["running", "done"]
Wire = tuple[int, State, bytes, str, int, dict[str, str], bytes | None]
Wire2 = tuple[int, State, bytes, str, int, dict[str, str], bytes | None, tuple[str, ...]]

_NUMBER = msgspec.msgpack.Decoder(list[msgspec.Raw])
_WIRES = {1: msgspec.msgpack.Decoder(Wire), 2: msgspec.msgpack.Decoder(Wire2)}
READ = tuple(_WIRES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One key's state.

    `digest`: of the request's body.  `body`: of the reply; None where it is not kept.  `beside`:
    other models that had a part in it.  `unknown`: written by a newer gateway.
    """

    state: State
    digest: bytes
    request_id: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    beside: tuple[str, ...] = ()
    unknown: bool = False

    @property
    def size(self) -> int:
        """Bytes of the reply that it holds."""
        return len(self.body) if self.body is not None else 0

    def write(self) -> bytes:
        """As it lies in a store."""
        told = (self.state, self.digest, self.request_id, self.status, self.headers, self.body)
        return msgspec.msgpack.encode((VERSION, *told, self.beside))


def read(raw: bytes) -> Record:
    """A record of a store; one that cannot be read is `unknown`, and running."""
    try:
        front = _NUMBER.decode(raw)
        wire = _WIRES.get(msgspec.msgpack.decode(front[0], type=int))
        if wire is None:
            return Record(state="running", digest=b"", request_id="", unknown=True)
        _, state, digest, request_id, status, headers, body, *more = wire.decode(raw)
    except (msgspec.DecodeError, IndexError):
        return Record(state="running", digest=b"", request_id="", unknown=True)
    return Record(
        state=state,
        digest=digest,
        request_id=request_id,
        status=status,
        headers=headers,
        body=body,
        beside=more[0] if more else (),
    )
