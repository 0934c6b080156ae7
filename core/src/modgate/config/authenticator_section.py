"""The type of an `[auth.plugin.*]` section.  `description` of each key is its documentation."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from modgate.config.section import KindSection


class AuthenticatorSection(KindSection):
    """An authenticator of a plugin; all other keys are the authenticator's own."""

    kind: str = Field("", description="which authenticator of an enabled plugin; default: its name")
    tenants: tuple[str, ...] | None = Field(
        None, description="tenants that it may let in; default all"
    )
    ca: Path | None = Field(
        None, description="PEM file of the only authorities that its servers may be of"
    )
