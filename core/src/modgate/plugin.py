"""The one public door.

Everything that a plugin may import, besides `modgate.kit` and `modgate.testing`.
"""

from modgate.api.auth import Caller, Limits, Policy, Rate
from modgate.api.authenticator import (
    AnyAuthenticator,
    Asking,
    Authenticator,
    Credential,
    Document,
    Identity,
    Lookup,
    Reject,
)
from modgate.api.body import Body, Content, File, Part, Slice
from modgate.api.dialect import Dialect, Outgoing, engine_message, refusal_of
from modgate.api.discover import (
    AnyDiscoverer,
    Away,
    Discoverer,
    Finding,
    Found,
    Get,
    Instance,
    Line,
    Lost,
    More,
    Names,
    Number,
    Pause,
    Read,
    Resolve,
    SrvTarget,
    Watch,
)
from modgate.api.engine import DataWheel, LocalEngine, Report
from modgate.api.fields import Fields
from modgate.api.json import Json, JsonObject
from modgate.api.modality import Batching, Endpoint, Modality, Sample
from modgate.api.model import Model, ModelFacts, ModelName, StandIn
from modgate.api.need import MIB, Ask, Fetch, Need, Work
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.policy import Allow, AnyPolicy, Decision, Deny, Narrow, PlanPolicy
from modgate.api.relay import SSE, Event, Head, Outcome, Relay, Usage
from modgate.api.request import Request
from modgate.api.scorer import AnyAdviser, Candidate, Filter, Placement, Scorer
from modgate.api.secret import Secret
from modgate.api.select import Backend, Served, Target
from modgate.api.shipment import Cursor, LedgerSink, Shipment, SinkDown, UsageRow
from modgate.api.sink import Attempt, Receipt, Ruling
from modgate.api.surface import Surface, openai_error
from modgate.api.vitals import Load, Signals, Vitals
from modgate.errors import (
    BadReply,
    Forbidden,
    GatewayError,
    LimitReached,
    ModelLoading,
    Overloaded,
    Refused,
    TooLarge,
    Unsupported,
    UnsupportedMedia,
    UpstreamFailed,
    UpstreamTimedOut,
)
from modgate.hookspecs import hookimpl
from modgate.units import NOTHING, Unit, Units

__all__ = [
    "MIB",
    "NOTHING",
    "SSE",
    "Allow",
    "AnyAdviser",
    "AnyAuthenticator",
    "AnyDiscoverer",
    "AnyPolicy",
    "Ask",
    "Asking",
    "Attempt",
    "Authenticator",
    "Away",
    "Backend",
    "BadReply",
    "Batching",
    "Body",
    "Call",
    "Caller",
    "Candidate",
    "Content",
    "Credential",
    "Cursor",
    "DataWheel",
    "Decision",
    "Deny",
    "Dialect",
    "Discoverer",
    "Document",
    "Drawn",
    "Endpoint",
    "Event",
    "Fetch",
    "Fields",
    "File",
    "Filter",
    "Finding",
    "Forbidden",
    "Found",
    "GatewayError",
    "Get",
    "Head",
    "Identity",
    "Instance",
    "Json",
    "JsonObject",
    "LedgerSink",
    "LimitReached",
    "Limits",
    "Line",
    "Load",
    "LocalEngine",
    "Lookup",
    "Lost",
    "Modality",
    "Model",
    "ModelFacts",
    "ModelLoading",
    "ModelName",
    "More",
    "Names",
    "Narrow",
    "Need",
    "Number",
    "Outcome",
    "Outgoing",
    "Overloaded",
    "Part",
    "Pause",
    "Placement",
    "Plan",
    "PlanPolicy",
    "Policy",
    "Rate",
    "Read",
    "Receipt",
    "Refused",
    "Reject",
    "Relay",
    "Report",
    "Request",
    "Resolve",
    "Ruling",
    "Sample",
    "Scorer",
    "Secret",
    "Served",
    "Shipment",
    "Signals",
    "SinkDown",
    "Slice",
    "SrvTarget",
    "StandIn",
    "Surface",
    "Target",
    "TooLarge",
    "Unit",
    "Units",
    "Unsupported",
    "UnsupportedMedia",
    "UpstreamFailed",
    "UpstreamTimedOut",
    "Usage",
    "UsageRow",
    "Vitals",
    "Watch",
    "Work",
    "engine_message",
    "hookimpl",
    "openai_error",
    "refusal_of",
]
