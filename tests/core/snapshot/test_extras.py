"""A section whose extra is not installed is a mistake before anything is served."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

FILE = """[limits.store]
url = "{store}"
[peers]
url = "redis://127.0.0.1:1"
secret = {{ file = "{secret}" }}
[trace]
otlp = "http://127.0.0.1:1"
"""


def written(folder: Path, store: str) -> Path:
    secret, file = folder / "secret", folder / "modgate.toml"
    secret.write_text("sixteen characters")
    file.write_text(FILE.format(store=store, secret=secret))
    return file


def test_sections_whose_extra_is_not_installed_are_told_with_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "redis://127.0.0.1:1")
    blueprint_of(file)
    for name in [*sys.modules, "redis", "opentelemetry.exporter"]:
        if name.startswith(("redis", "opentelemetry.exporter")):
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as refused:
        blueprint_of(file)

    assert [str(each).removeprefix(f"{tmp_path}/") for each in refused.value.problems] == [
        "modgate.toml:2: limits.store.url: needs modgate[redis]: pip install 'modgate[redis]'",
        "modgate.toml:4: peers.url: needs modgate[redis]: pip install 'modgate[redis]'",
        "modgate.toml:7: trace.otlp: needs modgate[otel]: pip install 'modgate[otel]'",
    ]


def test_levels_of_one_host_need_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "modgate.toml"
    file.write_text(f'[limits.store]\nurl = "owner://{tmp_path}/limits.sock"\n')
    monkeypatch.setitem(sys.modules, "redis", None)

    assert blueprint_of(file).linked.file.limits.store is not None
