"""An explanation as text: bounded, aligned, and whole whatever is missing in it."""

from __future__ import annotations

from typing import Any

from modgate.cli.explanation import BARS, LINES_AT_MOST, lines


def told(**more: Any) -> dict[str, Any]:
    """What the ledger knows of a request, and more."""
    return {
        "id": "req_1",
        "kept": "recent",
        "began": "2026-01-01T00:00:00.000Z",
        "duration_ms": 1000.0,
        "outcome": "ok",
        "status": 200,
        "error": None,
        "tenant": "acme",
        "key": "k1",
        "route": "/v1/audio/transcriptions",
        "modality": "asr",
        "model": "ears",
        "operation": "transcription",
        "class": None,
        "stream": False,
        "trace_id": None,
        "exact": True,
        "measured_by": "gateway",
        "attempts": [],
        **more,
    }


def attempt(call: int, began: float, first: float | None, ended: float, **more: Any) -> Any:
    return {
        "call": call,
        "model": "ears",
        "backend": "b0",
        "state": "ok",
        "status": 200,
        "error": None,
        "shared_by": 1,
        "began_ms": began,
        "first_event_ms": first,
        "ended_ms": ended,
        **more,
    }


def bars(text: list[str]) -> list[str]:
    return [line.split("|")[-2] for line in text if line.endswith("|")]


def test_a_bar_stands_where_its_time_is() -> None:
    attempts = [attempt(0, 0.0, 250.0, 500.0), attempt(1, 500.0, None, 1000.0)]

    assert bars(list(lines(told(attempts=attempts)))) == [
        "-" * 10 + "=" * 10 + " " * 20,
        " " * 20 + "-" * 20,
    ]


def test_every_bar_is_as_wide_as_the_others_and_at_least_a_sign() -> None:
    times = [(0.0, 0.0), (999.9, 1000.0), (1000.0, 1000.0), (1200.0, 1300.0), (0.0, 5000.0)]
    attempts = [attempt(at, began, None, ended) for at, (began, ended) in enumerate(times)]
    found = bars(list(lines(told(attempts=attempts))))

    assert {len(bar) for bar in found} == {BARS}
    assert all(bar.strip() for bar in found)


def test_a_fan_out_of_thousands_is_cut_and_says_so() -> None:
    attempts = [attempt(at, float(at), None, float(at + 1)) for at in range(4000)]
    text = list(lines(told(attempts=attempts)))

    assert len(bars(text)) == LINES_AT_MOST
    assert f"  and {4000 - LINES_AT_MOST} more" in text
    assert len(text) < 60


def test_an_attempt_that_never_ended_goes_on_to_the_end() -> None:
    found = attempt(0, 500.0, 750.0, 0.0) | {"ended_ms": None, "state": "pending"}

    assert bars(list(lines(told(attempts=[found])))) == [" " * 20 + "-" * 10 + "=" * 10]


def test_another_model_and_a_shared_trip_are_named() -> None:
    attempts = [
        attempt(0, 0.0, None, 1.0, shared_by=4),
        attempt(1, 0.0, None, 1.0, shared_by=0, model="ears-small"),
        attempt(-1, 0.0, None, 1.0),
    ]
    text = "\n".join(lines(told(attempts=attempts)))

    assert "call 0 at b0" in text
    assert "ok 200 shared by 4" in text
    assert "call 1 (ears-small) at b0" in text
    assert "ok 200 rode along" in text
    assert "side call 1 at b0" in text


def test_of_a_request_of_the_ledger_it_says_that_the_rest_is_forgotten() -> None:
    text = "\n".join(lines(told(kept="ledger")))

    assert "from the ledger" in text
    assert "waterfall" not in text


def test_of_a_large_pool_those_that_were_left_out_are_counted() -> None:
    def candidate(name: str, left_out: str | None, outcome: str | None) -> Any:
        numbers = dict.fromkeys(("predicted_ms", "score_ms"), None if left_out else 10.0)
        said = {"backend": name, "region": "eu", "left_out": left_out, "outcome": outcome}
        return said | numbers

    candidates = [
        candidate("here", None, "chosen"),
        *(candidate(f"n{n}", "not_compared", None) for n in range(60)),
        *(candidate(f"e{n}", "ejected", None) for n in range(3)),
    ]
    pick = {"why": "fit", "again": False, "stood_ago_ms": None, "candidates": candidates}
    text = list(lines(told(attempts=[attempt(0, 0.0, None, 1.0, pick=pick)])))

    assert "    and 60 not in the sample that was compared; 3 ejected: it does not answer" in text
    assert sum(line.startswith("  > here") for line in text) == 1
    assert len(text) < 15


def test_a_call_that_would_come_too_late_is_told_by_how_much() -> None:
    whose = "the request's own"
    bound = {"refused_by": "deadline", "of": whose, "unit": "seconds", "wanted": 12.5, "at_most": 2}
    text = list(lines(told(queue=bound)))

    assert (
        f"queue: refused by its deadline ({whose}): it would take 12.5 seconds, and had 2" in text
    )
