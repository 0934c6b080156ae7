"""The types of the file, a class a section.  `description` of each key is its documentation."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from modgate.api.json import Json, JsonObject
from modgate.config.addresses import Address, HostPort, Network, StoreUrl, WebOrigin
from modgate.config.schema_auth import Auth
from modgate.config.schema_engines import (
    ADDRESSES,
    BackendSection,
    DiscoverSection,
    EngineFields,
)
from modgate.config.schema_kinds import PolicySection, ScorerSection
from modgate.config.schema_ledger import LedgerSection
from modgate.config.schema_peers import PeersSection
from modgate.config.schema_queue import QueueSection
from modgate.config.schema_select import Link, SelectSection
from modgate.config.schema_telemetry import (
    ExplainSection,
    MetricsSection,
    SignalsSection,
    TelemetrySection,
    TraceSection,
)
from modgate.config.schema_tenants import KeysReference, TenantSection
from modgate.config.section import Section
from modgate.config.values import (
    Bytes,
    Currency,
    Duration,
    Moment,
    PriceValue,
    SecretValue,
    TargetText,
    Wait,
)


class TlsSection(Section):
    """`tls = { cert = "...", key = "..." }`; the files are read again when they change."""

    cert: Path = Field(description="certificate chain, PEM")
    key: Path = Field(description="private key, PEM")


class Listen(Section):
    """The public listener.  Address and certificate paths need a restart."""

    address: Address = Field(
        HostPort("127.0.0.1", 8080), description="host:port of the public listener"
    )
    tls: TlsSection | None = Field(None, description="serve HTTPS with these files")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="networks whose X-Forwarded-For decides the client address"
    )


class Admin(Section):
    """The admin listener: metrics, health in detail, configuration.  Its address is static."""

    address: Address = Field(
        HostPort("127.0.0.1", 8081), description="host:port of the admin listener"
    )
    key: SecretValue | None = Field(
        None, description="bearer key of an admin; off loopback it, or `keys`, is needed"
    )
    keys: KeysReference | None = Field(
        None, description='`{ file = "PATH" }` of keys with role=operator or role=admin'
    )


class StateSection(Section):
    """Where the gateway keeps what must survive.  Static."""

    directory: Path | None = Field(
        None, description="ledger, spool and keys; default $XDG_STATE_HOME/modgate"
    )
    region: str | None = Field(
        None, description="where this gateway stands; callers kept to others are refused"
    )


class AuditSection(Section):
    """Who changed what, and how many requests were denied for which reason.  Static."""

    key: SecretValue | None = Field(None, description="keys the audit log's chains")
    max_bytes: Bytes = Field(256 << 20, description="bytes on disk; the oldest records go first")
    anchor: Path | None = Field(
        None, description="a file on another disk that keeps the last chain heads"
    )


class Deadlines(Section):
    """When the gateway gives up on one modality."""

    first_byte: TargetText | None = Field(None, description="until the first event of a stream")
    total: TargetText | None = Field(None, description="until the whole reply has come")
    attempt: TargetText | None = Field(
        None, description="of a whole reply, until another engine is asked for it"
    )


class TimeoutsSection(BaseModel, frozen=True, extra="allow"):
    """Deadlines; a table per modality overrides the plugin's own (`[timeouts.llm]`)."""

    connect: Wait = Field(5.0, description="until an engine accepts a connection")
    idle: Wait = Field(60.0, description="silence of an engine within its stream")
    client_stalled: Wait = Field(30.0, description="a client that reads nothing is dropped")
    keep_alive: Wait = Field(15.0, description="silence before a stream gets a comment line")
    body_idle: Wait = Field(30.0, description="a request body that stalls is refused with 408")
    drain: Duration = Field(600.0, description="time for requests in hand at shutdown")


class LimitStoreSection(Section):
    """Where gateways share the levels of their tenants' limits.  Static."""

    url: StoreUrl = Field(
        description="redis://HOST:PORT, rediss://..., unix:///PATH; owner:///PATH on one host"
    )
    region: str | None = Field(
        None, description="where it stands; callers kept to others are refused"
    )
    password: SecretValue | None = Field(None, description="the store's password")
    deadline: Wait = Field(0.025, description="a store that is slower is done without")
    replicas: int = Field(1, ge=1, description="gateways that share, at least; more are counted")

    def place(self, here: str | None) -> str | None:
        """Where it stands: one of this host, if nothing else is said, with the gateway."""
        if self.region is not None:
            return self.region
        return here if self.url.startswith("owner:") else ""


