"""One bad input and the answer that it must get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from oracle.faults import Script
from oracle.requests import ClientRequest

Envelope = Literal["openai", "cohere", "mistral", "voyage", "shared", "superset"]
# Which gateway it goes to: `[fetch] allow` unset, "*", or "*" and an origin that redirects.
Gate = Literal["shut", "public", "named"]
# Who the client says it is.
Key = Literal["good", "none", "bad", "two"]
# How the request goes out: whole; its body in chunks without a length; its head alone; half of its
# body and then silence; whole, and then the client never reads.
How = Literal["whole", "chunked", "head", "half", "mute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sent, and what must come back.

    `request`: by tag, so that each is found again at the engine.  `script`: what the engine does
    with it; None = it must never get that far.  `said`: the error's message holds each of these.
    `ends`: the code of the error event that a reply which was 200 ends with; "cut" = its body ends
    unfinished.  `within_s`: from connecting to the last byte.
    `slowed`: sent often, it is told to wait.
    `alone`: so many bytes that engine and client, which share our loop, would make others late.
    """

    name: str
    request: Callable[[int], ClientRequest]
    status: int
    envelope: Envelope = "openai"
    code: str | None = None
    param: str | None = None
    kind: str | None = None
    said: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    ends: str | None = None
    key: Key = "good"
    how: How = "whole"
    gate: Gate = "shut"
    script: Script | None = None
    within_s: float = 2.5
    alone: bool = False
    slowed: bool = False

    @property
    def sort(self) -> str:
        """What the issue calls it; the rest of the name says which of several it is."""
        return self.name.partition(", ")[0]

    @property
    def accepted(self) -> bool:
        """It is no bad input at all: it must be answered."""
        return self.status == 200 and self.ends is None
