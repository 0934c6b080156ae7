"""Each error as the ledger tells it."""

from __future__ import annotations

import pytest

from modgate.api.sink import Ending
from modgate.ending import ending_of
from modgate.errors import (
    BadReply,
    Cancelled,
    ConnectTimedOut,
    Draining,
    GatewayError,
    LedgerUnavailable,
    LimitReached,
    ModelLoading,
    NoBackend,
    Overloaded,
    PluginFault,
    PolicyFailed,
    QuotaSpent,
    Refused,
    Unreached,
    UpstreamFailed,
    UpstreamTimedOut,
)

FULL = LimitReached("x", limit="l", unit="u", retry_after_s=1.0)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "ok"),
        (Cancelled("x"), "client_gone"),
        (UpstreamTimedOut("x"), "timed_out"),
        (ConnectTimedOut("x"), "timed_out"),
        (UpstreamFailed("x"), "upstream_failed"),
        (Unreached("x"), "upstream_failed"),
        (BadReply("x"), "upstream_failed"),
        (NoBackend("x"), "upstream_failed"),
        (ModelLoading("x"), "upstream_failed"),
        (LedgerUnavailable("x"), "overloaded"),
        (Overloaded("x"), "overloaded"),
        (FULL, "refused"),
        (QuotaSpent("x"), "refused"),
        (Refused(None, "invalid_value", "x"), "refused"),
        (PluginFault("x"), "fault"),
    ],
)
def test_a_request_that_was_admitted_ended_as_its_error_says(
    error: GatewayError | None, ending: Ending
) -> None:
    assert ending_of(error) == ending


def test_a_shutdown_refuses_what_was_not_admitted_and_cuts_what_was() -> None:
    assert ending_of(Draining("x"), admitted=False) == "refused"
    assert ending_of(Draining("x"), admitted=True) == "fault"


@pytest.mark.parametrize(
    ("cause", "ending"),
    [
        (PolicyFailed("over its budget"), "timed_out"),
        (LedgerUnavailable("x"), "overloaded"),
        (UpstreamFailed("x"), "upstream_failed"),
        (NoBackend("x"), "upstream_failed"),
        (Overloaded("x"), "upstream_failed"),
        (PluginFault("x"), "fault"),
        (ValueError("x"), "fault"),
    ],
)
def test_a_policy_that_did_not_decide_ended_it_as_what_kept_it_from_that(
    cause: Exception, ending: Ending
) -> None:
    error = PolicyFailed("x")
    error.__cause__ = cause

    assert ending_of(error) == ending
