"""What is left of a limit when a reply was cut short: what was counted is charged, a guess is not.

Source: architecture.md 7 (the bill is the floor; the limit is settled to it, too, when engine or
gateway counted; when nobody counted, the reserve stands).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx
import pytest
from gateways import start_words
from made_plugins import Words, plugin

from modgate.api.relay import MeasuredBy
from modgate.ledger.reader import rows
from modgate.plugin import (
    BadReply,
    Endpoint,
    Event,
    Modality,
    Outcome,
    Plan,
    Relay,
    Request,
    Units,
    Usage,
)

RESERVED, LIMIT = 60, 100


class Broken(Relay):
    """Fails at its end, and says who counted the one token of it."""

    def __init__(self, by: MeasuredBy) -> None:
        self.by = by

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        raise BadReply("the engine's reply is none")

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=1), exact=False, by=self.by)


def breaking(by: MeasuredBy) -> type[Modality]:
    """Words whose requests reserve much and break."""

    def shape(request: Request) -> Plan:
        return Plan(calls=[], relay=Broken(by), reserve=Units(input_tokens=RESERVED))

    class Breaking(Words):
        def endpoints(self) -> Iterable[Endpoint]:
            yield Endpoint(path="/v1/words", shape=shape)

    return Breaking


@pytest.mark.parametrize(
    ("by", "statuses"), [("estimate", [502, 429]), ("gateway", [502, 502]), ("engine", [502, 502])]
)
async def test_of_a_request_that_failed_a_limit_is_charged_what_was_counted_or_the_reserve(
    tmp_path: Path, by: MeasuredBy, statuses: list[int]
) -> None:
    limits = f'limits = {{ units = {{ "words.input_tokens" = "{LIMIT}/hour" }} }}'
    words = plugin(modgate_modalities=[breaking(by)])
    async with (
        await start_words(tmp_path, words, tenants={"acme": limits}) as running,
        httpx.AsyncClient(base_url=running.url, headers=running.headers) as client,
    ):
        replies = [await client.post("/v1/words", json={"model": "w"}) for _ in statuses]
    first = next(iter(rows(running.ledger)))

    assert [reply.status_code for reply in replies] == statuses
    assert (first.units["words.input_tokens"], first.exact) == (1, False)  # the bill is the floor
