"""Every error that modgate raises on purpose.

    GatewayError                    code                      status  retryable  charged
     |- Refused                     (its own)                 400     no         no
     |- TooLarge                    request_too_large         413     no         no
     |- UnsupportedMedia            unsupported_media_type    415     no         no
     |- NotFound                    unknown_url               404     no         no
     |   |- ModelNotFound           model_not_found           404     no         no
     |   `- ReceiptNotFound         receipt_not_found         404     no         no
     |- MethodNotAllowed            method_not_supported      405     no         no
     |- BodyTimedOut                request_timeout           408     yes        no
     |- Conflict                    idempotency_in_progress   409     yes        no
     |   `- ReplyNotKept            idempotency_reply_not_kept 409    no         no
     |- KeyReused                   idempotency_key_reused    422     no         no
     |- Unauthenticated             invalid_api_key           401     no         no
     |- TooManyAttempts             too_many_failed_attempts  429     no         no
     |- Forbidden                   model_forbidden           403     no         no
     |   |- RoleForbidden           role_forbidden            403     no         no
     |   |- RegionForbidden         region_forbidden          403     no         no
     |   |- Unpriced                unpriced                  403     no         no
     |   `- PolicyDenied            policy_denied             403     no         no
     |- LimitReached                rate_limit_exceeded       429     yes        no
     |- QuotaSpent                  insufficient_quota        429     no         no
     |- Overloaded                  overloaded                429     yes        no
     |- Unavailable                                           503     yes        no
     |   |- NoBackend               no_healthy_upstream
     |   |- Draining                draining
     |   |- LedgerUnavailable       ledger_unavailable
     |   |- EngineMissing           engine_missing
     |   |- PolicyFailed            policy_failed
     |   |- Unasked                 dependency_unavailable
     |   |- IdempotencyUnavailable  idempotency_unavailable
     |   `- ModelLoading            model_loading
     |- Upstream                                                      yes        what was relayed
     |   |- UpstreamFailed          upstream_error            502
     |   |   `- Unreached           upstream_error            502
     |   |- BadReply                upstream_invalid_response 502
     |   `- UpstreamTimedOut        upstream_timeout          504
     |       `- ConnectTimedOut     upstream_timeout          504
     |- PluginFault                 internal_error            500     no         no
     `- Cancelled                   client_closed_request     499     no         what was relayed
    Unsupported                     a dialect cannot say this call; shape must do without
    ConfigError, PluginError        problems.py: start-up and reload only

Retryable: the same request of the client may succeed later.  Charged: units can be billed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import ClassVar

from modgate.faults import MESSAGE_AT_MOST, error_status, said, seconds

RETRY_AFTER_MOST_S = 120
TOLD = frozenset({"code", "status", "kind", "message", "field", "retry_after_s"})


class GatewayError(Exception):
    """A request that cannot be answered well; the surface renders it."""

    code: str = "internal_error"
    status: ClassVar[int] = 500
    kind: str = "server_error"
    retryable: ClassVar[bool] = False
    field: str | None = None
    retry_after_s: float | None = None
    alike: bool = False  # two engines failed it in the same way: it is not to be sent again

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(self.message)  # as it is told, and no longer

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in TOLD & vars(cls).keys():
            setattr(cls, name, _tellable(name, vars(cls)[name]))

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, _tellable(name, value) if name in TOLD else value)

    @property
    def retry_after(self) -> int | None:
        """Whole seconds for the Retry-After header, 1..120; None when nothing is waited for."""
        if self.retry_after_s is None:
            return None
        return ceil(min(RETRY_AFTER_MOST_S, max(1, self.retry_after_s)))  # of nan 1


def _tellable(name: str, value: object) -> object:
    """What a reply and a ledger row can tell; TypeError, the plugin's fault, where none can."""
    if value is None and name in ("field", "retry_after_s"):
        return None
    if name == "retry_after_s":
        return seconds(value)
    if name == "status":
        return error_status(value)
    return said(value, MESSAGE_AT_MOST) if name == "message" else said(value)


