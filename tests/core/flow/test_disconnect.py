from __future__ import annotations

import pytest
from rigs.drafts import attempted, drafted
from toys.echo import Config, Toy

from modgate.api.model import Model
from modgate.disconnect import abandon, discard
from modgate.errors import Cancelled
from modgate.table import Resolved
from modgate.tries import Try

TOY = Toy(Config())


def test_a_request_of_no_model_is_not_abandoned_and_one_that_was_stays_so() -> None:
    draft = drafted()

    assert not abandon(draft, None)
    draft.abandoned = True
    assert abandon(draft, None)


@pytest.mark.parametrize(
    ("tried", "finishes"),
    [
        (attempted(0, sent=True), True),
        (attempted(0, sent=True, state="ok"), True),
        (attempted(0, sent=True, state="failed"), False),
        (attempted(0), False),
        (attempted(-1, sent=True, state="ok"), False),  # a side call: the plan is not made yet
    ],
)
def test_only_what_an_engine_is_at_work_on_is_finished(tried: Try, finishes: bool) -> None:
    model = Model(name="chat", modality="llm", on_disconnect="drain")
    endpoint = next(TOY.endpoints())
    resolved = Resolved(endpoint=endpoint, modality=TOY, model=model, asked="chat")
    draft = drafted(tries=[attempted(0, state="failed", sent=True), tried])

    assert abandon(draft, resolved) == draft.abandoned == finishes
    draft.tries.clear()
    assert abandon(draft, resolved) == finishes  # it was decided


def test_what_nobody_gets_is_read_up_to_a_bound_of_all_its_bytes() -> None:
    draft = drafted()
    discard(draft, [b"abc", b"de"], 8)
    discard(draft, [b"fgh"], 8)

    assert draft.discarded_bytes == 8
    with pytest.raises(Cancelled, match="too long"):
        discard(draft, [b"i"], 8)
