"""In whose words a path answers: as the headers say, else as the body does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modgate.errors import GatewayError, NotFound, Overloaded
from modgate.http.surfaces import Superset, built_in
from modgate.plugin import Endpoint, JsonObject, Plan, Request, Surface
from modgate.table import Route, build_routes

MISTRAL = {"user-agent": "mistral-client-python/3.7.0"}
OTHERS = {"user-agent": "OpenAI/Python 2.54.0"}


class Own(Surface):
    """A plugin's: its header tells, or a word of its body."""

    name = "own"

    def recognises(self, headers: Mapping[str, str]) -> bool:
        return "x-own" in headers

    def claims(self, fields: Mapping[str, object]) -> bool:
        return "own" in fields

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        return {"own": error.message}


def unshaped(request: Request) -> Plan:
    raise NotImplementedError  # not asked here


def route(*surfaces: str) -> Route:
    endpoint = Endpoint(path="/v1/words", shape=unshaped, surfaces=surfaces)
    return build_routes([("words", endpoint)], {**built_in(), "own": Own()})["/v1/words"]


@pytest.mark.parametrize(
    ("headers", "name"), [(MISTRAL, "mistral"), (OTHERS, "openai"), ({}, "openai")]
)
def test_headers_tell_before_the_body_and_whatever_it_says(
    headers: dict[str, str], name: str
) -> None:
    found = route("openai", "mistral")
    heard = found.heard(headers)

    assert heard.name == name
    assert found.claimed({"own": 1, "truncation": True}, heard).name == name


def test_an_sdk_is_known_where_nothing_in_its_body_tells() -> None:
    """Source: voyageai 0.4 for JavaScript, `rerank`: model, query and documents, as cohere's."""
    found = route("voyage", "cohere")
    heard = found.heard({"x-fern-sdk-name": "voyageai"})

    assert found.claimed({"query": "q", "documents": ["d"]}, heard).name == "voyage"


def test_who_only_headers_tell_of_changes_no_error_of_the_others() -> None:
    alone, shared = route("openai", "mistral"), route("voyage", "openai", "mistral")

    assert alone.heard(OTHERS) is alone.surfaces[0]
    assert [surface.name for surface in shared.surfaces] == ["voyage", "openai"]
    assert isinstance(shared.heard(OTHERS), Superset)
    assert shared.claimed({"truncation": True}, shared.heard(OTHERS)).name == "voyage"
    assert shared.claimed({"truncation": True}, shared.heard(MISTRAL)).name == "mistral"


@pytest.mark.parametrize(
    ("surfaces", "body", "name", "keys"),
    [
        (
            ("voyage", "openai", "mistral"),
            {"input": ["a"], "model": "m", "task": "retrieval.query"},
            "openai",
            {"error", "detail"},
        ),
        (
            ("voyage", "cohere"),
            {"query": "q", "documents": ["d"], "model": "m", "top_n": 1},
            "cohere",
            {"id", "message", "detail", "error"},
        ),
    ],
)
def test_errors_of_bodies_that_nobody_claims_carry_everyones_keys(
    surfaces: tuple[str, ...], body: JsonObject, name: str, keys: set[str]
) -> None:
    """Source: jina's embedder and ranker of haystack, which raise `reply["detail"]`."""
    found = route(*surfaces)
    spoken = found.claimed(body, found.heard({}))

    assert spoken.name == name
    assert set(spoken.error_body(NotFound("no"), "r")) == keys


def test_who_tells_has_no_keys_of_others() -> None:
    found = route("voyage", "cohere")
    cohere = found.heard({"x-fern-sdk-name": "cohere"})
    voyage = found.claimed({"top_k": 1}, found.heard({}))

    assert set(found.claimed({}, cohere).error_body(NotFound("no"), "r")) == {"id", "message"}
    assert voyage.error_body(NotFound("no"), "r") == {"detail": "no"}


def test_all_but_the_keys_of_a_shared_error_is_of_whom_no_body_gets_past() -> None:
    found = route("own", "anthropic")
    anthropic = built_in()["anthropic"]
    spoken = found.claimed({}, found.heard({}))

    assert (spoken.keep_alive, spoken.rates) == (anthropic.keep_alive, anthropic.rates)
    assert spoken.status(Overloaded("x")) == 529
    assert spoken.error_event(NotFound("no"), "r") == anthropic.error_event(NotFound("no"), "r")


def test_a_plugins_surface_is_told_by_header_or_body() -> None:
    found = route("own", "openai")

    assert found.heard({"x-own": "1"}).name == "own"
    assert found.claimed({"own": 1}, found.heard({})).name == "own"
    assert found.claimed({}, found.heard({})).name == "openai"


def test_a_path_of_one_surface_asks_for_no_header() -> None:
    assert not route("mistral").sdks
    assert route("mistral").heard(OTHERS).name == "mistral"
