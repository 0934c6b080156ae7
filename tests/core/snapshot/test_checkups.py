from __future__ import annotations

from typing import Any

import pytest

from modgate.api.secret import Secret
from modgate.api.select import Backend
from modgate.api.vitals import Exporter, Rule
from modgate.snapshot.checkups import Checkups
from modgate.telemetry.families import FAMILIES
from modgate.telemetry.rounds import Probe
from modgate.telemetry.signals import Rules

KEY = Secret("k")
HOT = Rule(metric="t")


def backend(url: str = "http://10.0.0.1:8000/e", **more: Any) -> Backend:
    fields: dict[str, Any] = {"name": "b", "family": "vllm", "serves": {}, "key": KEY, **more}
    return Backend(url=url, **fields)


def made(*exporters: Exporter, scrape_s: float = 1.0, probe_s: float = 5.0) -> Checkups:
    return Checkups(
        scrape_s=scrape_s,
        probe_s=probe_s,
        exporters=exporters,
        probes={"vllm": "/health", "home": "/health"},
    )


@pytest.mark.parametrize(
    ("more", "url", "with_key"),
    [
        ({}, "http://10.0.0.1:8000/e/metrics", True),
        ({"metrics": "/m"}, "http://10.0.0.1:8000/e/m", True),
        ({"metrics": ":9/m"}, "http://10.0.0.1:9/m", True),
        ({"metrics": "https://else/m"}, "https://else/m", False),
        ({"metrics_family": "triton"}, "http://10.0.0.1:8002/metrics", True),
        ({"url": "https://[fd00::1]:1", "metrics": ":2/m"}, "https://[fd00::1]:2/m", True),
    ],
)
def test_metrics_are_looked_for_where_they_are(
    more: dict[str, str], url: str, with_key: bool
) -> None:
    [found] = made(probe_s=0).questions([backend(**more)])

    assert (found.url, found.key is not None) == (url, with_key)
    assert found.read is FAMILIES[more.get("metrics_family", "vllm")]


def test_what_is_off_or_unknown_or_ours_is_not_asked() -> None:
    backends = [
        backend(metrics="off"),
        backend(family="home"),
        backend(local=True),
        backend(socket="/s"),
    ]

    assert made(probe_s=0).questions(backends) == []
    assert made(scrape_s=0, probe_s=0).questions([backend()]) == []
    assert [each.read for each in made(scrape_s=0).questions([backend()])] == [Probe()]
    assert made(scrape_s=0).questions([backend(family="paid")]) == []


def test_an_engine_has_the_signals_of_the_first_exporter_that_tells_of_it() -> None:
    checkups = made(
        Exporter(name="x", url="http://x/metrics", engines=frozenset({"pods"}), temperature=HOT),
        Exporter(name="y", port=9400, temperature=HOT),
        scrape_s=0,
        probe_s=0,
    )
    found = checkups.questions([backend(name="pods/1", uid="pods:1"), backend(name="pods/2")])

    assert [each.url for each in found] == ["http://x/metrics", "http://10.0.0.1:9400/metrics"]
    assert {each.read for each in found} == {Rules(temperature=HOT)}
    assert all(each.key is None for each in found)
