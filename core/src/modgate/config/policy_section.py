"""The type of a `[policy.*]` section.  `description` of each key is its documentation."""

from __future__ import annotations

from pydantic import Field

from modgate.api.policy import OnFailure
from modgate.config.section import SeeingSection
from modgate.config.values import Duration


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
