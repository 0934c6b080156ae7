"""How the contracts run where they are judged themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

PROFILE = "first example"
settings.register_profile(PROFILE, phases=(Phase.explicit, Phase.generate))


@pytest.fixture(autouse=True)
def first_example() -> Iterator[None]:
    """A planted bug is caught or not; nobody reads the smallest example of it."""
    settings.load_profile(PROFILE)
    yield
    settings.load_profile("default")
