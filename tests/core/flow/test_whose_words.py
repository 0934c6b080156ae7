"""In whose words a path answers: as the headers say, else as the body does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modgate.http.surfaces import Superset, built_in
from modgate.plugin import Endpoint, Plan, Request, Surface
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


def unshaped(request: Request) -> Plan:
    raise NotImplementedError


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


def test_a_plugins_surface_is_told_by_header_or_body() -> None:
    found = route("own", "openai")

    assert found.heard({"x-own": "1"}).name == "own"
    assert found.claimed({"own": 1}, found.heard({})).name == "own"
    assert found.claimed({}, found.heard({})).name == "openai"


def test_a_path_of_one_surface_asks_for_no_header() -> None:
    assert not route("mistral").sdks
    assert route("mistral").heard(OTHERS).name == "mistral"
