"""The names of models are found wherever a plugin's config holds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from modgate.config.model_names import model_names
from modgate.plugin import ModelName
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

VECTORS, CHATS = "embedding", "llm"
Name = ModelName[VECTORS]


class Inner(BaseModel, frozen=True, extra="forbid"):
    """A table within."""

    model: Name | None = None


class Holder(BaseModel, frozen=True, extra="forbid"):
    """A config that names models in every way."""

    word: str = "plain"
    one: Name = "default"
    maybe: Name | None = None
    either: Name | ModelName[CHATS] | None = None
    several: tuple[Name, ...] = ()
    listed: list[Name] | None = None
    pair: tuple[str, Name] | None = None
    any_of: frozenset[Name] = frozenset()
    by_use: dict[str, Name] = {}
    weights: dict[Name, str] = {}
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("said", "at", "names"),
    [
        ({"one": "a"}, ("one",), ["a"]),
        ({"maybe": "a"}, ("maybe",), ["a"]),
        ({"several": ["a", "b"]}, ("several", 1), ["a", "b"]),
        ({"listed": ["a"]}, ("listed", 0), ["a"]),
        ({"pair": ["a", "b"]}, ("pair", 1), ["b"]),
        ({"any_of": ["a"]}, ("any_of", 0), ["a"]),
        ({"by_use": {"x": "a"}}, ("by_use", "x"), ["a"]),
        ({"weights": {"a": "x"}}, ("weights", "a"), ["a"]),
        ({"inner": {"model": "a"}}, ("inner", "model"), ["a"]),
        ({"inners": [{}, {"model": "a"}]}, ("inners", 1, "model"), ["a"]),
    ],
)
def test_a_name_is_found_where_it_stands(
    said: dict[str, object], at: tuple[str | int, ...], names: list[str]
) -> None:
    found = list(model_names((), Holder.model_validate({"one": "default", **said})))
    own = [each for each in found if each[:2] != (("one",), "default")]

    assert [name for _, name, _ in own] == names
    assert own[-1] == (at, names[-1], (VECTORS,))


def test_a_default_is_a_name_and_nothing_is_none() -> None:
    assert list(model_names(("plugin", "x"), Holder())) == [
        (("plugin", "x", "one"), "default", (VECTORS,))
    ]


def test_a_name_of_either_modality_is_one_name() -> None:
    found = list(model_names((), Holder(one="default", either="a")))

    assert found[-1] == (("either",), "a", (VECTORS, CHATS))
    assert len(found) == 2


@pytest.mark.parametrize("plugin", ["ocr", "rerank"])
@pytest.mark.parametrize("named", ["nosuch", "chat"])
def test_the_model_of_requests_without_one_is_of_the_modality(
    tmp_path: Path, plugin: str, named: str
) -> None:
    path = tmp_path / "modgate.toml"
    models = f'[model.own]\nmodality = "{plugin}"\n[model.chat]\nmodality = "llm"\n'
    path.write_text(f'[plugin.llm]\n[plugin.{plugin}]\ndefault_model = "own"\n{models}')
    blueprint_of(path)
    path.write_text(path.read_text().replace('"own"', f'"{named}"'))

    with pytest.raises(ConfigError, match=f"{path}:3: .*'{named}' is no {plugin} model$"):
        blueprint_of(path)
