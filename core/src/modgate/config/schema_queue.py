"""The types of `[queue]`: how calls wait where no backend has a free slot."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modgate.config.section import Section
from modgate.config.values import Bytes, Duration

Weight = Annotated[float, Field(gt=0, le=1000)]


class QueueSection(Section):
    """How calls of one model wait where no backend has a free slot."""

    calls: int = Field(1000, ge=1, description="that wait for one model")
    body_bytes: Bytes = Field(256 << 20, description="of their bodies, in memory")
    work: Duration = Field(30.0, description="of their work, as time in which it would be done")
    share: float = Field(
        0.5, gt=0, le=1, description="of each of these, what one tenant may have at most"
    )
    weights: dict[str, Weight] = Field(
        {}, description="by SLO class; default gold 8, silver 3, bronze 1, others 3"
    )
    patience: dict[str, Duration] = Field(
        {}, description="by SLO class: how long a call waits; default its modality's deadline"
    )
    hold: Duration = Field(
        10.0, description="how long a call is held while no engine of its model is ready"
    )
    adaptive: bool = Field(
        True, description="engines are given fewer calls at once while too many of a class are late"
    )
