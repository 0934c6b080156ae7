"""What gateways tell each other: the section `[peers]`."""

from __future__ import annotations

from pydantic import Field

from modgate.config.addresses import StoreUrl
from modgate.config.section import Section
from modgate.config.values import SecretValue


class PeersSection(Section):
    """Gateways that share engines, and tell each other what they have in hand there.  Static."""

    url: StoreUrl = Field(description="redis://HOST:PORT, rediss://... or unix:///PATH")
    password: SecretValue | None = Field(None, description="the password of that Redis")
    secret: SecretValue | None = Field(
        None, description="the same at all of them: what others tell counts for nothing; needed"
    )
    cell: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,63}$",
        description="gateways of one cell tell each other: the same url is the same engine there",
    )
