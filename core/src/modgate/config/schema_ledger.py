"""The types of `[ledger]` and of its sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from modgate.config.section import Section
from modgate.config.values import Bytes, Duration, SecretValue


class SinkSection(BaseModel, frozen=True, extra="allow", arbitrary_types_allowed=True):
    """`[[ledger.sink]]`: its kind, and what that kind wants to know."""

    kind: str = Field(description="`sqlite`, `postgres`, or one that a plugin brings")
    region: str | None = Field(None, description="where it stands; rows that may not be there stay")
    password: SecretValue | None = Field(None, description="the password of its server")


class LedgerSection(Section):
    """The usage ledger.  Static."""

    key: SecretValue | None = Field(None, description="keys the ledger's chain")
    name: str = Field("", description="this gateway's name in its sinks; default the host's name")
    segment: Bytes = Field(64 << 20, description="size at which a new segment file begins")
    max_bytes: Bytes = Field(8 << 30, description="bytes on disk at most")
    on_full: Literal["refuse", "drop-oldest"] = Field(
        "refuse", description="when they are reached: new requests get 503, or old segments go"
    )
    keep_acknowledged: Duration | None = Field(
        None,
        description="what every sink has had for so long is removed; none: it stays",
    )
    sync: Duration = Field(0.02, description="frames reach the disk in groups this far apart")
    sink: tuple[SinkSection, ...] | None = Field(
        None, description="where rows go; none: `usage.sqlite` beside the ledger, `[]`: nowhere"
    )
    anchor: Path | None = Field(
        None, description="a file on another disk that keeps the last chain head"
    )
