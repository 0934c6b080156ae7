from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.observe.metrics import Registry

SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)(\{(?P<labels>([a-zA-Z_]\w*="(\\.|[^"\\\n])*",?)*)\})? '
    r"(?P<value>[-+]?(Inf|NaN|[0-9.e+-]+))"
)


def samples(text: bytes) -> dict[str, str]:
    """Every line that is no comment, as series -> value; each must fit the format."""
    found = {}
    for line in text.decode().split("\n")[:-1]:
        if not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            series, _, value = line.rpartition(" ")
            assert series not in found
            found[series] = value
    return found


def test_a_counter_is_written_with_its_help_and_type() -> None:
    registry = Registry()
    registry.counter("hits_total", "how often", "who").add(("me",), 3)

    assert registry.render() == (
        b'# HELP hits_total how often\n# TYPE hits_total counter\nhits_total{who="me"} 3\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_345_678_901, "12345678901"),
        (1_234_567.5, "1234567.5"),
        (12.345, "12.345"),
        (0, "0"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_a_number_keeps_every_digit(value: float, text: str) -> None:
    registry = Registry()
    registry.counter("units_total", "billed").add((), value)

    assert samples(registry.render()) == {"units_total": text}


def test_a_large_counter_still_moves_by_one() -> None:
    registry = Registry()
    counter = registry.counter("units_total", "billed")
    counter.add((), 50_000_000)
    before = registry.render()
    counter.add()

    assert registry.render() != before


def test_a_histogram_counts_a_value_on_a_bound_into_that_bucket() -> None:
    registry = Registry()
    spread = registry.histogram("wait_seconds", "waiting", (0.1, 1.0))
    for value in (0.1, 0.5, 1.0, 7.0):
        spread.add((), value)

    assert samples(registry.render()) == {
        'wait_seconds_bucket{le="0.1"}': "1",
        'wait_seconds_bucket{le="1"}': "3",
        'wait_seconds_bucket{le="+Inf"}': "4",
        "wait_seconds_sum": "8.6",
        "wait_seconds_count": "4",
    }


@given(values=st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=50))
@settings(derandomize=True, deadline=None)
def test_buckets_are_cumulative_and_end_at_the_count(values: list[float]) -> None:
    registry = Registry()
    spread = registry.histogram("x", "x", (0.5, 5.0, 50.0), "l")
    for value in values:
        spread.add(("a",), value)
    found = samples(registry.render())

    counts = [int(found[f'x_bucket{{l="a",le="{bound}"}}']) for bound in ("0.5", "5", "50", "+Inf")]
    assert counts == [sum(value <= bound for value in values) for bound in (0.5, 5.0, 50.0, 101.0)]
    assert found['x_count{l="a"}'] == str(len(values))


@given(value=st.text())
@settings(derandomize=True, deadline=None)
def test_no_label_value_breaks_the_format(value: str) -> None:
    registry = Registry()
    registry.counter("x_total", "x", "l").add((value.encode(errors="replace").decode(),))
    text = registry.render().decode()

    assert text.count("\n") == 3
    assert SAMPLE.fullmatch(text.split("\n")[2])


def test_a_gauge_is_read_at_each_scrape() -> None:
    registry, levels = Registry(), [1.0]
    registry.gauge("level", "x", lambda: {(): levels[0]})
    before = samples(registry.render())
    levels[0] = 2.5

    assert (before, samples(registry.render())) == ({"level": "1"}, {"level": "2.5"})


def test_a_gauge_may_answer_by_label() -> None:
    registry = Registry()
    registry.gauge("taken", "x", lambda: {("eu-1",): 3, ("eu-2",): 0}, "backend")

    assert samples(registry.render()) == {
        'taken{backend="eu-1"}': "3",
        'taken{backend="eu-2"}': "0",
    }


def test_a_gauge_that_cannot_be_read_leaves_the_other_metrics(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()
    registry.gauge("broken", "x", lambda: {(): 1 / 0})
    registry.gauge("good", "x", lambda: {(): 1})

    assert samples(registry.render()) == {"good": "1"}
    assert [record.message for record in caplog.records] == ["metric unreadable"]


def test_metrics_are_written_by_name() -> None:
    registry = Registry()
    for name in ("b_total", "a_total"):
        registry.counter(name, "x").add()

    assert registry.names() == ["a_total", "b_total"]
    assert list(samples(registry.render())) == ["a_total", "b_total"]


def test_what_has_no_labels_is_written_before_anything_was_counted() -> None:
    registry = Registry()
    registry.counter("modgate_things_total", "things")
    registry.histogram("modgate_wait_seconds", "waits", (1.0,))

    text = registry.render().decode()

    assert "modgate_things_total 0" in text
    assert "modgate_wait_seconds_count 0" in text
