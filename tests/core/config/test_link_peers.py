"""Linking `[peers]`."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_configs import Config


def section(folder: Path, secret: str = "a secret of this cell", url: str = "redis://r:1") -> str:
    (folder / "secret").write_text(secret)
    return f'[peers]\nurl = "{url}"\nsecret = {{ file = "{folder / "secret"}" }}\n'


def test_gateways_may_tell_each_other_under_a_secret(config: Config, tmp_path: Path) -> None:
    found = config.link(section(tmp_path) + 'cell = "eu-1"\n')

    assert found.file.peers is not None
    assert (found.file.peers.url, found.file.peers.cell) == ("redis://r:1", "eu-1")
    assert config.link("[listen]").file.peers is None


def test_a_missing_secret_is_told_with_the_line_to_add(config: Config) -> None:
    [problem] = config.told('[peers]\nurl = "redis://r:1"\n')

    assert problem == (
        "modgate.toml:1: peers: needs a secret that all gateways have: "
        'add secret = { file = "/run/secrets/peers" }'
    )


def test_a_short_secret_is_refused_and_not_shown(config: Config, tmp_path: Path) -> None:
    [problem] = config.told(section(tmp_path, "tiny"))

    assert problem == "modgate.toml:3: peers.secret: is shorter than 16 characters"


@pytest.mark.parametrize("url", ["http://r:1", "owner:///run/x", "r:1"])
def test_what_is_no_redis_is_refused(config: Config, tmp_path: Path, url: str) -> None:
    [problem] = config.told(section(tmp_path, url=url))

    assert 'peers.url: reads "redis://HOST:PORT"' in problem


def test_a_changed_section_takes_a_restart(config: Config, tmp_path: Path) -> None:
    started = config.link("[listen]").file
    now = config.link(section(tmp_path)).file

    assert now.static_changes(started) == ("peers",)
