from __future__ import annotations

import pytest

from modgate.disconnect import discard
from modgate.draft import Draft
from modgate.errors import Cancelled
from modgate.observe.tracing import Trace


def test_what_nobody_gets_is_read_up_to_a_bound_of_all_its_bytes() -> None:
    draft = Draft(
        request_id="r",
        trace=Trace(trace_id="7e", span_id="5b"),
        now=lambda: 0.0,
        began=0.0,
        wall=0.0,
    )
    discard(draft, [b"abc", b"de"], 8)
    discard(draft, [b"fgh"], 8)

    assert draft.discarded_bytes == 8
    with pytest.raises(Cancelled, match="too long"):
        discard(draft, [b"i"], 8)
