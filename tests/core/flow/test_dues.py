"""What a request owed the queue is put right once it is known what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from rigs.drafts import attempted, drafted

from modgate.dues import settle_dues
from modgate.fleet.claim import Claim
from modgate.fleet.fair import FairQueue
from modgate.fleet.tally import Tally
from modgate.fleet.waiting import Due

WEIGHTS = {"input_tokens": 1.0, "output_tokens": 2.0}


@dataclass(eq=False)
class Call:
    claim: Claim
    shape: str = ""


class Owing:
    """A request of so many calls, of which some waited, each counted for a work of its own."""

    def __init__(self, *works: float, calls: int = 0, model: str = "m") -> None:
        self.tally = Tally()
        self.draft = drafted(modality="llm", model="m")
        queue: Any = FairQueue()  # of this file's own calls
        for work in works:
            queue.push(Call(Claim(tenant="t", request=object(), work=work)), 1.0)
        self.charges = []
        while (found := queue.serve(lambda item: "taken", set())) is not None:
            self.charges.append(found[1])
        self.draft.dues = [Due(model, charge, self.tally) for charge in self.charges]
        self.draft.tries = [
            attempted(number, began_s=1.0, first_s=3.0, model="m")
            for number in range(calls or len(works))
        ]

    def settled(self, **used: int) -> list[float]:
        """What each is counted for in the end."""
        settle_dues(self.draft, {f"llm.{name}": n for name, n in used.items()}, WEIGHTS)
        return [charge.work for charge in self.charges]


def test_a_call_is_counted_what_it_took() -> None:
    owing = Owing(100.0)

    assert owing.settled(input_tokens=10, output_tokens=5) == [20.0]
    assert owing.tally.service.seconds(100.0) == pytest.approx(2.0)


def test_calls_of_a_request_share_what_it_took_by_what_they_were_supposed_to_take() -> None:
    owing = Owing(10.0, 30.0)

    assert owing.settled(input_tokens=80) == [20.0, 60.0]


def test_of_a_request_of_which_only_some_calls_waited_these_owe_their_part() -> None:
    assert Owing(10.0, calls=4).settled(input_tokens=80) == [20.0]


def test_a_request_that_took_nothing_owes_nothing() -> None:
    assert Owing(10.0, 30.0).settled() == [0.0, 0.0]


def test_a_side_call_of_another_model_stays_as_it_was_counted() -> None:
    assert Owing(10.0, model="other").settled(input_tokens=80) == [10.0]


def test_what_another_model_used_and_was_asked_is_not_the_requests_own() -> None:
    owing = Owing(10.0)
    judged = {"llm.input_tokens": 50}
    owing.draft.tries.append(attempted(1, model="judge", units=judged))

    assert owing.settled(input_tokens=80) == [30.0]


def test_what_the_model_itself_was_asked_before_is_its_own() -> None:
    owing = Owing(10.0)
    owing.draft.tries = [attempted(-1, model="m", units={"llm.input_tokens": 50})]

    assert owing.settled(input_tokens=50) == [50.0]
