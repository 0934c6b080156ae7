"""The types of `[telemetry]`, `[signals.*]`, `[explain]` and `[trace]`.

`description` of each key is its documentation.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from modgate.config.addresses import Endpoint
from modgate.config.section import Section
from modgate.config.values import Bytes, Duration

METRIC = r"^[A-Za-z_:][A-Za-z0-9_:]{0,199}$"
PATH = r"^/[^\s?#]*$"


class ExplainSection(Section):
    """What is kept of recent requests for `modgate explain`."""

    requests: int = Field(2000, ge=0, description="recent requests, at most; 0: none")
    at_most: Bytes = Field(16 << 20, description="bytes of memory for them; the oldest go first")


class TelemetrySection(Section):
    """How often engines are asked how they are; 0 = not at all."""

    scrape: Duration = Field(1.0, le=60, description="between two looks at an engine's metrics")
    probe: Duration = Field(5.0, le=600, description="between two requests of its health path")
    orca: Duration = Field(
        0.25, le=60, description="between two replies that are asked for their engine's load"
    )


class RuleText(Section):
    """One signal out of a page of metrics."""

    metric: str = Field(pattern=METRIC, description="the metric")
    over: tuple[str, ...] = Field(
        (), description="divide each series by the sum of these, of the same labels"
    )
    labels: dict[str, str] = Field({}, description="only series that have these labels")
    scale: float = Field(1.0, description="multiply with this")
    take: Literal["max", "min", "mean", "sum"] = Field(
        "max", description="how several series, as of several GPUs, become one number"
    )


class SignalsSection(Section):
    """An exporter of hardware metrics, in Prometheus text, and what is read of it."""

    url: Endpoint | None = Field(
        None, description="its address or page, if it is one for all its engines"
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="its port, if it is on each engine's own machine"
    )
    path: str = Field(
        "/metrics", pattern=PATH, description="its path there; not added to a `url` that has one"
    )
    every: Duration = Field(5.0, ge=0.5, description="between two looks")
    engines: tuple[str, ...] | None = Field(
        None, description="names of [[backend]] and [[discover]] that it tells of; default all"
    )
    gpu_memory: RuleText | None = Field(None, description="share of device memory in use, 0 to 1")
    interconnect: RuleText | None = Field(None, description="traffic between devices")
    temperature: RuleText | None = Field(None, description="degrees Celsius")

    @model_validator(mode="after")
    def _somewhere(self) -> SignalsSection:
        if (self.url is None) == (self.port is None):
            raise ValueError("needs either 'url' or 'port'")
        if not (self.gpu_memory or self.interconnect or self.temperature):
            raise ValueError("reads nothing: give gpu_memory, interconnect or temperature")
        return self


class MetricsSection(Section):
    """What the admin listener's `/metrics` has.  Static."""

    gen_ai: bool = Field(
        False, description="histograms by OpenTelemetry's names for generative AI, too"
    )


class TraceSection(Section):
    """Traces.  Static."""

    otlp: Endpoint | None = Field(None, description="OTLP/HTTP endpoint; needs modgate[otel]")
    sample: float = Field(0.0, ge=0, le=1, description="share of new traces that are exported")
    region: str = Field("", description="where the endpoint stands; spans may stay at home")
