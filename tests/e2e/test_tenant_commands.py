"""`modgate tenants` and `modgate keys` change the store that gateways run on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from gateways import configuration

from modgate.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose state directory is there."""
    path, _ = configuration(tmp_path, [{"url": "http://127.0.0.1:9"}], plugins=["llm"])
    (tmp_path / "state").mkdir()
    with path.open("a") as file:
        file.write(f'[state]\ndirectory = "{tmp_path / "state"}"\n')
    return path


def said(config: Path, *words: str, stdin: str = "") -> str:
    """What a command prints; it must go well."""
    result = CliRunner().invoke(main, [*words, "--config", str(config)], input=stdin)
    assert result.exit_code == 0, result.output
    return result.output


def refused(config: Path, *words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--config", str(config)])
    assert result.exit_code != 0, result.output
    return result.output


def test_a_tenant_is_set_shown_listed_and_deleted(config: Path) -> None:
    said(config, "tenants", "set", "beta", '{"models": ["chat"]}')
    shown = json.loads(said(config, "tenants", "show", "beta"))
    listed = said(config, "tenants", "list").splitlines()
    deleted = said(config, "tenants", "delete", "beta")

    assert shown == {"name": "beta", "declared": "store", "grant": {"models": ["chat"]}, "keys": []}
    assert [line.split()[0] for line in listed] == ["tenant", "acme", "beta"]
    assert deleted == "deleted beta, 0 keys revoked\n"
    assert "no tenant 'beta'" in refused(config, "tenants", "show", "beta")


def test_a_grant_may_come_by_standard_input(config: Path) -> None:
    said(config, "tenants", "set", "beta", "-", stdin='{"batch_shared": true}')

    assert json.loads(said(config, "tenants", "show", "beta"))["grant"] == {"batch_shared": True}


def test_every_mistake_of_a_grant_is_told_at_once(config: Path) -> None:
    told = refused(config, "tenants", "set", "beta", '{"models": ["chatt"], "slo": "gold"}')

    assert "tenant.beta.models[0]: no [model.chatt]; did you mean 'chat'?" in told
    assert "tenant.beta.slo: no [slo.gold]" in told
    assert "2 problems" in told


def test_a_tenant_of_the_file_is_not_changed(config: Path) -> None:
    told = refused(config, "tenants", "set", "acme")

    assert f"tenant 'acme' is declared in {config}:" in told


def test_a_key_is_shown_once_listed_rotated_and_revoked(config: Path) -> None:
    first, named = said(config, "keys", "new", "ci", "--tenant", "acme").splitlines()
    key, key_id = first.split()[1], named.split()[1]
    turned = said(config, "keys", "rotate", key_id, "--grace", "2d").split()[1]
    rotating = json.loads(said(config, "keys", "list", "--json"))[1]
    said(config, "keys", "revoke", key_id)
    table = said(config, "keys", "list", "--tenant", "acme")

    assert key.split("_")[2] == turned.split("_")[2] == key_id
    assert key != turned
    assert (rotating["last4"], rotating["tenant"]) == (turned[-4:], "acme")
    assert rotating["rotating_until"] - rotating["created"] >= 2 * 86_400
    assert "revoked 20" in table.splitlines()[2]
    for shown in (key, turned):
        assert shown.split("_")[3] not in table + json.dumps(rotating)
    assert "not revoked" in refused(config, "keys", "rotate", key_id)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["keys", "new", "x", "--tenant", "beta"], "no tenant 'beta'"),
        (["keys", "new", "x", "--grant", "{}"], "say --tenant, too"),
        (["keys", "new", "x", "--tenant", "acme", "--grant", "["], "not valid JSON"),
        (["keys", "new", "x", "--tenant", "acme", "--grant", "[]"], "a grant is a JSON object"),
        (["keys", "new", "x", "--tenant", "acme", "--grant", '{"a": 1}'], "unknown key"),
        (["keys", "rotate", "x", "--grace", "soon"], "a duration reads"),
        (["keys", "revoke", "abcdefghijkl"], "no key 'abcdefghijkl'"),
    ],
)
def test_what_cannot_be_done_says_why(config: Path, words: list[str], part: str) -> None:
    assert part in refused(config, *words)


def test_without_a_state_directory_it_says_what_to_name(tmp_path: Path) -> None:
    words = ["tenants", "list", "--directory", str(tmp_path / "none")]
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 1
    assert "say whose store it is" in result.output


def test_a_start_without_a_file_has_a_store_too(tmp_path: Path) -> None:
    words = ["tenants", "set", "beta", '{"modalities": ["tts"]}', "--directory", str(tmp_path)]
    result = CliRunner().invoke(main, words)

    assert (result.exit_code, result.output) == (0, "set beta\n")
