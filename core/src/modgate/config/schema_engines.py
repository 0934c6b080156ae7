"""The types of `[[backend]]` and `[[discover]]`: engines, and how they are found."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from modgate.config.section import Keys, Section
from modgate.config.values import MoneyValue, SecretValue


class EngineFields(Keys):
    """What is said of an engine, or of all that one discoverer finds."""

    family: str = Field("home", description="the engine's dialect")
    region: str = Field("", description="where it stands, for residency")
    hardware: str = Field("", description="hardware class")
    slots: int = Field(16, ge=1, description="calls that it takes at once")
    slots_at_most: int | None = Field(None, ge=1, description="while targets are kept, as many")
    serves: dict[str, str] = Field(description="our model name = the engine's name")
    key: SecretValue | None = Field(None, description="the engine's own API key")
    sign: bool = Field(
        False, description="calls carry a token of ours ([auth.sign]) that names the tenant"
    )
    ca: Path | None = Field(
        None, description="PEM file of the only authorities that its certificate may be of"
    )
    offers: dict[str, tuple[str, ...]] = Field(
        {}, description="what calls may require of it: voices, languages"
    )
    metrics: str = Field(
        "",
        pattern=r"^(off|/[^\s?#]*|:[0-9]{1,5}/[^\s?#]*|https?://[^\s@]+)?$",
        description='where its metrics are: "/PATH", ":PORT/PATH", a url, "off"; default by family',
    )
    metrics_family: str = Field("", description="whose metrics they are; default the family's")


class BackendSection(EngineFields, Section):
    """One engine."""

    name: str = Field(
        pattern=r"^[^\x00-\x1f\x7f]{1,200}$", description="its name in logs, metrics and receipts"
    )
    url: str = Field(description="http or https address of the engine")
    cost_per_hour: MoneyValue | None = Field(
        None, description='what it costs to have, as "2.50 EUR"; `modgate cost` shares it out'
    )


ADDRESSES = ("dns", "kubernetes")  # what is found so stands where its section says


class WakeSection(Section):
    """Who makes an engine of a model when there is none and calls are held for it."""

    url: str = Field(
        pattern=r"^https?://[^\s@]+$", description="is sent a POST that names the model"
    )
    key: SecretValue | None = Field(None, description="bearer token that goes along")
    ca: Path | None = Field(
        None, description="PEM file of the only authorities that its certificate may be of"
    )


class DiscoverSection(EngineFields, frozen=True, extra="allow", arbitrary_types_allowed=True):
    """Engines that are found while the gateway runs; all other keys are its kind's own."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,63}$", description="what the names of its engines begin with"
    )
    kind: str = Field(
        description="how they are found: `dns`, `file`, `kubernetes`, or a kind of a plugin"
    )
    wake: WakeSection | None = Field(
        None, description="who is told that calls are held for one that is not there"
    )
