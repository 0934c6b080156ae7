"""What plugins declare must fit together before anything is served."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from made_plugins import Sounds, SoundsConfig, Words, WordsConfig, unshaped

from modgate.errors import PluginError
from modgate.host.check import check
from modgate.host.installed import Origin
from modgate.http.surfaces import built_in
from modgate.plugin import Endpoint, Modality, Target, Unit

OWNER = Origin(name="own", distribution="acme-own", version="2.0")


def checked(*modalities: Modality[WordsConfig] | Modality[SoundsConfig]) -> None:
    by_name = {each.name: each for each in modalities}
    endpoints = [(each.name, one) for each in modalities for one in each.endpoints()]
    check(by_name, dict.fromkeys(by_name, OWNER), endpoints, built_in())


def words(**declared: object) -> Words:
    """A words modality that declares something else."""
    return type("Made", (Words,), declared)(WordsConfig())


def at(*paths: str, **more: object) -> Words:
    """A words modality with endpoints at these paths."""

    def endpoints(self: object) -> Iterable[Endpoint]:
        del self
        return [Endpoint(path=path, shape=unshaped, **more) for path in paths]

    return words(endpoints=endpoints)


def test_what_fits_is_not_complained_about() -> None:
    checked(words(), Sounds(SoundsConfig()))


@pytest.mark.parametrize("name", ["health", "admin", "models", "v1", "metrics", "Big", "a-b", ""])
def test_a_reserved_or_odd_modality_name_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match=r"plugin 'own \(acme-own 2\.0\)' has a modality of"):
        checked(words(name=name))


@pytest.mark.parametrize("name", ["requests", "bytes_in", "bytes_out", "In", "in-put"])
def test_a_unit_that_core_counts_itself_or_an_odd_name_is_refused(name: str) -> None:
    units = (*Words.units, Unit(name, "mine"))

    with pytest.raises(PluginError, match=f"bad, reserved or repeated unit: {name}"):
        checked(words(units=units))


def test_a_unit_declared_twice_is_refused() -> None:
    units = (*Words.units, Words.units[0])

    with pytest.raises(PluginError, match="repeated unit: input_tokens"):
        checked(words(units=units))


@pytest.mark.parametrize(
    "declared",
    [
        {"weights": {"pages": 1.0}},
        {"gateway_counts": frozenset({"pages"})},
        {"units": (*Words.units, Unit("part", "inside", part_of="pages"))},
    ],
)
def test_speaking_of_a_unit_that_is_not_declared_is_refused(declared: dict[str, object]) -> None:
    with pytest.raises(PluginError, match="a unit that it does not declare: pages"):
        checked(words(**declared))


def test_a_modality_without_a_deadline_is_refused() -> None:
    with pytest.raises(PluginError, match="no deadline for the phase total"):
        checked(words(deadlines={"first_byte": Target(base_s=1.0)}))


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/x", "/health/live", "/metrics", "/openapi.json", "v1", "/a/"]
)
def test_a_path_of_core_or_an_odd_one_is_refused(path: str) -> None:
    with pytest.raises(PluginError, match=f"claims a reserved or bad path: {path}"):
        checked(at(path))


def test_one_modality_may_not_claim_a_path_twice() -> None:
    with pytest.raises(PluginError, match="declares the path /v1/words twice"):
        checked(at("/v1/words", "/v1/words"))


def test_two_modalities_must_read_a_shared_path_the_same_way() -> None:
    form = Sounds(SoundsConfig())

    with pytest.raises(PluginError, match="wants form bodies on /v1/sounds, which others use"):
        checked(at("/v1/sounds"), form)


def test_a_surface_that_nobody_brings_is_refused_with_those_that_exist() -> None:
    with pytest.raises(PluginError, match=r"names the surface 'klingon'; known: .*openai"):
        checked(at("/v1/words", surfaces=("klingon",)))


def test_an_endpoint_without_a_surface_is_refused() -> None:
    with pytest.raises(PluginError, match="names no surface for /v1/words of words"):
        checked(at("/v1/words", surfaces=()))
