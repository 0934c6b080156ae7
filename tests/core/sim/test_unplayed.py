"""What counts where a file serves, and not where it is replayed, is named by its keys."""

from __future__ import annotations

from pathlib import Path

from made_configs import PLUGINS, Config
from toys.errands import ERRANDS

from modgate.host.installed import Installed
from modgate.sim.unplayed import unplayed
from modgate.snapshot.blueprint import blueprint_of

FILE = """
[plugin.errands]
[plugin.house]
[plugin.advice]
[model.chat]
modality = "errands"
fallback = ["small"]
[model.small]
modality = "errands"
[tenant.acme]
fallback = true
slo = "gold"
[slo.gold.errands]
total = { base = "1s" }
[[backend]]
name = "b"
url = "http://b"
region = "eu"
cost_per_hour = "2 EUR"
serves = { chat = "c", small = "s" }
[select]
cost = 1
away = { eu = "10ms" }
"""
MORE = """
[scorer.cool]
[scorer.kept-apart]
models = ["small"]
tenant = "acme"
hardware = "h100"
[policy.says]
[[discover]]
name = "pods"
kind = "dns"
host = "engines"
port = 80
serves = { chat = "c" }
[tenant.other]
limits = { in_flight = 3 }
"""


def named(folder: Path, text: str) -> list[str]:
    made = blueprint_of(
        Config(folder).write(text), installed=Installed(), extra={**PLUGINS, "errands": ERRANDS}
    )
    return list(unplayed(made, {"chat"}))


def test_what_a_replay_does_not_know_is_named(tmp_path: Path) -> None:
    assert named(tmp_path, FILE + MORE) == [
        "scorer.cool",
        "policy.says",
        "model.chat.fallback",
        "discover.pods",
        "tenant.*.limits",
    ]


def test_preferences_classes_and_queues_are_replayed(tmp_path: Path) -> None:
    text = FILE.replace('fallback = ["small"]\n', "") + '[queue]\nwork = "30s"\n'

    assert named(tmp_path, text) == []
