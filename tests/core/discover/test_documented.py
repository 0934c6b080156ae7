"""The pages say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from modgate.api.authenticator import Document
from modgate.api.discover import Found, Get, Lost, Pause
from modgate.discover.file import instances
from modgate.discover.kinds import built_in

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "operators" / "discovery.md").read_text()


@pytest.mark.parametrize("kind", sorted(built_in()))
def test_every_key_of_a_kind_is_explained(kind: str) -> None:
    section = PAGE.partition(f'\n## `kind = "{kind}"`\n')[2].partition("\n## ")[0]
    config: type[BaseModel] = built_in()[kind].config_type

    assert config.model_fields
    assert [name for name in config.model_fields if f"`{name}`" not in section] == []
    assert all(each.description for each in config.model_fields.values())


def test_the_list_that_is_shown_is_one() -> None:
    [text] = re.findall(r"```toml\n# racks.toml\n(.*?)```", PAGE, re.DOTALL)

    assert [each.draining for each in instances(text.encode(), toml=True)] == [False, False, True]


def test_the_discoverer_that_is_shown_finds_engines() -> None:
    page = (DOCS / "plugin-authors" / "discoverers.md").read_text()
    [text] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {"__name__": "shown"}
    exec(text, made)
    kind = made["modgate_discoverers"]()[0]
    finding = kind(kind.config_type(url="https://r")).discover(lambda: 0.0, lambda: 1.0)

    assert next(finding) == Get(url="https://r")
    good = Document(status=200, body=b'{"engines": [{"id": "a", "url": "http://a"}]}')
    assert isinstance(finding.send(good), Found)
    assert finding.send(None) == Pause(for_s=10)
    assert isinstance(finding.send(None), Get)
    assert finding.send(Document(status=500)) == Lost(reason="the registry answers with status 500")
    assert finding.send(None) == Pause(for_s=1)
