"""The rule of a killed gateway, judged by planted faults."""

from __future__ import annotations

import pytest

from oracle.client import ClientRecord
from oracle.compare import LedgerRow
from oracle.crash import Open, judge
from oracle.record import Record

OPEN = Open(modality="llm", reserved={"llm.output_tokens": 50})
TOUCHED = Open(modality="llm", reserved={"llm.output_tokens": 50}, touched={"llm.output_tokens": 7})


def row(units: dict[str, int], *, exact: bool = False) -> LedgerRow:
    return LedgerRow(
        request_id="r",
        tenant="t",
        modality="llm",
        units=units,
        exact=exact,
        outcome="gateway_crash",
        attempts=[{}],
    )


def violations(rows: list[LedgerRow], said: Open | None = OPEN, kill: float = 1.5) -> list[str]:
    """One request between 1 s and 2 s, and one kill."""
    call = Record(
        index=0,
        request_id="r",
        method="POST",
        path="/v1/chat/completions",
        headers={},
        arrived_at=1.1,
        modality="llm",
        tags=(1,),
    )
    client = ClientRecord(
        tag=1, modality="llm", ended="error", request_id="r", began_at=1.0, ended_at=2.0
    )
    opened = {"r": said} if said is not None else {}
    return judge([call], [client], rows, opened, [kill]).violations


def test_a_crash_is_billed_by_the_reserve_or_by_the_last_figure() -> None:
    reserved = row({"llm.output_tokens": 50, "llm.requests": 1})
    touched = row({"llm.output_tokens": 7, "llm.requests": 1})

    assert violations([reserved]) == []
    assert violations([touched], TOUCHED) == []
    assert violations([reserved], TOUCHED) != []


@pytest.mark.parametrize(
    ("rows", "said", "kill"),
    [
        ([], OPEN, 1.5),  # lost
        ([row(OPEN.bill), row(OPEN.bill)], OPEN, 1.5),  # twice
        ([row({**OPEN.bill, "llm.output_tokens": 51})], OPEN, 1.5),
        ([row(OPEN.bill, exact=True)], OPEN, 1.5),
        ([row(OPEN.bill)], None, 1.5),  # never opened
        ([row(OPEN.bill)], OPEN, 9.0),  # nobody killed it
    ],
)
def test_a_planted_fault_is_a_violation(
    rows: list[LedgerRow], said: Open | None, kill: float
) -> None:
    assert violations(rows, said, kill) != []
