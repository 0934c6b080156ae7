"""Which paths there are, and which endpoint of which modality a request is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import orjson
from msgspec import structs

from modgate.api.auth import Caller
from modgate.api.body import Body
from modgate.api.json import Json, JsonObject
from modgate.api.modality import AnyModality, Endpoint
from modgate.api.model import Model
from modgate.api.request import form_fields
from modgate.api.surface import Surface
from modgate.draft import MODEL
from modgate.errors import (
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    Refused,
    TooLarge,
)
from modgate.host.load import Loaded
from modgate.http.surfaces import shared

NESTS = frozenset({dict, list})
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
DEPTH_AT_MOST = 64  # Source: algorithms.md 9
SHOWN_PATH = re.compile(r"(/[A-Za-z0-9._:-]{0,32}){1,8}")
_SLASHES = re.compile("//+")
SPOKEN_AFTER_AN = ("a", "e", "i", "o", "u", "llm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path: its endpoints by modality, the largest body cap, and the surface of those who do not
    tell whose words they speak.

    `surfaces`: those that the body decides between; `sdks`: those that headers can show.
    """

    path: str
    endpoints: Mapping[str, Endpoint]
    modalities: tuple[str, ...]
    surfaces: Sequence[Surface]
    surface: Surface
    body: str
    at_most: int
    sdks: Sequence[Surface] = ()

    def check(self, method: str) -> None:
        """MethodNotAllowed for anything but POST."""
        if method != "POST":
            raise MethodNotAllowed(f"{self.path} takes POST only", allow=["POST"])

    def heard(self, headers: Mapping[str, str]) -> Surface:
        """The surface that an SDK's headers show, else that of clients which show none."""
        for surface in self.sdks:
            if surface.recognises(headers):
                return surface
        return self.surface

    def claimed(self, fields: JsonObject, heard: Surface) -> Surface:
        """The surface whose words the body uses, where the headers showed none."""
        if heard is not self.surface:
            return heard
        return next((s for s in self.surfaces[:-1] if s.claims(fields)), self.surface)


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is for.  `asked`: the model's name as it was asked for."""

    endpoint: Endpoint
    modality: AnyModality
    model: Model
    asked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All routes and models of a snapshot.

    `models`: by name and alias.  `default_models`: by modality, where a request may leave it out.
    """

    routes: Mapping[str, Route]
    models: Mapping[str, Model]
    modalities: Mapping[str, AnyModality]
    default_models: Mapping[str, str] = field(default_factory=dict)
    paths_by_modality: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, method: str, path: str) -> Route:
        """The route of a path; NotFound."""
        route = self.routes.get(path) or self.routes.get(path.rstrip("/"))
        if route is None:
            bare = _SLASHES.sub("/", path.rstrip("/"))
            # A base URL that ends with a slash, has no version, or has two.
            might = (bare, f"/v1{bare}", f"/v2{bare}", bare[3:])
            near = [each for each in might if each in self.routes]
            hint = f"; did you mean {near[0]}" if near else ""
            raise NotFound(f"unknown request URL: {method} {_shown(path)}{hint}")
        return route

    def visible(self, caller: Caller, modalities: Iterable[str] | None = None) -> list[Model]:
        """The models that the caller may use, by name; only of these modalities, if given."""
        wanted = None if modalities is None else set(modalities)
        unique = {model.name: model for model in self.models.values()}
        return [
            model
            for name, model in sorted(unique.items())
            if caller.policy.may_use(name) and (wanted is None or model.modality in wanted)
        ]

    def others(self, route: Route, caller: Caller, modality: str) -> tuple[str, ...]:
        """The models of a modality that the caller might ask on a route."""
        if modality not in route.endpoints:
            return ()
        return tuple(model.name for model in self.visible(caller, [modality]))

    def resolve(
        self,
        route: Route,
        body: Body,
        parsed: JsonObject,
        caller: Caller,
        early: Resolved | None = None,
    ) -> Resolved:
        """The endpoint and model of a request whose body is read (architecture.md 8).

        `early`: what a header named; a body that names a model, too, must mean the same.
        """
        asked = parsed.get("model")
        if asked is not None and not isinstance(asked, str):
            raise Refused("model", "invalid_type", "'model' must be a string")
        if early is None:
            named = asked or self.default_model(route)
            if not named:
                raise Refused("model", "missing_required_parameter", "'model' is required")
            found = self.named(route, named, caller)
        elif asked and self.models.get(asked) is not early.model:
            text = f"'model' is not the one that the header {MODEL} names; send one of both"
            raise Refused("model", "invalid_value", text)
        else:
            found = structs.replace(early, asked=asked or early.asked)
        if body.size > found.endpoint.at_most:
            raise TooLarge(f"Maximum content size limit ({found.endpoint.at_most}) exceeded")
        return found

    def named(self, route: Route, asked: str, caller: Caller) -> Resolved:
        """The endpoint and model of a name; ModelNotFound, Forbidden, or Refused."""
        model = self.models.get(asked)
        if model is None or not caller.policy.sees(model.name):
            names = ", ".join(m.name for m in self.visible(caller, route.endpoints)) or "none"
            raise ModelNotFound(
                f"The model `{asked[:200]}` does not exist or you do not have access to it. "
                f"Your models for this endpoint: {names}"
            )
        if not caller.policy.may_use(model.name):
            raise Forbidden(f"this key may not use the model `{model.name}`")
        endpoint = route.endpoints.get(model.modality)
        if endpoint is None:
            fitting = ", ".join(self.paths_by_modality.get(model.modality, ())) or "none"
            article = "an" if model.modality.startswith(SPOKEN_AFTER_AN) else "a"
            raise Refused(
                "model",
                "unsupported_endpoint",
                f"the model `{model.name}` is {article} {model.modality} model; "
                f"its endpoints: {fitting}",
            )
        modality = self.modalities[model.modality]
        return Resolved(endpoint=endpoint, modality=modality, model=model, asked=asked)

    def default_model(self, route: Route) -> str | None:
        """The model of a body that names none; None where it must."""
        for name, endpoint in route.endpoints.items():
            default = self.default_models.get(name) if endpoint.model_optional else None
            if default is not None:
                return default
        return None


def guard_model(models: Mapping[str, Model], name: str, caller: Caller | None) -> Model:
    """The model that a call names, judged as if the caller had asked for it.

    `caller` None: the operator named it, so no right of the caller's counts.  ModelNotFound or
    Forbidden.
    """
    model = models.get(name)
    if model is None or (caller is not None and not caller.policy.sees(model.name)):
        raise ModelNotFound(f"the model '{name}' does not exist or you do not have access to it")
    if caller is not None and not caller.policy.may_use(model.name):
        raise Forbidden(f"this key may not use the model '{name}'")
    return model


def parse(body: Body) -> JsonObject:
    """The body's top level: a JSON object, or a form's text parts.  Refused when it is neither."""
    if body.kind == "form":
        return form_fields(body)
    content = body.content
    assert isinstance(content, bytes)
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _bad_json(error) from None
    if not isinstance(value, dict):
        raise Refused(None, "invalid_type", "the body must be a JSON object")
    if _levels_at_most(content) > DEPTH_AT_MOST and _is_deep(value):
        reason = f"the body is nested deeper than {DEPTH_AT_MOST} levels"
        raise Refused(None, "invalid_value", reason)
    return value


def _levels_at_most(content: bytes) -> int:
    """A bound of the levels of a JSON text: the result is the same without it, but slower.

    Whatever opens where another has just closed is no deeper.  Where no quote is between the two,
    both are in one text, or in none.
    """
    brackets = content.translate(_BRACKETS, _NO_BRACKETS)
    return brackets.count(b"[") - brackets.count(b"][")


def _is_deep(value: JsonObject) -> bool:
    """Whether it is deeper than it may be: what is said again inside a reply must be writable."""
    level: list[Json] = [value]
    for _ in range(DEPTH_AT_MOST):
        inner = [each.values() if type(each) is dict else each for each in level]
        level = [each for many in inner for each in many if type(each) in NESTS]
        if not level:
            return False
    return True


def _bad_json(error: orjson.JSONDecodeError) -> GatewayError:
    """OpenAI's sentence, and where it is: in the parser's words, which hold none of the body."""
    reason = (
        "We could not parse the JSON body of your request. "
        f"(line {error.lineno}, column {error.colno}: {error.msg})"
    )
    return Refused(None, "invalid_json", reason)


def build_routes(
    claimed: Iterable[tuple[str, Endpoint]], surfaces: Mapping[str, Surface]
) -> dict[str, Route]:
    """Routes of (modality, endpoint) pairs.

    The path itself, and under the modality's own prefix.
    """
    by_path: dict[str, dict[str, Endpoint]] = {}
    for modality, endpoint in claimed:
        by_path.setdefault(endpoint.path, {})[modality] = endpoint
        by_path.setdefault(f"/{modality}{endpoint.path}", {})[modality] = endpoint
    return {path: _route(path, endpoints, surfaces) for path, endpoints in by_path.items()}


def _route(path: str, endpoints: Mapping[str, Endpoint], surfaces: Mapping[str, Surface]) -> Route:
    names: list[str] = []
    for endpoint in endpoints.values():
        names += [name for name in endpoint.surfaces if name not in names]
    spoken = [surfaces[name] for name in names]
    last = next((at for at, each in enumerate(spoken) if _claims_all(each)), len(spoken))
    by_body = spoken[: last + 1]
    return Route(
        path=path,
        endpoints=endpoints,
        modalities=tuple(endpoints),
        surfaces=by_body,
        surface=by_body[0] if len(by_body) == 1 else shared(by_body),
        body=next(iter(endpoints.values())).body,
        at_most=max(endpoint.at_most for endpoint in endpoints.values()),
        sdks=[each for each in spoken if _is_told(each)] if len(spoken) > 1 else (),
    )


def _claims_all(surface: Surface) -> bool:
    """Whether it claims every body, so that those named after it are never asked."""
    return type(surface).claims is Surface.claims


def _is_told(surface: Surface) -> bool:
    """Whether headers can show it; the others are not asked with each request."""
    return type(surface).recognises is not Surface.recognises


def table_of(loaded: Loaded, models: Iterable[Model]) -> Table:
    """The table of what plugins brought and the file declares."""
    names: dict[str, Model] = {}
    for model in models:
        for name in (model.name, *model.aliases):
            names.setdefault(name, model)
    defaults = {}
    for name, modality in loaded.modalities.items():
        own = [model.name for model in models if model.modality == name]
        wanted = getattr(modality.config, "default_model", None) or (own[0] if own else None)
        if wanted is not None:
            defaults[name] = wanted
    paths: dict[str, tuple[str, ...]] = {}
    for name, endpoint in loaded.endpoints:
        paths[name] = (*paths.get(name, ()), endpoint.path)
    return Table(
        routes=build_routes(loaded.endpoints, loaded.surfaces),
        models=names,
        modalities=loaded.modalities,
        default_models=defaults,
        paths_by_modality=paths,
    )


def _shown(path: str) -> str:
    """A path that is safe to repeat: something long in it may be a key."""
    return path if SHOWN_PATH.fullmatch(path) else "a path that is not shown"
