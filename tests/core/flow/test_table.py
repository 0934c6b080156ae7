"""Which endpoint and which model a request is for, on a path that two modalities share."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from made_plugins import Words, WordsConfig, unshaped

from modgate.api.json import JsonObject
from modgate.host.load import Loaded
from modgate.http.surfaces import built_in
from modgate.plugin import Body, Caller, Endpoint, Modality, Model, Refused, TooLarge
from modgate.table import Resolved, Table, table_of

SHARED = "/v1/tell"
SMALL, LARGE = 10, 100


class DefaultConfig(WordsConfig):
    """One that says which model is meant where none is named."""

    default_model: str | None = None


class Small(Words):
    """Takes short bodies, which may leave the model out."""

    name = "small"
    config_type = DefaultConfig

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path=SHARED, shape=unshaped, at_most=SMALL, model_optional=True)
        yield Endpoint(path="/v1/named", shape=unshaped)


class Large(Words):
    """Takes long ones."""

    name = "large"

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path=SHARED, shape=unshaped, at_most=LARGE)


def table(default_model: str | None = None) -> Table:
    modalities: dict[str, Modality[WordsConfig]] = {
        "large": Large(WordsConfig()),
        "small": Small(DefaultConfig(default_model=default_model)),
    }
    loaded = Loaded(
        plugins=(),
        modalities=modalities,
        dialects={},
        engines={},
        surfaces=built_in(),
        endpoints=[(name, e) for name, each in modalities.items() for e in each.endpoints()],
    )
    names = {"big": "large", "first": "small", "second": "small"}
    return table_of(loaded, [Model(name=name, modality=of) for name, of in names.items()])


def resolved(found: Table, path: str, size: int = 2, **said: str) -> Resolved:
    body: JsonObject = dict(said)
    route = found.find("POST", path)
    return found.resolve(route, Body.json(b" " * size), body, Caller(tenant="acme", key_id="k"))


def test_a_body_has_its_own_endpoints_room_whatever_others_of_the_path_take() -> None:
    found = table()
    room = {path: found.find("POST", path).at_most for path in (SHARED, f"/small{SHARED}")}

    assert room == {SHARED: LARGE, f"/small{SHARED}": SMALL}
    assert resolved(found, SHARED, LARGE, model="big").endpoint.at_most == LARGE
    assert resolved(found, SHARED, SMALL, model="first").endpoint.at_most == SMALL
    with pytest.raises(TooLarge, match=f"limit \\({SMALL}\\) exceeded"):
        resolved(found, SHARED, SMALL + 1, model="first")


@pytest.mark.parametrize(("default", "model"), [(None, "first"), ("second", "second")])
def test_a_model_may_be_left_out_where_the_wire_says_so(default: str | None, model: str) -> None:
    found = table(default)

    assert resolved(found, SHARED).model.name == model
    assert resolved(found, f"/small{SHARED}").model.name == model
    for path in ("/v1/named", f"/large{SHARED}"):
        with pytest.raises(Refused, match="'model' is required"):
            resolved(found, path)


def test_a_model_on_another_modalitys_path_is_told_its_own() -> None:
    with pytest.raises(Refused, match="is a small model; its endpoints: /v1/tell, /v1/named"):
        resolved(table(), f"/large{SHARED}", model="first")
