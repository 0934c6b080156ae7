from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from modgate.api.discover import Away, Found, Instance, Lost, Names, Pause, Resolve, SrvTarget
from modgate.discover.dns import Dns, DnsConfig


def told(config: dict[str, object], *answers: Names | Away) -> tuple[list[list[str]], list[object]]:
    """What is found after each answer, and everything else that it says."""
    finding = Dns(DnsConfig.model_validate(config)).discover(lambda: 0.0, lambda: 0.5)
    left, found, said = list(answers), [], []
    want = next(finding)
    while True:
        if isinstance(want, Resolve):
            if not left:
                return found, said
            answer = left.pop(0)
            want = finding.throw(answer) if isinstance(answer, Away) else finding.send(answer)
            continue
        if isinstance(want, Found):
            found.append(urls(want.instances))
        else:
            said.append(want)
        want = finding.send(None)


def urls(instances: Sequence[Instance]) -> list[str]:
    return [each.url for each in instances]


def test_each_address_of_a_name_is_an_engine() -> None:
    found, said = told(
        {"host": "vllm.internal", "port": 8000, "path": "/v", "every_s": 7},
        Names(addresses=["10.0.0.2", "10.0.0.1"]),
        Names(addresses=["10.0.0.2", "fd00::1"]),
    )

    assert found == [
        ["http://10.0.0.1:8000/v", "http://10.0.0.2:8000/v"],
        ["http://10.0.0.2:8000/v", "http://[fd00::1]:8000/v"],
    ]
    assert said == [Pause(for_s=7), Pause(for_s=7)]


def test_of_srv_records_those_with_the_lowest_priority_are_engines_for_as_long_as_they_say() -> (
    None
):
    targets = [
        SrvTarget(host="a.internal", port=8000, priority=1),
        SrvTarget(host="b.internal", port=8001, priority=1),
        SrvTarget(host="spare.internal", port=8000, priority=2),
    ]
    found, said = told(
        {"host": "_http._tcp.vllm.internal", "record": "srv", "scheme": "https"},
        Names(targets=targets, ttl_s=2),
    )

    assert found == [["https://a.internal:8000", "https://b.internal:8001"]]
    assert said == [Pause(for_s=2)]


def test_a_name_that_leads_nowhere_or_cannot_be_resolved_changes_nothing() -> None:
    config: dict[str, object] = {"host": "vllm.internal", "port": 8000}
    found, said = told(config, Names(addresses=["10.0.0.1"]), Names(), Away("no answer"))

    assert found == [["http://10.0.0.1:8000"]]
    assert [each.reason for each in said if isinstance(each, Lost)] == [
        "vllm.internal leads nowhere",
        "no answer",
    ]
    assert [each.for_s for each in said if isinstance(each, Pause)] == [5.0, 0.75, 1.5]


@pytest.mark.parametrize(
    "config",
    [
        {"host": "x"},
        {"host": "x", "record": "srv", "port": 1},
        {"host": "", "port": 1},
        {"host": "x", "port": 1, "path": "v"},
        {"host": "x", "port": 1, "more": 1},
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DnsConfig.model_validate(config)
