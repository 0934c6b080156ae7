"""How each family of engines spells its load in its metrics.

Source: wire.md 10 (names of the engines' own pages and sources, at the versions named there).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from modgate.api.vitals import Load
from modgate.telemetry.exposition import Sample, samples

CALLS_AT_MOST = 1e6  # in one engine: a page that says more is wrong, and sums must stay finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A gauge that says one thing.

    `where`: labels that it must have.  `apart`: the label of an engine's parts (data-parallel
    ranks) that each have a share; `join`: how theirs come together.  Of series that differ in
    other labels, such as tensor-parallel ranks, the largest counts: they say the same.
    """

    name: str
    where: tuple[tuple[str, str], ...] = ()
    apart: str = ""
    join: Literal["sum", "max"] = "sum"

    def read(self, found: Iterable[Sample]) -> float | None:
        """Its value; None when it is not there."""
        parts: dict[str, float] = {}
        for each in found:
            if each.name == self.name and all(each.labels.get(k) == v for k, v in self.where):
                part = each.labels.get(self.apart, "")
                parts[part] = max(parts.get(part, each.value), each.value)
        if not parts:
            return None
        return sum(parts.values()) if self.join == "sum" else max(parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Where a family's metrics are, and which gauges say what; the first that is there counts.

    `port`: another than the engine's own; 0 = its own.  `orca`: it tells of its load in replies,
    too, when it is asked.
    """

    running: Sequence[Gauge] = ()
    waiting: Sequence[Gauge] = ()
    kv_use: Sequence[Gauge] = ()
    path: str = "/metrics"
    port: int = 0
    orca: bool = False

    def load(self, text: bytes) -> Load:
        """What a page says; BadText when it cannot be believed."""
        names = {each.name for field in fields(Load) for each in getattr(self, field.name)}
        found = samples(text, names)
        return believed(
            running=_first(self.running, found),
            waiting=_first(self.waiting, found),
            kv_use=_first(self.kv_use, found),
        )


def believed(*, running: float | None, waiting: float | None, kv_use: float | None) -> Load:
    """A load as it was told, without what cannot be."""
    return Load(
        running=running if running is not None and 0 <= running <= CALLS_AT_MOST else None,
        waiting=waiting if waiting is not None and 0 <= waiting <= CALLS_AT_MOST else None,
        kv_use=kv_use if kv_use is not None and 0 <= kv_use <= 1 else None,
    )


def _first(gauges: Sequence[Gauge], found: Sequence[Sample]) -> float | None:
    read = (each.read(found) for each in gauges)
    return next((value for value in read if value is not None), None)


def _trt(kind: str) -> Gauge:
    return Gauge(name="nv_trt_llm_request_metrics", where=(("request_type", kind),))


FAMILIES: Mapping[str, Family] = {
    "vllm": Family(
        running=(Gauge(name="vllm:num_requests_running", apart="engine"),),
        waiting=(Gauge(name="vllm:num_requests_waiting", apart="engine"),),
        kv_use=(
            Gauge(name="vllm:kv_cache_usage_perc", join="max"),
            Gauge(name="vllm:gpu_cache_usage_perc", join="max"),  # before 0.9
        ),
        orca=True,
    ),
    "sglang": Family(
        running=(Gauge(name="sglang:num_running_reqs", apart="dp_rank"),),
        waiting=(Gauge(name="sglang:num_queue_reqs", apart="dp_rank"),),
        kv_use=(Gauge(name="sglang:token_usage", join="max"),),
    ),
    "llamacpp": Family(
        running=(Gauge(name="llamacpp:requests_processing"),),
        waiting=(Gauge(name="llamacpp:requests_deferred"),),
        kv_use=(Gauge(name="llamacpp:kv_cache_usage_ratio", join="max"),),  # older servers
    ),
    "tei": Family(waiting=(Gauge(name="te_queue_size"),)),
    "trtllm": Family(
        running=(Gauge(name="trtllm_num_requests_running"),),
        waiting=(Gauge(name="trtllm_num_requests_waiting"),),
        kv_use=(Gauge(name="trtllm_kv_cache_utilization", join="max"),),
        path="/prometheus/metrics",
    ),
    "triton": Family(
        running=(_trt("active"), _trt("scheduled")),
        waiting=(
            _trt("waiting"),
            Gauge(name="nv_inference_pending_request_count", apart="model"),
        ),
        kv_use=(
            Gauge(
                name="nv_trt_llm_kv_cache_block_metrics",
                where=(("kv_cache_block_type", "fraction"),),
                join="max",
            ),
        ),
        port=8002,
        orca=True,
    ),
}