class LimitsSection(Section):
    """What the gateway takes in all, whoever sends it."""

    store: LimitStoreSection | None = Field(
        None, description="limits hold over all gateways that name it; none: each counts its own"
    )

    in_flight: int = Field(10_000, ge=1, description="requests at once")
    streams: int = Field(5_000, ge=1, description="open streams at once")
    body_bytes: Bytes = Field(1 << 30, description="request bodies in memory at once")
    reply_bytes: Bytes = Field(64 << 20, description="one whole reply of an engine")
    drained_bytes: Bytes = Field(
        16 << 20, description="of one reply, read on after its client left (`on_disconnect`)"
    )


class IdempotencySection(Section):
    """Requests that carry an Idempotency-Key.  Static.

    Where limits have a store, keys lie there too, and count on every gateway that names it.
    """

    bodies: bool = Field(
        False, description="replies are kept, to be sent again; else only that it was done"
    )
    keep: Wait = Field(86_400.0, description="for so long from when the reply was made")
    reply_bytes: Bytes = Field(256 << 10, description="one reply; a larger one is not kept")
    at_most: Bytes = Field(64 << 20, description="all replies in memory; the oldest go first")
    keys: int = Field(10_000, ge=1, description="keys in memory, of one tenant")


class CorsSection(Section):
    """Which web pages may call from a browser."""

    origins: tuple[WebOrigin, ...] = Field((), description='exact origins, or "*"')


class SpoolSection(Section):
    """Uploads and pieces on disk.  Static."""

    directory: Path | None = Field(None, description="default: `spool` in the state directory")
    at_most: Bytes = Field(8 << 30, description="bytes of all requests together")
    region: str | None = Field(None, description="where its disk stands; default that of [state]")


class DecodersSection(Section):
    """Processes that decode what clients send.  Static."""

    processes: int = Field(2, ge=1, le=64, description="processes for single jobs")
    streams: int | None = Field(
        None, ge=1, le=64, description="files that decode into pieces at once; default cores"
    )
    memory: Bytes = Field(2 << 30, description="address space of one process")
    cpu: Wait = Field(20.0, description="processor time of one job, or of one piece")
    wall: Wait = Field(60.0, description="time of one job")
    written: Bytes = Field(4 << 30, description="bytes that one stream of pieces may write")


class FetchSection(Section):
    """Files that clients name by URL."""

    allow: tuple[str, ...] = Field(
        (), description='none = off; "*" = any public address; or origins such as https://host:9000'
    )
    region: str = Field("", description="where these stand; callers kept to others fetch nothing")


class LocalSection(Section):
    """Local engines."""

    slots: int | None = Field(None, ge=1, description="calls at once over all; default cores")
    only: tuple[str, ...] | None = Field(None, description="modalities whose local engine runs")
    data: Path | None = Field(
        None, description="model data; default $MODGATE_DATA, else the user data folder"
    )


