"""The surfaces that come with core: errors as the SDKs of each service parse them.

They are those of openai, anthropic, cohere, mistral and voyage.

Source: wire.md 1.4, 1.5, 1.7; architecture.md 12 (Overloaded is 429 on openai).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard
from uuid import uuid4

from modgate.api.json import JsonObject
from modgate.api.surface import Surface, dump, openai_error
from modgate.errors import (
    GatewayError,
    Overloaded,
    QuotaSpent,
    Refused,
    ReplyNotKept,
    TooManyAttempts,
    Unauthenticated,
)

TOO_LONG = (
    "Your input exceeds the context window of this model. Please adjust your input and try again."
)
PROMPT_LONG = "prompt is too long"
SUM_LONG = "input length and `max_tokens` exceed context limit"
MISTRALS = ("mistral-client-", "ai-sdk/mistral/")
_STEPS = re.compile(r"[^.\[\]]+")  # of a field: `messages[0].content`
VOYAGES = re.compile(r"rerank-(?:lite-)?\d")  # Cohere's are called `rerank-v3.5` or the like
COHERES = ("cohere", "cohere-ai")  # its SDKs for Python and JavaScript; their generator has others


class OpenAI(Surface):
    """The openai SDK, langchain and most others."""

    name = "openai"
    done = b"data: [DONE]\n\n"

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """`{"error": {message, type, param, code}}`, all four keys present."""
        return {"error": with_code(openai_error(error))}


class Responses(OpenAI):
    """The openai SDK on /v1/responses.

    `names`: what this route calls a field of the chat that its body becomes.
    """

    name = "responses"
    done = b""
    names: Mapping[str, str] = {
        "messages": "input",
        "max_tokens": "max_output_tokens",
        "response_format": "text.format",
        "reasoning_effort": "reasoning.effort",
    }

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """The error object with this route's own names and words.  Source: wire.md 1.4."""
        told = openai_error(error)
        if error.code == "context_length_exceeded":
            told = {**told, "message": TOO_LONG, "param": "input"}
        elif error.field is not None and error.field in self.names:
            told = {**told, "param": self.names[error.field]}
        return {"error": with_code(told)}


def with_code(told: JsonObject) -> JsonObject:
    """An error whose message ends with its code, where the context is exceeded.

    langchain looks for it in the text of the exception, into which the SDK puts the message alone.
    """
    if told["code"] != "context_length_exceeded":
        return told
    return {**told, "message": f"{told['message']} ({told['code']})"}


class Anthropic(Surface):
    """The anthropic SDK, which reads type, message and, where it is there, `details.error_code`."""

    name = "anthropic"
    keep_alive = b'event: ping\ndata: {"type":"ping"}\n\n'
    rates = "anthropic-ratelimit"
    names: Mapping[str, str] = {
        "stop": "stop_sequences",
        "response_format": "output_config.format",
        "reasoning_effort": "output_config.effort",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    }
    types: Mapping[int, str] = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        409: "conflict_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        502: "api_error",
        503: "overloaded_error",
        504: "timeout_error",
        529: "overloaded_error",
    }

    def recognises(self, headers: Mapping[str, str]) -> bool:
        """The SDK says which version of the API it speaks."""
        return "anthropic-version" in headers

    def status(self, error: GatewayError) -> int:
        """529 for overload: a 429 would mean the caller's own limit."""
        return 529 if isinstance(error, Overloaded) else error.status

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """`{"type": "error", "error": {type, message, details}, "request_id"}`."""
        message = error.message
        if error.code == "context_length_exceeded":
            both = "in the completion" in message
            front = SUM_LONG if both else PROMPT_LONG
            message = f"{front}: {message}"
        elif error.field is not None:
            message = f"{self.names.get(error.field, error.field)}: {message}"
        told: JsonObject = {
            "type": self.types.get(self.status(error), "invalid_request_error"),
            "message": message,
            "details": {"error_code": error.code},
        }
        return {"type": "error", "error": told, "request_id": request_id}

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """An event named `error`; the SDK looks at no other."""
        return b"event: error\ndata: " + dump(self.error_body(error, request_id)) + b"\n\n"


class Cohere(Surface):
    """The cohere SDK, which wants a JSON object with a `message` of any error."""

    name = "cohere"
    done = b"data: [DONE]\n\n"

    def recognises(self, headers: Mapping[str, str]) -> bool:
        """Its SDKs come from a generator, and name themselves in its header."""
        return headers.get("x-fern-sdk-name") in COHERES

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """`{"id", "message"}`."""
        return {"id": str(uuid4()), "message": _naming(error)}

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """The end of a chat, `ChatMessageEndEvent`: the SDK passes over events of no known type."""
        delta = {"finish_reason": "ERROR", "error": _naming(error)}
        told = dump({"type": "message-end", "delta": delta})
        return b"event: message-end\ndata: " + told + b"\n\n" + self.done

    def error_headers(self, error: GatewayError, wall: float) -> Mapping[str, str]:
        """A unix time, which the SDK reads when it cannot read Retry-After."""
        if error.status != 429 or error.retry_after is None:
            return {}
        return {"x-ratelimit-reset": str(int(wall) + error.retry_after)}


