"""What people are shown: the effective values with origins, the schema, the reference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from made_configs import Config

from modgate.api.json import Json
from modgate.config.decode import decode
from modgate.config.reference import reference
from modgate.config.schema import File, json_schema
from modgate.config.show import effective


def rows(config: Config, text: str) -> dict[str, tuple[str, str]]:
    source = config.source(text)
    found = effective(decode(source), source)
    return {key: (value, origin.replace(f"{config.folder}/", "")) for key, value, origin in found}


def test_each_value_is_shown_with_its_line_or_as_a_default(config: Config) -> None:
    found = rows(config, '[listen]\naddress = "0.0.0.0:80"\n[plugin.words]\nmost = 3\n')

    assert found["listen.address"] == ('"0.0.0.0:80"', "modgate.toml:2")
    assert found["admin.address"] == ('"127.0.0.1:8081"', "default")
    assert found["plugin.words.most"] == ("3", "modgate.toml:4")


def test_items_of_lists_are_shown_one_by_one(config: Config) -> None:
    found = rows(config, '[[backend]]\nname = "b"\nurl = "http://x"\nserves = { m = "e" }\n')

    assert found["backend[0].name"] == ('"b"', "modgate.toml:2")
    assert found["backend[0].serves.m"][0] == '"e"'


def test_a_long_list_is_not_gone_through_for_each_of_its_values(config: Config) -> None:
    """Thousands of engines, or of prices, would hold up each reload for seconds."""

    class Once(list[Json]):
        def __iter__(self) -> Iterator[Json]:
            raise AssertionError("it is gone through")

    source = config.source('[[backend]]\nname = "b"\nurl = "http://x"\nserves = { m = "e" }\n')
    file = decode(source)
    source.values["backend"] = Once(source.values["backend"])
    found = {key: value for key, value, _ in effective(file, source)}

    assert found["backend[0].name"] == '"b"'


def test_secrets_are_masked(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODGATE_TEST_KEY", "hunter2")

    found = rows(
        config,
        '[auth]\npepper = { env = "MODGATE_TEST_KEY" }\n[[backend]]\nname = "b"\nurl = "http://x"\n'
        'serves = { m = "e" }\nkey = { env = "MODGATE_TEST_KEY" }\n',
    )

    assert found["auth.pepper"] == ("***", "modgate.toml:2")
    assert found["backend[0].key"] == ("***", "modgate.toml:7")
    assert "hunter2" not in str(found)


def test_every_key_has_a_description() -> None:
    def bare(schema: dict[str, object]) -> list[str]:
        return [name for name, each in schema.items() if "description" not in each]

    whole = json_schema()

    assert not bare(whole["properties"])
    assert not {
        name: left
        for name, each in whole["$defs"].items()
        if (left := bare(each.get("properties", {}))) and name != "RateText"
    }


def test_the_schema_knows_every_section_and_refuses_others() -> None:
    whole = json_schema()

    assert set(whole["properties"]) == set(File.model_fields)
    assert whole["additionalProperties"] is False


def test_the_reference_names_every_section_and_key() -> None:
    text = reference()

    assert all(f"## `{name}`" in text for name in File.model_fields)
    assert "`client_stalled`" in text
    assert "`spool_bytes`" in text
    assert "a line each: key id, digest, name; before it until= and role=" in text


def test_the_reference_shows_values_as_they_are_written() -> None:
    text = reference()

    assert '| `connect` | a duration | `"5s"` |' in text
    assert '| `segment` | a size | `"64MiB"` |' in text
    assert '| `requests` | `"50/s"` | - |' in text
    assert "| `pico` |" not in text  # no file says "0.15/1M" in its parts
    assert "### `timeouts.MODALITY`" in text
    assert "| `attempt` | a table | see below |" in text
