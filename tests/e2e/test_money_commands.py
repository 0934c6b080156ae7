"""`modgate usage` and `modgate cost` over a ledger, as an operator runs them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rigs.ledger import KEY, WALL, ledger, receipt, segments

from modgate.api.sink import Attempt
from modgate.cli import main
from modgate.ledger.reader import adjustments

FILE = """
[plugin.llm]
[model.chat]
modality = "llm"
[[backend]]
name = "eu-1"
url = "http://127.0.0.1:1"
region = "eu"
serves = { chat = "engine" }
cost_per_hour = "3.60 EUR"
[price.first]
effective = 2026-01-01
currency = "EUR"
units = { "llm.output_tokens" = "1/1M" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file with prices, and a ledger of three requests on two days."""
    tried = Attempt(
        call=0,
        backend="eu-1",
        region="eu",
        model="chat",
        began_s=0.0,
        ended_s=1.0,
        span="",
        state="ok",
    )
    with ledger(tmp_path / "ledger") as made:
        for name, tenant, later_s, exact in (
            ("a", "acme", 0, True),
            ("b", "=beta", 60, False),
            ("c", "acme", 86_400, True),
        ):
            each = receipt(name, tenant=tenant, tokens=1000, exact=exact, attempts=(tried,))
            made.ended(replace(each, wall=WALL + later_s))
    path = tmp_path / "modgate.toml"
    path.write_text(FILE + f'[state]\ndirectory = "{tmp_path}"\n')
    return path


def said(config: Path, command: str, *words: str) -> str:
    result = CliRunner().invoke(main, [command, "--config", str(config), *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_usage_by_day_as_json(config: Path) -> None:
    rows = json.loads(said(config, "usage", "--by", "day", "--json"))

    assert rows[:2] == [
        {
            "day": "2026-01-01",
            "unit": "llm.output_tokens",
            "amount": 2000,
            "requests": 2,
            "exact": False,
        },
        {"day": "2026-01-01", "unit": "llm.requests", "amount": 2, "requests": 2, "exact": False},
    ]


def test_cost_by_tenant_and_region_as_csv_is_safe_in_a_spreadsheet(config: Path) -> None:
    text = said(config, "cost", "--by", "tenant,region", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))

    assert [(row["tenant"], row["region"], row["requests"], row["price"]) for row in rows] == [
        ("'=beta", "eu", "1", "0.001000"),
        ("acme", "eu", "2", "0.002000"),
    ]


def test_cost_of_a_time_and_a_tenant_as_a_table(config: Path) -> None:
    words = ["--by", "tenant", "--from", "2026-01-02", "--to", "2026-01-03", "--tenant", "acme"]
    lines = said(config, "cost", *words).splitlines()

    assert [line.split() for line in lines] == [
        ["tenant", "currency", "requests", "unpriced", "price", "adjusted", "hardware"],
        ["acme", "EUR", "1", "0", "0.001000", "0.000000"],
    ]


def test_hardware_and_idle_sum_to_what_the_machine_costs(config: Path) -> None:
    words = ["--hardware", "--from", "2026-01-01", "--to", "2026-01-03", "--json"]
    rows = json.loads(said(config, "cost", "--by", "tenant", *words))
    shares = {row["tenant"]: round(float(row["hardware"]) * 10**6) for row in rows}

    assert sum(shares.values()) == 48 * 3_600_000
    assert shares == {"acme": 20_000, "=beta": 10_000, "(idle) eu-1": 48 * 3_600_000 - 30_000}


def test_a_correction_is_posted_once_beside_the_bills(config: Path) -> None:
    text = config.read_text()
    config.write_text(
        f'{text}[price.second]\ncorrects = "first"\ncurrency = "EUR"\n'
        'units = { "llm.output_tokens" = "3/1M" }\n[ledger]\n'
        f'key = {{ file = "{config.parent / "key"}" }}\n'
    )
    (config.parent / "key").write_text(KEY.reveal())
    before = {path: path.read_bytes() for path in segments(config.parent / "ledger")}
    shown = said(config, "rerate", "--from", "2026-01-01", "--to", "2026-01-02")
    posted = [said(config, "rerate", "--post") for _ in range(2)]
    rows = json.loads(said(config, "cost", "--by", "tenant,day", "--json"))

    assert shown == "2 corrections, 0.004000 EUR: would be posted, with --post\n"
    assert posted == [
        "3 corrections, 0.006000 EUR: posted\n",
        "0 corrections, 0.000000 EUR: posted\n",
    ]
    assert [(row["tenant"], row["day"], row["price"], row["adjusted"]) for row in rows] == [
        ("=beta", "2026-01-01", "0.001000", "0.002000"),
        ("acme", "2026-01-01", "0.001000", "0.002000"),
        ("acme", "2026-01-02", "0.001000", "0.002000"),
    ]
    assert {path: path.read_bytes() for path in before} == before
    assert [each.sequence for each in adjustments(config.parent / "ledger", KEY)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["usage", "--by", "tenent"], "no group 'tenent'; did you mean 'tenant'?"),
        (["usage", "--from", "yesterday"], "a day reads 2026-03-01"),
        (["cost"], "say which file has the price books"),
    ],
)
def test_what_cannot_be_asked_is_told(words: list[str], text: str) -> None:
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
