"""Why somebody was not reached, in the system's own words."""

from __future__ import annotations

import errno
from socket import gaierror

import pytest

from modgate.tracebacks import reason_of


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (gaierror(-2, "Name or service not known"), "name or service not known"),
        (gaierror(8, "Nodename nor servname provided"), "nodename nor servname provided"),  # macOS
        (ConnectionRefusedError(errno.ECONNREFUSED, "at 10.0.0.1"), "connection refused"),
        (OSError("several"), "OSError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_number_is_read_as_whoever_gave_it_means_it(error: OSError, told: str) -> None:
    assert reason_of(error) == told
