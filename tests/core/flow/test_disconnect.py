from __future__ import annotations

import pytest
from rigs.drafts import drafted

from modgate.disconnect import discard
from modgate.errors import Cancelled


def test_what_nobody_gets_is_read_up_to_a_bound_of_all_its_bytes() -> None:
    draft = drafted()
    discard(draft, [b"abc", b"de"], 8)
    discard(draft, [b"fgh"], 8)

    assert draft.discarded_bytes == 8
    with pytest.raises(Cancelled, match="too long"):
        discard(draft, [b"i"], 8)
