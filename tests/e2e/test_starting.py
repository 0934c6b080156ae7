"""What a person sees when the gateway cannot start: the reason, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from gateways import configuration

from modgate.cli import main
from modgate.config.decode import decode, read
from modgate.config.show import effective
from modgate.errors import ConfigError
from modgate.server.app import App


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", str(tmp_path / "none.toml")])

    assert result.exit_code == 2
    assert "none.toml" in result.output
    assert "Traceback" not in result.output


async def test_a_second_gateway_on_a_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    path, _ = configuration(tmp_path, [{"url": "http://127.0.0.1:9"}], plugins=("llm",))
    first = App(path, directory=tmp_path / "state")
    await first.open()
    try:
        with pytest.raises(ConfigError, match="is held by another gateway"):
            await App(path, directory=tmp_path / "state").open()
    finally:
        await first.close()


def test_the_effective_configuration_says_where_each_value_was_written(tmp_path: Path) -> None:
    path = tmp_path / "modgate.toml"
    path.write_text(
        '[listen]\naddress = "127.0.0.1:1"\n[tenant.a]\nlimits = { requests = "5/s" }\n'
    )
    source = read(path)

    rows = {key: origin for key, _, origin in effective(decode(source), source)}

    assert rows["listen.address"] == f"{path}:2"
    assert rows["tenant.a.limits.requests.amount"] == f"{path}:4"
    assert rows["tenant.a.limits.in_flight"] == "default"
    assert rows["admin.address"] == "default"
