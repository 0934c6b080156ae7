"""What tests of authentication open is closed with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modgate.auth.store import Store


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every store that a test opens is closed with it."""
    made: list[Store] = []
    opens = Store._open
    with monkeypatch.context() as patched:
        patched.setattr(Store, "_open", lambda store: (made.append(store), opens(store)))
        yield
    for store in made:
        store.close()
