"""What the types of plugins do while a section is read."""

from __future__ import annotations

from typing import NoReturn

import pytest
from made_configs import Config
from made_plugins import Words, plugin
from pydantic import BaseModel, Field, model_validator

from modgate.host.installed import Installed
from modgate.plugin import ModelFacts
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

HEAD = '[auth]\npepper = { env = "PATH" }\n[plugin.words]\n'


def divides() -> int:
    return 1 // 0


class Dividing(BaseModel, frozen=True, extra="forbid"):
    """Breaks over a default."""

    most: int = Field(default_factory=divides)


class Lost(ModelFacts, frozen=True, extra="forbid"):
    """Breaks over what it looks at."""

    context: int | None = None

    @model_validator(mode="after")
    def look(self) -> NoReturn:
        raise KeyError("{lost}")


class Quitting(BaseModel, frozen=True, extra="forbid"):
    """Ends the process."""

    @model_validator(mode="after")
    def quit(self) -> NoReturn:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"config_type": Dividing}, "plugin.words: Dividing raised ZeroDivisionError: "),
        ({"config_type": Quitting}, "plugin.words: Quitting raised SystemExit: 3"),
        ({"model_type": Lost}, "model.w: Lost raised KeyError: '{lost}'"),
    ],
)
def test_what_a_plugins_type_raises_is_told_at_its_section(
    config: Config, members: dict[str, object], told: str
) -> None:
    path = config.write(HEAD + '[model.w]\nmodality = "words"\n')
    own = plugin(modgate_modalities=[type("Own", (Words,), members)])

    with pytest.raises(ConfigError) as caught:
        blueprint_of(path, installed=Installed(), extra={"words": own})

    assert told in str(caught.value)
    assert f"{path.name}:" in str(caught.value)
