"""The description of the API says what the gateway does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aiohttp import ClientSession, FormData
from gateways import client, start

from modgate import errors
from modgate.plugin import Json, JsonObject


async def described(session: ClientSession, url: str) -> JsonObject:
    """`/openapi.json`."""
    async with session.get(f"{url}/openapi.json") as reply:
        document: JsonObject = await reply.json()
        return document


def schema_of(operation: JsonObject) -> tuple[str, JsonObject]:
    """The one content type of a request, and its schema."""
    ((kind, content),) = operation["requestBody"]["content"].items()
    return kind, content["schema"]


def raised(kind: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    """A class of errors and all below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from raised(below)


async def test_every_operation_tells_each_status_of_an_error(tmp_path: Path) -> None:
    async with await start(tmp_path, []) as running, client() as session:
        session.headers.update(running.headers)
        document = await described(session, running.url)
    own = {kind for kind in raised(errors.GatewayError) if kind.__module__ == errors.__name__}
    own -= {errors.Cancelled, errors.MethodNotAllowed}  # never sent; and of no operation
    statuses = {str(kind.status) for kind in own} | {"200", "default"}
    operations = [
        path[method]
        for path in document["paths"].values()
        for method in path.keys() & {"get", "post"}
    ]

    assert all(set(each["responses"]) == statuses for each in operations)


async def test_a_body_needs_a_model_where_the_description_says_so(tmp_path: Path) -> None:
    said: dict[str, tuple[bool, bool]] = {}
    async with await start(tmp_path, []) as running, client() as session:
        session.headers.update(running.headers)
        document = await described(session, running.url)
        for path, operations in document["paths"].items():
            if "post" not in operations:
                continue
            kind, schema = schema_of(operations["post"])
            body: dict[str, Json] = {"json": {}}
            if kind != "application/json":
                form = FormData()
                form.add_field("file", b"x", filename="x")
                body = {"data": form}
            async with session.post(running.url + path, **body) as reply:
                refused = "'model' is required" in await reply.text()
            said[path] = "model" in schema.get("required", ()), refused

    assert len(said) > 20
    assert {told for told, _ in said.values()} == {True, False}
    assert all(told == refused for told, refused in said.values()), said
