"""Headers of a reply that tell how it was served: by which model, how often, and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from modgate.draft import Draft


def served_headers(draft: Draft) -> Iterator[tuple[str, str]]:
    """What served it; a replay of the reply tells the same."""
    if draft.demo:
        yield "x-modgate-demo", "true"
    if len(draft.tries) > 1:
        tries = max(Counter(tried.call for tried in draft.tries).values())
        if tries > 1:  # of one call, side calls included
            yield "x-modgate-attempts", str(tries)
    if draft.notes:
        if (slo := draft.notes.get("slo")) is not None:
            yield "x-modgate-slo", slo
        if "fallback_for" in draft.notes:  # served by another model than was asked for
            yield "x-modgate-degraded", draft.model


def stage_headers(draft: Draft) -> dict[str, str]:
    """The time until now: waiting for slots, and at engines."""
    told, now = {}, draft.elapsed()
    waits = [(step.began_s, step.ended_s) for step in draft.steps if step.name == "queue"]
    if waits:
        told["x-modgate-queue-ms"] = f"{covered_s(waits) * 1000:.1f}"
    if draft.tries:
        spans = [(t.began_s, now if t.ended_s is None else t.ended_s) for t in draft.tries]
        told["x-modgate-upstream-ms"] = f"{covered_s(spans) * 1000:.1f}"
    return told


def covered_s(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds that at least one of these (began, ended) spans covers."""
    covered = reached = 0.0
    for began, ended in sorted(spans):
        if ended > reached:
            covered += ended - max(began, reached)
            reached = ended
    return covered
