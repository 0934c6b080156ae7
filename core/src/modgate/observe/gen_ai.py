"""Receipts as histograms by OpenTelemetry's names for generative AI, for dashboards of these.

Names and labels are in Prometheus' form: dots are underscores, and the unit is a suffix.

Source: wire.md 9 (semconv 0.66b2, development).
"""

from __future__ import annotations

from collections.abc import Collection

from modgate.api.sink import Attempt, Receipt
from modgate.observe.metrics import OTHER, Codes, Labels, Registry

SECONDS = tuple(0.01 * 2**n for n in range(14))
TOKENS = tuple(4.0**n for n in range(14))
FIRST_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
EACH_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
MODEL = "gen_ai_request_model"
WHAT = ("gen_ai_operation_name", "gen_ai_provider_name", MODEL)


class GenAi:
    """Counts what reached an engine: a provider is a family of engines.

    `client`: of the gateway's calls; `server`: of its replies.
    """

    def __init__(self, registry: Registry, codes: Codes) -> None:
        made, self._codes = registry.histogram, codes
        self._tokens = made(
            "gen_ai_client_token_usage",
            "tokens of requests that ended well",
            TOKENS,
            *(*WHAT, "gen_ai_token_type"),
        )
        self._calls = made(
            "gen_ai_client_operation_duration_seconds",
            "of a call to an engine",
            SECONDS,
            *(*WHAT, "error_type"),
        )
        self._first_chunk = made(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "until an engine's reply to a call of a stream begins",
            FIRST_S,
            *WHAT,
        )
        self._requests = made(
            "gen_ai_server_request_duration_seconds",
            "of a request",
            SECONDS,
            *(*WHAT, "error_type"),
        )
        self._first = made(
            "gen_ai_server_time_to_first_token_seconds",
            "until a stream begins, for its client",
            FIRST_S,
            *WHAT,
        )
        self._each = made(
            "gen_ai_server_time_per_output_token_seconds",
            "after the first, of streams",
            EACH_S,
            *WHAT,
        )

    def observe(self, receipt: Receipt, known: Collection[str]) -> None:
        """Count one receipt; a model that is not `known` is `other`."""
        for attempt in receipt.attempts:
            if attempt.ended_s is not None:
                what = _what(attempt, attempt.operation, known)
                self._calls.add(
                    (*what, self._codes.label(attempt.error)), attempt.ended_s - attempt.began_s
                )
                if receipt.stream and attempt.call >= 0 and attempt.first_s is not None:
                    self._first_chunk.add(what, attempt.first_s - attempt.began_s)
        own = next((each for each in reversed(receipt.attempts) if each.call >= 0), None)
        if own is not None:
            self._reply(_what(own, receipt.operation, known), receipt, own)

    def _reply(self, what: Labels, receipt: Receipt, last: Attempt) -> None:
        self._requests.add((*what, self._codes.label(receipt.error)), receipt.duration_s)
        if receipt.stream and receipt.first_byte_s is not None:
            self._first.add(what, receipt.first_byte_s)
        if receipt.ending != "ok":
            return
        for kind in ("input", "output"):
            if tokens := receipt.units.get(f"{receipt.modality}.{kind}_tokens"):
                self._tokens.add((*what, kind), tokens)
        written = receipt.units.get(f"{receipt.modality}.output_tokens", 0)
        if receipt.stream and written > 1 and last.first_s is not None and last.ended_s is not None:
            self._each.add(what, (last.ended_s - last.first_s) / (written - 1))


def _what(attempt: Attempt, operation: str, known: Collection[str]) -> Labels:
    return operation, attempt.family, attempt.model if attempt.model in known else OTHER
