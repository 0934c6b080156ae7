"""The pages that belong to core: models, the description of the API, and a caller's own usage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from modgate.api.auth import Caller
from modgate.api.json import Json, JsonObject
from modgate.api.model import Model
from modgate.api.surface import dump
from modgate.errors import GatewayError, MethodNotAllowed, ModelNotFound
from modgate.http.surfaces import spoken
from modgate.limits.headers import rfc_3339
from modgate.pages.openapi import described
from modgate.pages.usage import RECEIPT, USAGE, receipt, usage

if TYPE_CHECKING:
    from modgate.gateway import Gateway

GETS = ("GET", "HEAD")
JWKS = "/.well-known/jwks.json"
OPEN_PATHS = (
    "/",
    "/health/live",
    "/health/ready",
    JWKS,
)  # need no key: `server/public.py` has them
MODELS, MODEL, OPENAPI = "/v1/models", "/v1/models/{id}", "/openapi.json"
ENDPOINTS = {"/v2/chat": "chat", "/v2/rerank": "rerank", "/v2/embed": "embed"}  # Cohere's words
# Mistral's words for what a model can do, by the path that it answers.
CAPABILITIES = {
    "/v1/chat/completions": "completion_chat",
    "/v1/ocr": "ocr",
    "/v1/audio/transcriptions": "audio_transcription",
    "/v1/audio/speech": "audio_speech",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of core: `route` names it in receipts; `body` raises the GatewayErrors of its own."""

    route: str
    body: Callable[[Gateway, Caller, web.BaseRequest], bytes | Awaitable[bytes]]

    def check(self, method: str) -> None:
        """MethodNotAllowed for anything but GET, and HEAD, whose reply has no body."""
        if method not in GETS:
            raise not_got(self.route)


def not_got(path: str) -> MethodNotAllowed:
    """The error for another method than GET."""
    return MethodNotAllowed(f"{path} takes GET only", allow=GETS)


def bare(path: str) -> str:
    """A path without a slash at its end."""
    return path.rstrip("/") or "/"


def page_of(path: str) -> Page | None:
    """The page at a path, or None."""
    path = bare(path)
    page = PAGES.get(path)
    for whole, one in ((MODELS, MODEL), (USAGE, RECEIPT)):
        if page is None and path.startswith(whole + "/"):
            page = PAGES[one]
    return page


def _openapi(gateway: Gateway, caller: Caller, request: web.BaseRequest) -> bytes:
    del caller, request
    return dump(described(gateway.table))


def _models(gateway: Gateway, caller: Caller, request: web.BaseRequest) -> bytes:
    """Every name that may be asked for: SDKs and their users look for it in this list."""
    named = [
        (name, model)
        for model in gateway.table.visible(caller)
        for name in (model.name, *model.aliases)
    ]
    client = spoken(gateway.surfaces, request.headers).name
    card = CARDS.get(client, model_card)
    data = [card(name, model, gateway) for name, model in named]
    if client == "anthropic":
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return dump({"data": data, "has_more": False, "first_id": first, "last_id": last})
    if client == "cohere":
        wanted = request.query.get("endpoint")
        return dump({"models": [one for one in data if wanted in (None, *one["endpoints"])]})
    return dump({"object": "list", "data": data})


def _model(gateway: Gateway, caller: Caller, request: web.BaseRequest) -> bytes:
    asked = request.path.rstrip("/").removeprefix(MODELS + "/")
    model = gateway.table.models.get(asked)
    if model is None or not caller.policy.may_use(model.name):
        raise no_model(asked)
    client = spoken(gateway.surfaces, request.headers).name
    return dump(CARDS.get(client, model_card)(asked, model, gateway))


def no_model(asked: str) -> GatewayError:
    """The error for a model that does not exist for this caller."""
    return ModelNotFound(
        f"The model `{asked[:200]}` does not exist or you do not have access to it."
    )


def model_card(name: str, model: Model, gateway: Gateway) -> JsonObject:
    """A model by one of its names, as `/v1/models` shows it; `root` is the model's own name.

    Source: wire.md 2.3, extra keys are allowed there; `root` is vLLM's word, `type` and
    `capabilities` are Mistral's, whose SDK requires them.
    """
    card: dict[str, Json] = {
        "id": name,
        "object": "model",
        "created": gateway.created,
        "owned_by": "modgate",
        "root": model.name,
        "modalities": [model.modality],
        "aliases": list(model.aliases),
        "type": "base",
        "capabilities": _capabilities(model, gateway),
    }
    context = getattr(model.facts, "context", None)
    if context is not None:
        card["max_model_len"] = card["max_context_length"] = context
    if model.demo:
        card["modgate"] = {"embedded": True, "quality": "demo", "note": model.note}
    return card


def _capabilities(model: Model, gateway: Gateway) -> JsonObject:
    paths = gateway.table.paths_by_modality.get(model.modality, ())
    can = dict.fromkeys((CAPABILITIES[path] for path in paths if path in CAPABILITIES), True)
    units = gateway.table.modalities[model.modality].units
    if any(unit.name == "images" for unit in units):
        can["vision"] = True
    if getattr(model.facts, "tools", False):
        can["function_calling"] = True
    return can


def cohere_card(name: str, model: Model, gateway: Gateway) -> JsonObject:
    """A model by one of its names, as a cohere client reads it."""
    paths = gateway.table.paths_by_modality.get(model.modality, ())
    return {
        "name": name,
        "endpoints": [ENDPOINTS[path] for path in paths if path in ENDPOINTS],
        "finetuned": False,
        "context_length": getattr(model.facts, "context", None),
    }


def anthropic_card(name: str, model: Model, gateway: Gateway) -> JsonObject:
    """A model by one of its names, as an anthropic client reads it (wire.md 2.3)."""
    return {
        "type": "model",
        "id": name,
        "display_name": model.name,
        "created_at": rfc_3339(gateway.created),
        "lifecycle": "active",
        "max_input_tokens": getattr(model.facts, "context", None),
    }


CARDS: Mapping[str, Callable[[str, Model, Gateway], JsonObject]] = {
    "anthropic": anthropic_card,
    "cohere": cohere_card,
}
PAGES: Mapping[str, Page] = {
    page.route: page
    for page in (
        Page(route=OPENAPI, body=_openapi),
        Page(route=MODELS, body=_models),
        Page(route=MODEL, body=_model),
        Page(route=USAGE, body=usage),
        Page(route=RECEIPT, body=receipt),
    )
}