class Mistral(Surface):
    """Mistral's SDKs, which parse a 422 in a way of its own."""

    name = "mistral"

    def recognises(self, headers: Mapping[str, str]) -> bool:
        """Its user agent is `mistral-client-python/3.7.0` or the like, or that of Vercel's SDK.

        In a web page, where Chromium does not let it set `user-agent`, it sets another header.
        """
        names = ("x-mistral-user-agent", "user-agent")
        return any(headers.get(name, "").startswith(MISTRALS) for name in names)

    def status(self, error: GatewayError) -> int:
        """422 for what is wrong in the body; other surfaces say 400."""
        return 422 if _of_schema(error) else error.status

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """FastAPI's `detail` list for what is wrong in the body, else a flat error object."""
        if _of_schema(error):
            steps = _STEPS.findall(error.field or "")
            where = ["body", *(int(step) if step.isdecimal() else step for step in steps)]
            return {"detail": [{"loc": where, "msg": error.message, "type": "value_error"}]}
        return {"object": "error", **openai_error(error)}


def _of_schema(error: GatewayError) -> TypeGuard[Refused]:
    """Whether something in the body is wrong, other than that it is too long: Mistral says 400."""
    return isinstance(error, Refused) and error.code != "context_length_exceeded"


class Voyage(Surface):
    """The voyageai SDK, which reads the string `detail`, and breaks without one."""

    name = "voyage"

    def recognises(self, headers: Mapping[str, str]) -> bool:
        """The SDK for JavaScript; by its path alone its `rerank` would be cohere's."""
        return headers.get("x-fern-sdk-name") == "voyageai"

    def claims(self, fields: Mapping[str, object]) -> bool:
        """Python's SDK always sends `truncation`; `top_k` and `input_type` are voyage's words.

        A body with none of these is voyage's where it names a ranker of voyage's, and has no
        `top_n`: so litellm asks, and who copies voyage's own example.
        """
        if any(word in fields for word in ("truncation", "top_k", "input_type")):
            return True
        model = fields.get("model")
        return isinstance(model, str) and bool(VOYAGES.match(model)) and "top_n" not in fields

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """`{"detail": message}`."""
        return {"detail": _naming(error)}


def _naming(error: GatewayError) -> str:
    """The message with the field in front, for bodies that have no place for it.

    A message that names the field stays as it is, and so does that of a prompt that is too long, by
    which SDKs know it.
    """
    field, message = error.field, error.message
    if field is None or error.code == "context_length_exceeded":
        return message
    named = re.search(rf"(?<!\w){re.escape(field)}(?!\w)", message)
    return message if named else f"{field}: {message}"


class Superset(Surface):
    """Errors that carry the keys of several surfaces, for a path that these share.

    It serves requests that are refused before their body is known, and bodies that no surface
    claims: jina's clients send openai's or cohere's, and read `detail`.  Whoever knows none of
    these finds openai's `error`.  All else is as the last surface has it.
    """

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        self._surfaces = surfaces

    def status(self, error: GatewayError) -> int:
        """As the last surface."""
        return self._surfaces[-1].status(error)

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        """The keys of every surface, and of openai; of one that two use, the first surface's."""
        merged = OpenAI().error_body(error, request_id)
        for surface in reversed(self._surfaces):
            merged.update(surface.error_body(error, request_id))
        return merged

    def error_headers(self, error: GatewayError, wall: float) -> Mapping[str, str]:
        """The headers of every surface."""
        merged: dict[str, str] = {}
        for surface in self._surfaces:
            merged.update(surface.error_headers(error, wall))
        return merged

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """As the last surface."""
        return self._surfaces[-1].error_event(error, request_id)


def shared(surfaces: Sequence[Surface]) -> Superset:
    """The superset of some surfaces, under the name of the last.

    The last one also takes the bodies that no other claims.
    """
    last = surfaces[-1]

    class Shared(Superset):
        name = last.name
        keep_alive = last.keep_alive
        done = last.done
        rates = last.rates

    return Shared(surfaces)


def built_in() -> dict[str, Surface]:
    """The surfaces of core, by name."""
    spoken = (OpenAI(), Responses(), Anthropic(), Cohere(), Mistral(), Voyage())
    return {surface.name: surface for surface in spoken}


def spoken(surfaces: Mapping[str, Surface], headers: Mapping[str, str]) -> Surface:
    """The surface of an SDK that says in a header who it is; `openai` for all others."""
    known = (surface for surface in surfaces.values() if surface.recognises(headers))
    return next(known, surfaces["openai"])


def error_headers(error: GatewayError) -> dict[str, str]:
    """The headers of an error reply on every surface, without ids and rates.

    Source: wire.md 1.5, 1.8.
    """
    headers: dict[str, str] = {}
    if error.status in (409, 429, 503) and (wait := error.retry_after) is not None:
        headers["retry-after"] = str(wait)
        exact_s = min(wait, error.retry_after_s or wait)  # right for nan and for what is too long
        headers["retry-after-ms"] = str(max(1, round(max(0.0, exact_s) * 1000)))
    if error.alike or isinstance(error, QuotaSpent | TooManyAttempts | ReplyNotKept):
        headers["x-should-retry"] = "false"
    if isinstance(error, Overloaded) and error.place is not None:
        headers["x-modgate-queue-place"] = str(error.place)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if allow := getattr(error, "allow", ()):
        headers["allow"] = ", ".join(allow)
    return headers
