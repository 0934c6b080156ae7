"""The types of `[tenant.*]`: what tenants and keys are granted, in a file or in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from modgate.config.section import Section
from modgate.config.values import BudgetValue, Bytes, RateValue


class KeysReference(Section):
    """Where keys lie."""

    file: Path = Field(description="a line each: key id, digest, name; before it until= and role=")


class RatesSection(Section):
    """Rates of each key, or of one model."""

    requests: RateValue | None = Field(None, description='requests, as "50/s"')
    units: dict[str, RateValue] = Field({}, description='rates by unit: "llm.output_tokens"')
    cost: BudgetValue | None = Field(None, description='what may be spent, as "100 EUR/month"')


HeldAtOnce = Literal["in_flight", "streams", "body_bytes", "spool_bytes"]


class TenantLimits(Section):
    """What one tenant may use."""

    requests: RateValue | None = Field(
        None,
        description='requests, as "50/s", or { rate = "50/s", on_store_down = "closed", '
        "shadow = true }",
    )
    in_flight: int | None = Field(None, ge=1, description="requests at once")
    streams: int | None = Field(None, ge=1, description="open streams at once")
    body_bytes: Bytes | None = Field(None, description="request bodies in memory at once")
    spool_bytes: Bytes | None = Field(None, description="bytes in the spool at once")
    shadow: tuple[HeldAtOnce, ...] = Field(
        (), description="of the four above, those that are recorded and refuse nothing"
    )
    units: dict[str, RateValue] = Field({}, description='rates by unit: "llm.output_tokens"')
    cost: BudgetValue | None = Field(
        None, description='what may be spent by the price books, as "100 EUR/month"'
    )
    each_key: RatesSection | None = Field(None, description="what each of its keys may use")
    models: dict[str, RatesSection] = Field({}, description="what it may use of single models")


class KeyGrant(Section):
    """What one key may use of what its tenant may."""

    slo: str = Field("", description="SLO class, in place of the tenant's")
    regions: tuple[str, ...] | None = Field(None, description="of the tenant's regions, these")
    modalities: tuple[str, ...] | None = Field(None, description="models of these modalities only")
    models: tuple[str, ...] | None = Field(None, description="of the tenant's models, these")
    limits: RatesSection = Field(
        RatesSection(), description="what it may use, beside the limits of its tenant"
    )


class TenantGrant(Section):
    """What a tenant may use, whether a file says it or the admin API."""

    slo: str = Field("", description="SLO class")
    regions: tuple[str, ...] | None = Field(None, description="its data stays in these regions")
    modalities: tuple[str, ...] | None = Field(None, description="models of these modalities only")
    models: tuple[str, ...] | None = Field(None, description="models that it may use; default all")
    raw_engine_fields: bool = Field(
        False, description="its replies keep what engines add to the wire (vLLM's `token_ids`)"
    )
    batch_shared: bool = Field(
        False, description="its calls may share a trip with those of tenants that say so, too"
    )
    weight: float = Field(
        1.0, gt=0, le=1000, description="its share where calls wait, among tenants of its SLO class"
    )
    on_disconnect: Literal["cancel", "drain"] | None = Field(
        None, description="in place of its models': whether engines finish when a client leaves"
    )
    fallback: bool = Field(
        False, description="where a model cannot answer, its `fallback` may, and is billed"
    )
    limits: TenantLimits = Field(TenantLimits(), description="what it may use")


class TenantSection(TenantGrant):
    """A tenant of the file."""

    keys: KeysReference | None = Field(None, description='`{ file = "PATH" }` of its keys')
    key: dict[str, KeyGrant] = Field({}, description="less for single keys, by key id")
