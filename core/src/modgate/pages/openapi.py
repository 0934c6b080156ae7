"""`/openapi.json`, made from the endpoints: nothing in it is written by hand twice."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel

from modgate.api.json import Json, JsonObject
from modgate.api.modality import Endpoint
from modgate.pages.usage import QUERY
from modgate.table import Route, Table

KEY: list[Json] = [{"bearer": []}]
OUTCOMES = {
    "200": "the reply",
    "400": "refused; the error names the field",
    "401": "no valid key",
    "403": "the key is good, and may not do this",
    "404": "no such model, or none of yours; no such receipt",
    "408": "the body stopped coming",
    "409": "the same idempotency key is in flight, or its reply was not kept",
    "413": "the body is too large",
    "415": "a content type that is not taken",
    "422": "the same idempotency key with another body; for mistral's SDK any refused field",
    "429": "a limit is reached, or there is no room now",
    "500": "the gateway's own fault",
    "502": "the engine failed",
    "503": "no backend can serve it now",
    "504": "the engine did not answer in time",
    "default": "another error, in the words of the client's SDK",
}


def described(table: Table) -> JsonObject:
    """An OpenAPI 3.1 document of every path, with the schemas that plugins declare."""
    paths: dict[str, Json] = {}
    schemas: dict[str, Json] = {}
    for path, route in sorted(table.routes.items()):
        first = next(iter(route.endpoints.values()))
        modalities = sorted(route.endpoints)
        operation: dict[str, Json] = {
            "operationId": path.strip("/").replace("/", "_"),
            "summary": first.summary or f"{' and '.join(modalities)}",
            "tags": modalities,
            "security": KEY,
            "requestBody": {"required": True, "content": _content(first, route, table, schemas)},
            "responses": _responses(),
        }
        paths[path] = {"post": operation}
    for path in ("/v1/models", "/v1/models/{id}"):
        paths[path] = {"get": {"summary": "models", "security": KEY, "responses": _responses()}}
    for path in ("/v1/usage", "/v1/usage/{id}"):
        paths[path] = {"get": {"summary": "own usage", "security": KEY, "responses": _responses()}}
    paths["/v1/usage"]["parameters"] = [
        {"name": name, "in": "query", "schema": {"type": "string"}} for name in QUERY
    ]
    for path in ("/v1/models/{id}", "/v1/usage/{id}"):
        paths[path]["parameters"] = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    scheme = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "modgate", "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": scheme, "schemas": schemas},
    }


def _content(
    endpoint: Endpoint, route: Route, table: Table, schemas: dict[str, Json]
) -> JsonObject:
    kind = "application/json" if endpoint.body == "json" else "multipart/form-data"
    schema: Json = _named(route, table)
    if endpoint.schema is not None and issubclass(endpoint.schema, BaseModel):
        schema = endpoint.schema.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
    elif endpoint.schema is not None:
        (schema,), parts = msgspec.json.schema_components([endpoint.schema])
        schemas.update(parts)
        schema = {"$ref": schema["$ref"].replace("$defs", "components/schemas")}
    return {kind: {"schema": schema}}


def _named(route: Route, table: Table) -> JsonObject:
    """What core knows of a body: that it names a model, unless that may be left out."""
    schema: dict[str, Json] = {"type": "object", "properties": {"model": {"type": "string"}}}
    if table.default_model(route) is None:
        schema["required"] = ["model"]
    return schema


def _responses() -> JsonObject:
    return {status: {"description": text} for status, text in OUTCOMES.items()}
