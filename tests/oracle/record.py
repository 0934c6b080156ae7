"""What the engine remembers of one upstream request: what it was sent, what it wrote, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from oracle.faults import FaultKind, Script
from oracle.framing import FramingError, Head, Part, read_multipart
from oracle.words import Modality, add, members

Stage = Literal["arrived", "headers", "piece", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request body, parsed as its content type says.

    `json` of an object; `parts` of a form; `raw` of anything else.
    """

    json: Mapping[str, object] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    raw: bytes = field(default=b"", repr=False)
    broken: str = ""

    def field(self, name: str) -> str | None:
        """A form field's value, also when it was sent as `name[]`."""
        for part in self.parts:
            if part.filename is None and part.name in (name, f"{name}[]"):
                return part.text
        return None

    def file(self, *names: str) -> bytes | None:
        """The bytes of the first file part with one of these names; of any name if none given."""
        for part in self.parts:
            if part.filename is not None and (not names or part.name in names):
                return part.data
        return None


def parse(head: Head, body: bytes) -> Asked:
    """The body as its content type says; what is broken is said in `broken`, never raised."""
    kind = head.headers.get("content-type", "")
    try:
        if kind.startswith("multipart/form-data"):
            return Asked(parts=tuple(read_multipart(body, kind)))
        if kind.startswith("application/json"):
            return Asked(json=members(json.loads(body)))
    except (FramingError, ValueError) as error:
        return Asked(raw=body, broken=str(error))
    return Asked(raw=body)


@dataclass(slots=True, kw_only=True)
class Record:
    """One upstream request; it grows while the engine works on it.

    Times are `time.monotonic()` in seconds.  `call`: how many requests with this id came before.
    `order`: which part of its request it is, read from what it was sent (a retry keeps it).
    `sent`: native units it was sent, by full name.  `wrote`: native units it wrote.  `largest`: of
    one piece.  `served`: pieces of content written whole.  `shares`: `sent` per tag, for a call in
    which several requests travel together.
    """

    index: int
    request_id: str
    method: str
    path: str
    headers: Mapping[str, str]
    arrived_at: float
    body_bytes: int = 0
    whole: bool = True
    call: int = 0
    asked: Asked = field(default_factory=Asked)
    modality: Modality | None = None
    tags: tuple[int, ...] = ()
    order: int | None = None
    sent: dict[str, int] = field(default_factory=dict)
    shares: dict[int, dict[str, int]] = field(default_factory=dict)

    script: Script = field(default_factory=Script)
    status: int | None = None
    wrote: dict[str, int] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    served: int = 0
    bytes_written: int = 0
    written_at: list[float] = field(default_factory=list)
    headers_at: float | None = None
    completed: bool = False
    ended_at: float | None = None
    broken_by: FaultKind | None = None
    gone_at: float | None = None

    @property
    def tag(self) -> int | None:
        """The tag of the request it belongs to, when it belongs to one alone."""
        return self.tags[0] if self.tags else None

    @property
    def place(self) -> int:
        """Which of its request's calls it is: by what it was sent, else by arrival."""
        return self.call if self.order is None else self.order

    @property
    def refused(self) -> bool:
        """It was answered with an error status."""
        return self.status is not None and self.status >= 400

    @property
    def answered(self) -> bool:
        """It was answered well, to the end."""
        return self.completed and self.status is not None and self.status < 300

    @property
    def gated(self) -> bool:
        """It waits for `release` now or will."""
        return self.script.gated or self.script.gated_calls or self.script.held

    def wrote_piece(self, data: bytes, counts: Mapping[str, int], now: float) -> None:
        """Count one piece at the moment at which its first byte may reach the peer."""
        self.wrote = add(self.wrote, counts)
        for unit, count in counts.items():
            self.largest[unit] = max(self.largest.get(unit, 0), count)
        self.bytes_written += len(data)
        self.written_at.append(now)

    def forget_body(self) -> None:
        """Let go of uploaded bytes; sizes and counts stay."""
        self.asked = Asked(
            json=self.asked.json if self.body_bytes <= 64 * 1024 else {},
            parts=tuple(part for part in self.asked.parts if part.filename is None),
            broken=self.asked.broken,
        )


def of_request(records: Iterable[Record], key: str | int) -> list[Record]:
    """The records of one request, by its id or by its tag, in order of arrival."""
    return [
        record
        for record in records
        if record.request_id == key or (isinstance(key, int) and key in record.tags)
    ]
