"""Every dialect that a plugin of ours registers is one that its contract proves by transcripts."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING

from modgate.testing import Contract

if TYPE_CHECKING:
    from conftest import Member


def test_the_contract_has_every_dialect_that_is_registered(plugin: Member) -> None:
    hook = getattr(import_module(plugin.package), "modgate_dialects", lambda: [])
    registered = {kind.family for kind in hook()}
    name = f"dialects_of_{plugin.package}"
    spec = spec_from_file_location(name, plugin.folder / "tests" / "test_contract.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    [contract] = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Contract) and kind is not Contract
    ]

    assert registered - {kind.family for kind in contract.dialects} - {"home"} == set()
