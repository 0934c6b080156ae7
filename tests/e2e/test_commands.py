"""Commands that cannot do what is asked say why in a line, and what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from gateways import start
from servers import free_port

from modgate.auth.store import Store
from modgate.cli import main
from modgate.cli.try_ import _tried
from modgate.plugin import Sample


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["try", "llm", "--url", "nonsense"], 2, "--url reads http://HOST:PORT"),
        (["try", "llm", "--key", "b\u00e4d"], 2, "the key has characters that no key has"),
        (["chek"], 2, "no command 'chek'; did you mean 'check'?"),
        (["try", "lmm"], 2, "no modality 'lmm'; did you mean 'llm'?; there are: asr"),
        (["serve", "--log-level", "LOUD"], 2, "'LOUD' is not one of"),
        (["serve", "--only", "lmm"], 1, "1 problem"),
        (["serve", "x.toml", "--only", "llm"], 2, "--only is for the start without a file"),
        (["check", "none.toml"], 1, "none.toml: no such file or directory"),
        (["keys", "new", "a", "--directory", "/none"], 1, "/none/pepper: no such file"),
        (["audit", "--last", "-1"], 2, "'--last': -1 is not in the range"),
        (["usage", "--directory", "/none"], 1, "there is no ledger in /none"),
    ],
)
def test_a_command_that_cannot_says_why(words: Sequence[str], code: int, text: str) -> None:
    found, line = said(*words)

    assert text in line
    assert found == code


def test_a_word_that_no_key_can_carry_is_told(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("pepper")

    code, line = said("keys", "new", "a", "--env", "LIVE", "--directory", str(tmp_path))

    assert "1 to 16 letters, a to z" in line
    assert code == 2


def test_a_key_of_a_file_is_rotated_by_another_line_of_its_id(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("pepper")
    new = ("keys", "new", "ci", "--directory", str(tmp_path), "--id")

    code, line = said(*new, "abcdefghijkl")
    refused = said(*new, "my-key")
    of_store = said(*new, "abcdefghijkl", "--tenant", "acme")

    assert "line: abcdefghijkl " in line
    assert (code, refused[0], of_store[0]) == (0, 2, 2)
    assert "modgate keys rotate" in of_store[1]


NONE_INSTALLED = """
from importlib.metadata import EntryPoints
from modgate.cli import main
from modgate.host import installed
installed.entry_points = lambda: EntryPoints(())
main(["plugins"])
"""


@pytest.mark.slow
def test_without_a_plugin_it_says_what_to_install() -> None:
    command = [sys.executable, "-c", NONE_INSTALLED]
    line = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert line.startswith("no plugin is installed; ")
    assert "pip install 'modgate-llm[local]'" in line


def test_without_a_gateway_it_says_how_to_start_one() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    assert said("try", "llm", "--url", url, "--key", "k") == (
        1,
        f"no gateway answers at {url}; start one: modgate serve",
    )


def test_without_a_key_it_says_where_one_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("MODGATE_KEY", raising=False)

    code, line = said("try", "llm")

    assert "give --key or MODGATE_KEY" in line
    assert code == 2


async def test_a_gateway_that_refuses_is_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with await start(tmp_path, [{"url": "http://127.0.0.1:9"}], plugins=("llm",)) as running:
        host, port = running.app.admin_address
        samples = [Sample(path="/v1/chat/completions", json={})]
        codes = [
            await _tried("llm", samples, running.url, "bad", None),
            await _tried("llm", samples, f"http://{host}:{port}", running.key, None),
            await _tried("llm", samples, running.url.replace("http:", "https:"), "k", None),
            await _tried("ocr", samples, running.url, running.key, None),
        ]

    lines = capsys.readouterr().err.splitlines()
    assert codes == [1, 1, 1, 1]
    assert lines[0].endswith("refused (401): the API key is not valid")
    assert "is the admin listener" in lines[1]
    assert lines[2].startswith("no TLS with https://")
    assert "has no ocr model for this key" in lines[3]


@pytest.mark.parametrize(("names", "code"), [("chat", 0), ("gone", 1)])
def test_a_file_is_checked_against_the_tenants_of_its_store(
    tmp_path: Path, names: str, code: int
) -> None:
    state, file = tmp_path / "state", tmp_path / "modgate.toml"
    state.mkdir()
    file.write_text(
        f'[state]\ndirectory = "{state}"\n[plugin.llm]\n[model.chat]\nmodality = "llm"\n'
    )
    store = Store(state / "tenants.db")
    store.set_tenant("beta", {"models": [names]}, actor="a test", wall=1.0)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    result = CliRunner().invoke(main, ["check", str(file)])
    after = {path.name: path.read_bytes() for path in state.iterdir()}
    store.close()

    assert result.exit_code == code
    assert ("tenant.beta.models[0]: no [model.gone]" in result.output) == (code == 1)
    marks = "tenants.db-shm"  # of who reads
    assert after.keys() == before.keys()
    assert {**after, marks: b""} == {**before, marks: b""}


def test_a_store_that_has_no_directory_is_told_by_check(tmp_path: Path) -> None:
    file, pepper = tmp_path / "modgate.toml", tmp_path / "pepper"
    pepper.write_text("a pepper of some length")
    file.write_text(
        f'[plugin.llm]\n[auth]\npepper = {{ file = "{pepper}" }}\n'
        f'store = "{tmp_path}/shared/tenants.db"\n'
    )
    result = CliRunner().invoke(main, ["check", str(file)])

    assert result.exit_code == 1
    assert f"modgate.toml:4: auth.store: the directory {tmp_path}/shared is not" in result.output


def test_a_store_that_cannot_be_read_is_told_by_check(tmp_path: Path) -> None:
    file = tmp_path / "modgate.toml"
    file.write_text(f'[state]\ndirectory = "{tmp_path}"\n[plugin.llm]\n')
    (tmp_path / "tenants.db").write_text("no database at all, and longer than a header is" * 9)

    code, line = said("check", str(file))

    assert code == 1
    assert "tenants.db" in line
