"""Whose calls may share a trip to an engine."""

from __future__ import annotations

import pytest

from modgate.api.auth import Caller, Policy
from modgate.order import batch_group


@pytest.mark.parametrize(
    ("shared", "regions", "same"),
    [
        ((True, True), (None, None), True),
        ((True, False), (None, None), False),
        ((False, False), (None, None), False),
        ((True, True), (frozenset({"eu"}), None), False),
    ],
)
def test_tenants_share_trips_when_both_say_so_and_have_the_same_regions(
    shared: tuple[bool, bool],
    regions: tuple[frozenset[str] | None, frozenset[str] | None],
    same: bool,
) -> None:
    one, two = (
        batch_group(
            Caller(tenant=name, key_id="k", policy=Policy(batch_shared=each, regions=where))
        )
        for name, each, where in zip(("a", "b"), shared, regions, strict=True)
    )

    assert (one == two) is same
