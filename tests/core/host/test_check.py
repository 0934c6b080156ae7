"""What plugins declare must fit together before anything is served."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from made_plugins import Sounds, SoundsConfig, Words, WordsConfig, unshaped

from modgate.host.check import check
from modgate.host.installed import Origin
from modgate.http.surfaces import built_in
from modgate.plugin import Endpoint, Modality, ModelFacts, StandIn, Target, Unit
from modgate.problems import PluginError

OWNER = Origin(name="own", distribution="acme-own", version="2.0")


def checked(*modalities: Modality[WordsConfig] | Modality[SoundsConfig]) -> None:
    by_name = {each.name: each for each in modalities}
    endpoints = [(each.name, one) for each in modalities for one in each.endpoints()]
    check(by_name, dict.fromkeys(by_name, OWNER), endpoints, built_in())


class Named(ModelFacts, frozen=True, extra="forbid"):
    """A fact that no section can say: the key is the core's."""

    aliases: tuple[str, ...] = ()


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
    ("where", "declared"),
    [
        ("weights", {"weights": {"pages": 1.0}}),
        ("gateway_counts", {"gateway_counts": frozenset({"pages"})}),
        ("part_of", {"units": (*Words.units, Unit("part", "inside", part_of="pages"))}),
    ],
)
def test_speaking_of_a_unit_that_is_not_declared_is_refused(
    where: str, declared: dict[str, object]
) -> None:
    with pytest.raises(PluginError, match=f"it does not declare: pages, in '{where}'"):
        checked(words(**declared))


def test_a_modality_without_a_deadline_is_refused() -> None:
    with pytest.raises(PluginError, match="no deadline for the phase total"):
        checked(words(deadlines={"first_byte": Target(base_s=1.0)}))


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/x", "/health/live", "/metrics", "/openapi.json", "v1", "/a/"]
)
def test_a_path_of_core_or_an_odd_one_is_refused(path: str) -> None:
    with pytest.raises(PluginError, match=f"claims a reserved or bad path: {path}; a good one"):
        checked(at(path))


def test_one_modality_may_not_claim_a_path_twice() -> None:
    with pytest.raises(PluginError, match="declares the path /v1/words twice"):
        checked(at("/v1/words", "/v1/words"))


@pytest.mark.parametrize(
    "paths", [("/sounds/v1/sounds",), ("/v1/w", "/words/v1/w")], ids=["anothers", "its own"]
)
def test_a_path_under_a_modalitys_prefix_is_of_one_endpoint(paths: tuple[str, ...]) -> None:
    with pytest.raises(PluginError, match=f"claims {paths[-1]}, where an endpoint of"):
        checked(at(*paths), Sounds(SoundsConfig()))


def test_two_modalities_must_read_a_shared_path_the_same_way() -> None:
    form = Sounds(SoundsConfig())

    with pytest.raises(PluginError, match="wants form bodies on /v1/sounds, which others use"):
        checked(at("/v1/sounds"), form)


def test_a_surface_that_nobody_brings_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        PluginError, match=r"names the surface 'klingon' for /v1/words; known: .*openai"
    ):
        checked(at("/v1/words", surfaces=("klingon",)))


def test_an_endpoint_without_a_surface_is_refused() -> None:
    with pytest.raises(PluginError, match="names no surface for /v1/words of words"):
        checked(at("/v1/words", surfaces=()))


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"units": Words.units[0]}, "raised TypeError from what words declares"),
        ({"units": (Unit("input_tokens", "x", shown="k", scale=0),)}, "scale is no whole number"),
        ({"units": (*Words.units, Unit("a", "x", shown="input_tokens"))}, "bad or taken name"),
        ({"units": (*Words.units, Unit("a", "x", shown="requests"))}, "bad or taken name"),
        ({"units": (*Words.units, Unit("a", "x", part_of="a"))}, "is a part and has parts: a"),
        ({"weights": {"input_tokens": float("nan")}}, "no number of 0 or more"),
        ({"weights": {"input_tokens": -1.0}}, "no number of 0 or more"),
        ({"phases": {"soon": Target(base_s=1.0)}}, "an unknown phase: soon"),
        ({"phases": {"total": Target(base_s=1.0, per_unit={"pages": 1.0})}}, "not its own"),
        ({"phases": {"total": Target(base_s=float("nan"))}}, "no number of 0 or more seconds"),
        ({"phases": {"total": Target(base_s=1.0, objective=95)}}, "not between 0 and 1"),
        ({"deadlines": {**Words.deadlines, "total": Target(base_s=-1.0)}}, "no number of 0"),
        ({"deadlines": None}, "raised TypeError from what words declares"),
        ({"model_type": dict}, "model_type of words that is no ModelFacts"),
        ({"model_type": Named}, "every model has 'aliases'"),
        ({"serial": frozenset({"soon"})}, "an unknown phase: soon"),
        ({"stand_in": StandIn(said=("voices",))}, "fact that its models do not have: voices"),
        ({"stand_in": StandIn(equal=("rate",))}, "fact that its models do not have: rate"),
    ],
)
def test_what_cannot_be_counted_or_timed_is_refused(
    declared: dict[str, object], complaint: str
) -> None:
    with pytest.raises(PluginError, match=rf"plugin 'own \(acme-own 2\.0\)' .*{complaint}"):
        checked(words(**declared))


@pytest.mark.parametrize(
    "path",
    ["/v1/usage", "/v1/usage/x", "/.well-known/jwks.json", "/v1/a b", "/v1/a?b=c", "/v1/{x}"],
)
def test_a_path_that_is_cores_or_that_no_request_has_is_refused(path: str) -> None:
    with pytest.raises(PluginError, match="claims a reserved or bad path"):
        checked(at(path))


@pytest.mark.parametrize("more", [{"body": "xml"}, {"kind": "job"}, {"at_most": 0}, {"batch": 5}])
def test_an_endpoint_of_what_there_is_not_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(PluginError, match=r"plugin 'own \(acme-own 2\.0\)'"):
        checked(at("/v1/x", **more))


@pytest.mark.parametrize(
    "said",
    [
        {"operation": object()},
        {"summary": 7},
        {"operation": "a\nb"},
        {"summary": "a\u2028b"},
        {"operation": "\ud800"},
    ],
)
def test_what_an_endpoint_is_called_is_a_text_of_one_line(said: dict[str, object]) -> None:
    with pytest.raises(PluginError, match="names /v1/a by no text of one line"):
        checked(at("/v1/a", **said))


def test_room_for_a_body_is_a_whole_number() -> None:
    with pytest.raises(PluginError, match="no room for a body"):
        checked(at("/v1/a", at_most=1.5))


@pytest.mark.parametrize(
    "text", ["Traduit\N{NO-BREAK SPACE}: du texte", "\u6587\u5b57\u3000\u8a8d\u8b58"]
)
def test_a_summary_in_any_language_is_one(text: str) -> None:
    checked(at("/v1/a", summary=text))
