"""The contract of a modality: `class TestX(Contract): modality = X`, and its rules are the tests.

A rule is a method named `test_...`.  A subclass sets the attributes of `Suite` and may add tests of
its own; a rule that it cannot keep yet goes into `xfail`, with a reason, and is strict: the day it
holds, the entry must go.
"""

from __future__ import annotations

import pytest

from modgate.testing.rules_batch import BatchRules
from modgate.testing.rules_bill import BillRules
from modgate.testing.rules_declared import DeclaredRules
from modgate.testing.rules_dialect import DialectRules
from modgate.testing.rules_engine import EngineRules
from modgate.testing.rules_shape import ShapeRules
from modgate.testing.rules_stream import StreamRules
from modgate.testing.rules_transcript import TranscriptRules
from modgate.testing.suite import Suite


class Contract(
    DeclaredRules,
    ShapeRules,
    BillRules,
    StreamRules,
    EngineRules,
    BatchRules,
    DialectRules,
    TranscriptRules,
):
    """All rules."""

    def __init_subclass__(cls) -> None:
        """TypeError when a subclass overrides a rule, or excuses one without a reason."""
        closed = {name for name in dir(Contract) if not name.startswith("__")} - vars(Suite).keys()
        for kind in cls.__mro__[: cls.__mro__.index(Contract)]:
            if overridden := sorted(closed & vars(kind).keys()):
                raise TypeError(
                    f"{kind.__name__} overrides the rule {overridden[0]}; "
                    f'name it in xfail with a reason instead: {{"{overridden[0]}": "why"}}'
                )
        for name, reason in cls.xfail.items():
            if name not in rules():
                raise TypeError(f"{cls.__name__}.xfail names no rule: {name}")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.xfail gives no reason for {name}")

    @pytest.fixture(autouse=True)
    def _excused(self, request: pytest.FixtureRequest) -> None:
        """Rules in `xfail` are expected to fail."""
        name = getattr(request.node, "originalname", request.node.name)
        if name in self.xfail:
            request.node.add_marker(pytest.mark.xfail(reason=self.xfail[name], strict=True))


def rules() -> list[str]:
    """The names of all rules."""
    return [name for name in dir(Contract) if name.startswith("test_")]