class Refused(GatewayError):
    """The client's fault: names the field, a code of the public list, and what to do."""

    status = 400
    kind = "invalid_request_error"

    def __init__(self, field: str | None, code: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.code = code


class TooLarge(GatewayError):
    """The body is over the cap of its endpoint."""

    code = "request_too_large"
    status = 413
    kind = "invalid_request_error"


class UnsupportedMedia(GatewayError):
    """A content type that the endpoint does not take, or a format that needs an extra."""

    code = "unsupported_media_type"
    status = 415
    kind = "invalid_request_error"


class NotFound(GatewayError):
    """No such path."""

    code = "unknown_url"
    status = 404
    kind = "invalid_request_error"


class ModelNotFound(NotFound):
    """No such model, or none that this caller may see; lists those that fit."""

    code = "model_not_found"
    field = "model"


class ReceiptNotFound(NotFound):
    """No request of this id, or none of this tenant's."""

    code = "receipt_not_found"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not."""

    code = "method_not_supported"
    status = 405
    kind = "invalid_request_error"

    def __init__(self, message: str, allow: Sequence[str]) -> None:
        super().__init__(message)
        self.allow = tuple(allow)


class BodyTimedOut(GatewayError):
    """The request body stalled."""

    code = "request_timeout"
    status = 408
    kind = "timeout_error"
    retryable = True


class Conflict(GatewayError):
    """The same idempotency key is in flight."""

    code = "idempotency_in_progress"
    status = 409
    kind = "invalid_request_error"
    retryable = True
    retry_after_s: float | None = 1.0


class ReplyNotKept(Conflict):
    """The request of this idempotency key was done, and its reply cannot be sent again."""

    code = "idempotency_reply_not_kept"
    retryable = False
    retry_after_s = None


class KeyReused(GatewayError):
    """The same idempotency key came with another body, from another SDK, or with other rights."""

    code = "idempotency_key_reused"
    status = 422
    kind = "invalid_request_error"


class Unauthenticated(GatewayError):
    """No key (`code` None outside), a bad one, or two that disagree."""

    code = "invalid_api_key"
    status = 401
    kind = "invalid_request_error"


class Forbidden(GatewayError):
    """The caller is known but may not do this."""

    code = "model_forbidden"
    status = 403
    kind = "permission_error"


class RoleForbidden(Forbidden):
    """A good key, of a role that may not do this."""

    code = "role_forbidden"


class RegionForbidden(Forbidden):
    """It would take the caller's data to a region where that may not be."""

    code = "region_forbidden"


class TooManyAttempts(GatewayError):
    """A bad key, from an address or for a key id that sent too many; never said to a good one."""

    code = "too_many_failed_attempts"
    status = 429
    kind = "invalid_request_error"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PolicyDenied(Forbidden):
    """A policy refused the request; the code is the policy's own."""

    code = "policy_denied"

    def __init__(self, field: str | None, code: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.code = code


class Unpriced(Forbidden):
    """The caller has a budget, and what it asks for has no price."""

    code = "unpriced"


class LimitReached(GatewayError):
    """A limit of this caller is spent for now; `unit` names the exhausted dimension, shown form."""

    code = "rate_limit_exceeded"
    status = 429
    retryable = True

    def __init__(self, message: str, *, limit: str, unit: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.limit = said(limit)
        self.kind = unit
        self.retry_after_s = retry_after_s


class QuotaSpent(GatewayError):
    """A limit that does not clear soon: waiting is useless, so no Retry-After."""

    code = "insufficient_quota"
    status = 429
    kind = "insufficient_quota"


class Overloaded(GatewayError):
    """Queue full, no free decoder, or a promise that load makes impossible.

    `place`: which of its tenant's calls in the queue the call would be now, from 1; None where
    there is no queue.
    """

    code = "overloaded"
    status = 429
    retryable = True
    retry_after_s: float | None = 1.0
    place: int | None = None


class Unavailable(GatewayError):
    """Nothing here can serve it now."""

    code = "no_healthy_upstream"
    status = 503
    retryable = True
    retry_after_s = 5.0


class NoBackend(Unavailable):
    """No backend that this caller may use serves the model, or none is healthy."""


class Draining(Unavailable):
    """This gateway is going away."""

    code = "draining"


class LedgerUnavailable(Unavailable):
    """The usage ledger takes no frame: what cannot be billed is not begun."""

    code = "ledger_unavailable"


class EngineMissing(Unavailable):
    """A local engine whose runtime or model is not installed; the message says what to run."""

    code = "engine_missing"
    retry_after_s = 120.0


class PolicyFailed(Unavailable):
    """A policy that must agree could not decide."""

    code = "policy_failed"


class Unasked(Unavailable):
    """What must be asked does not answer: a store of limits, an issuer, who knows callers."""

    code = "dependency_unavailable"


class IdempotencyUnavailable(Unavailable):
    """Where idempotency keys are kept does not answer: nobody can say that it runs only once."""

    code = "idempotency_unavailable"
    retry_after_s = 1.0


class ModelLoading(Unavailable):
    """A local engine that did not finish loading within the deadline."""

    code = "model_loading"


class Upstream(GatewayError):
    """The engine's fault."""

    code = "upstream_error"
    status = 502
    retryable = True


class UpstreamFailed(Upstream):
    """Connection refused or lost, or the engine answered with an error of its own."""


class Unreached(UpstreamFailed):
    """Nobody listens where the engine should be."""


class BadReply(Upstream):
    """The engine answered something that its dialect cannot read."""

    code = "upstream_invalid_response"


class UpstreamTimedOut(Upstream):
    """No byte, or no end, within the deadline."""

    code = "upstream_timeout"
    status = 504


class ConnectTimedOut(UpstreamTimedOut):
    """Nobody took the connection in time: nothing of the call was sent."""


class PluginFault(GatewayError):
    """A plugin raised what it must not; the client sees only the request id."""


class Cancelled(GatewayError):
    """The client left; never sent, logged as 499."""

    code = "client_closed_request"
    status = 499


class Unsupported(Exception):
    """A dialect cannot say this call, or its `field`, to its engines; who asked must do without."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
