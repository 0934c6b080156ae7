"""What a client speaks: error bodies, ids and stream grammar of one SDK family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import orjson

from modgate.api.json import Json, JsonObject
from modgate.errors import GatewayError


class Surface:
    """One family of SDKs.

    A plugin may bring its own by `modgate_surfaces`; `name` is what endpoints refer to.  `rates`:
    how limits are told in headers.
    """

    name: ClassVar[str] = ""
    keep_alive: ClassVar[bytes] = b": ping\n\n"
    done: ClassVar[bytes] = b""
    rates: ClassVar[Literal["x-ratelimit", "anthropic-ratelimit"]] = "x-ratelimit"

    def recognises(self, headers: Mapping[str, str]) -> bool:
        """Whether a request's headers are those of this family's own SDK.

        On a path that several surfaces share it is then taken, whatever the body says; on a path
        that nobody serves it says so.  Names of headers in lower case.
        """
        del headers
        return False

    def claims(self, fields: Mapping[str, object]) -> bool:
        """Whether a body is in this surface's words, on a path that several share.

        The first that claims takes it, unless the headers told.
        """
        del fields
        return True

    def status(self, error: GatewayError) -> int:
        """The HTTP status of an error, where this family of SDKs wants another than the error's
        own."""
        return error.status

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """The error as this family's SDKs parse it."""
        raise NotImplementedError  # each surface has its own

    def error_headers(self, error: GatewayError, wall: float) -> Mapping[str, str]:
        """Headers that only this family's errors carry; `wall` is the time now."""
        del error, wall
        return {}

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """The error as an event of a stream that is open already, and the end of that stream."""
        return b"data: " + dump(self.error_body(error, request_id)) + b"\n\n" + self.done


def dump(value: Json) -> bytes:
    """JSON bytes."""
    return orjson.dumps(value)


UNSHOWN_CODES = frozenset({"invalid_json", "missing_api_key"})  # the wire says null here


def openai_error(error: GatewayError) -> JsonObject:
    """The inner error object that several families share.

    All four keys, `code` a string or null.
    """
    code = None if error.code in UNSHOWN_CODES else error.code
    return {"message": error.message, "type": error.kind, "param": error.field, "code": code}
