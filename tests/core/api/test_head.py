"""How a reply opens."""

from __future__ import annotations

from typing import Any

import pytest

from modgate.api.relay import SSE, WHOLE_JSON, Head


@pytest.mark.parametrize("head", [SSE, WHOLE_JSON, Head(kind="chunked")])
def test_headers_of_a_shared_head_cannot_be_added_to(head: Head) -> None:
    """What one request adds would be sent to the callers of all others."""
    headers: Any = head.headers

    with pytest.raises(TypeError):
        headers["x-mine"] = "1"
