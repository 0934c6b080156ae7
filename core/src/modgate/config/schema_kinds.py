"""Sections that put a kind of a plugin to work: `[policy.*]`, `[scorer.*]`, `[auth.plugin.*]`.

`description` of each key is its documentation.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from modgate.api.policy import OnFailure
from modgate.config.section import Keys
from modgate.config.values import Duration


class KindSection(Keys, frozen=True, extra="allow"):
    """A section that puts a kind of a plugin to work; all other keys are the kind's own.

    `kind`: which one; '' = the one that is called as the section is.
    """

    kind: str = ""


class SeeingSection(KindSection):
    """One whose kind sees the requests of some models; None = of all that it understands."""

    models: tuple[str, ...] | None = None


class PolicySection(SeeingSection):
    """A policy of a plugin; all other keys are the policy's own."""

    kind: str = Field("", description="which policy of an enabled plugin; default: its name")
    models: tuple[str, ...] | None = Field(
        None, description="whose requests it sees; default all that it understands"
    )
    tenants: tuple[str, ...] | None = Field(
        None, description="whose requests it sees, in the file or not; default all"
    )
    budget: Duration | None = Field(
        None, description="time of a decision, what it asks included; default the policy's own"
    )
    on_failure: OnFailure | None = Field(
        None, description='"open" or "closed", when it fails or is late; default the policy\'s own'
    )
    shadow: bool = Field(False, description="decide and record, and change nothing")


class ScorerSection(SeeingSection):
    """A filter or scorer of a plugin; all other keys are its own."""

    kind: str = Field("", description="which one of an enabled plugin; default: its name")
    models: tuple[str, ...] | None = Field(
        None, description="whose calls it sees; default all that it understands"
    )
    budget: Duration | None = Field(None, description="time of an answer; default its own")
    weight: float = Field(
        1.0, ge=0, le=10, description="how much a scorer counts, as a power: 0 not, 2 twice"
    )


class AuthenticatorSection(KindSection):
    """An authenticator of a plugin; all other keys are the authenticator's own."""

    kind: str = Field("", description="which authenticator of an enabled plugin; default: its name")
    tenants: tuple[str, ...] | None = Field(
        None, description="tenants that it may let in; default all"
    )
    ca: Path | None = Field(
        None, description="PEM file of the only authorities that its servers may be of"
    )
