from __future__ import annotations

from pathlib import Path

import pytest
from rigs.ledger import KEY, ledger, opened, receipt, request, segments

from modgate.api.secret import Secret
from modgate.ledger.frames import Kind, Tampered, Torn
from modgate.ledger.reader import Sum, rows, sums
from modgate.ledger.segments import frames_of


def three(directory: Path) -> None:
    """Three segments of one request each."""
    for name in "abc":
        with ledger(directory) as made:
            request(made, name)


def ends_of(segment: Path) -> list[int]:
    """The offsets behind the frames that end a request."""
    return [each.end for _, each in frames_of(segment, KEY) if each.kind is Kind.END]


def test_rows_come_in_the_order_of_their_ends(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        for name in ("a", "b"):
            opened(made, name)
        for name in ("b", "a"):
            made.ended(receipt(name))

        assert [row.id for row in rows(tmp_path, KEY)] == ["b", "a"]


def test_a_ledger_is_read_while_it_is_written(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        for count in range(1, 20):
            request(made, f"r{count}")
            assert sum(1 for _ in rows(tmp_path, KEY)) == count


@pytest.mark.parametrize("key", [KEY, None])
def test_the_frame_that_is_being_written_is_not_read_yet(
    tmp_path: Path, key: Secret | None
) -> None:
    three(tmp_path)
    newest = segments(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[: ends_of(newest)[-1] - 4])

    assert [row.id for row in rows(tmp_path, key)] == ["a", "b"]


def test_a_segment_that_was_cut_before_the_newest_is_not_passed_over(tmp_path: Path) -> None:
    three(tmp_path)
    middle = segments(tmp_path)[1]
    middle.write_bytes(middle.read_bytes()[:-4])

    with pytest.raises((Torn, Tampered)):
        list(rows(tmp_path, KEY))


def test_a_segment_that_is_missing_is_not_passed_over(tmp_path: Path) -> None:
    three(tmp_path)
    segments(tmp_path)[1].unlink()

    with pytest.raises(Tampered):
        list(rows(tmp_path, KEY))
    with pytest.raises(Tampered):
        list(rows(tmp_path))


def test_segments_that_changed_places_are_noticed(tmp_path: Path) -> None:
    three(tmp_path)
    first, second, _ = segments(tmp_path)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)

    with pytest.raises(Tampered):
        list(rows(tmp_path, KEY))


def test_sums_are_by_tenant_model_and_unit(tmp_path: Path) -> None:
    with ledger(tmp_path) as made:
        made.ended(receipt("a", tokens=5))
        made.ended(receipt("b", tokens=6, exact=False))
        made.ended(receipt("c", tenant="beta", tokens=7))

    def line(tenant: str, unit: str, amount: int, requests: int, *, exact: bool) -> Sum:
        return Sum(
            tenant=tenant, model="chat", unit=unit, amount=amount, requests=requests, exact=exact
        )

    assert sums(tmp_path, KEY) == [
        line("acme", "llm.output_tokens", 11, 2, exact=False),
        line("acme", "llm.requests", 2, 2, exact=False),
        line("beta", "llm.output_tokens", 7, 1, exact=True),
        line("beta", "llm.requests", 1, 1, exact=True),
    ]
    assert [each.tenant for each in sums(tmp_path, tenant="beta")] == ["beta", "beta"]


def test_an_empty_ledger_has_no_sums(tmp_path: Path) -> None:
    assert sums(tmp_path) == []