class LogSection(Section):
    """Logs: JSON lines on standard error.  Static."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level")


class ModelSection(BaseModel, frozen=True, extra="allow"):
    """A name that clients may ask for; all other keys are facts of its modality."""

    modality: str = Field(description="whose model it is")
    aliases: tuple[str, ...] = Field((), description="other names for it")
    on_disconnect: Literal["cancel", "drain"] = Field(
        "cancel", description="when a client leaves, its engines stop, or finish and are billed"
    )
    fallback: tuple[Link, ...] = Field(
        (), description="models that answer in its place, for tenants with `fallback`; in turn"
    )


class PriceCase(Section):
    """Prices of some requests only; of those that fit, the narrowest case counts."""

    tenant: str = Field("", description="of this tenant's requests")
    model: str = Field("", description="of this model")
    slo: str = Field("", description="of this SLO class")
    region: str = Field("", description="served in this region")
    units: dict[str, PriceValue] = Field(description='prices by unit: "llm.input_tokens"')


class PriceSection(Section):
    """A price book: what requests cost that begin at `effective` or later."""

    version: Literal[1] = Field(1, description="of the form of price books")
    effective: Moment | None = Field(None, description="from when on, UTC: 2026-03-01")
    corrects: str = Field("", description="the book that it takes the place of, in its time")
    currency: Currency = Field(description='of all its prices, as "EUR"')
    units: dict[str, PriceValue] = Field({}, description='"llm.input_tokens" = "0.15/1M"')
    case: tuple[PriceCase, ...] = Field((), description="prices of some requests only")
    closed: bool = Field(
        False, description="a book of the past: what it names may be gone from this file"
    )


# What is opened once: sockets, files, keys and processes.
STATIC = (
    *(
        "listen.address",
        "listen.tls",
        "admin.address",
        "state",
        "auth.pepper",
        "auth.store",
        "ledger",
        "audit",
        "spool",
        "decoders",
    ),
    *("log", "metrics", "trace", "limits.store", "idempotency", "peers"),
)


class File(Section):
    """The whole file."""

    include: tuple[str, ...] = Field((), description="more files, by pattern, beside this one")
    listen: Listen = Field(Listen(), description="the public listener")
    admin: Admin = Field(Admin(), description="the admin listener")
    state: StateSection = Field(StateSection(), description="what must survive")
    auth: Auth = Field(Auth(), description="who may call")
    ledger: LedgerSection = Field(LedgerSection(), description="the usage ledger")
    audit: AuditSection = Field(AuditSection(), description="the audit log")
    timeouts: TimeoutsSection = Field(TimeoutsSection(), description="deadlines")
    limits: LimitsSection = Field(LimitsSection(), description="what the gateway takes in all")
    queue: QueueSection = Field(QueueSection(), description="calls that wait for a backend")
    idempotency: IdempotencySection = Field(
        IdempotencySection(), description="requests that are done once"
    )
    cors: CorsSection = Field(CorsSection(), description="browsers")
    spool: SpoolSection = Field(SpoolSection(), description="uploads on disk")
    decoders: DecodersSection = Field(DecodersSection(), description="decoder processes")
    fetch: FetchSection = Field(FetchSection(), description="files by URL")
    local: LocalSection = Field(LocalSection(), description="local engines")
    log: LogSection = Field(LogSection(), description="logs")
    explain: ExplainSection = Field(ExplainSection(), description="why each reply was as it was")
    metrics: MetricsSection = Field(MetricsSection(), description="metrics")
    trace: TraceSection = Field(TraceSection(), description="traces")
    plugin: dict[str, JsonObject] = Field({}, description="a section switches a plugin on")
    model: dict[str, ModelSection] = Field({}, description="models by name")
    slo: dict[str, dict[str, dict[str, TargetText]]] = Field(
        {}, description="targets by phase, in `[slo.CLASS.MODALITY]`"
    )
    select: SelectSection = Field(SelectSection(), description="which backend takes a call")
    peers: PeersSection | None = Field(None, description="gateways that share engines")
    backend: tuple[BackendSection, ...] = Field((), description="engines")
    discover: tuple[DiscoverSection, ...] = Field(
        (), description="engines that are found while the gateway runs"
    )
    telemetry: TelemetrySection = Field(TelemetrySection(), description="how engines are watched")
    signals: dict[str, SignalsSection] = Field({}, description="exporters of hardware metrics")
    policy: dict[str, PolicySection] = Field(
        {}, description="policies, asked in the order in which they stand here"
    )
    scorer: dict[str, ScorerSection] = Field({}, description="filters and scorers, in order")
    tenant: dict[str, TenantSection] = Field({}, description="tenants by name")
    price: dict[str, PriceSection] = Field({}, description="price books by name")

    @property
    def engines(self) -> tuple[tuple[tuple[str, int], EngineFields], ...]:
        """Every section that says something of engines, and where it stands."""
        listed = [(("backend", at), each) for at, each in enumerate(self.backend)]
        found = [(("discover", at), each) for at, each in enumerate(self.discover)]
        return (*listed, *found)

    @property
    def places(self) -> frozenset[str] | None:
        """Where engines stand; None where a discoverer may find that out, too."""
        if any(each.kind not in ADDRESSES for each in self.discover):
            return None
        return frozenset(each.region for _, each in self.engines)

    def static_changes(self, started: File) -> tuple[str, ...]:
        """What is read at the start only and is not as it was then."""
        return tuple(name for name in STATIC if attrgetter(name)(self) != attrgetter(name)(started))


def json_schema() -> Json:
    """The JSON Schema of a file, for editors."""
    return File.model_json_schema()
