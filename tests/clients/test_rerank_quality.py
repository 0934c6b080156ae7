"""A text that means the same must be ranked above one that only shares a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from sdks import cohere

SAMPLES = 20
HITS = 16
EMPTY = frozenset(
    """
    a about after again all although an and any are at be because by can do does for from get go how
    i if in into is it its long many more most much my no not of off on one or other out over so
    than that the their them there they this to too two up was way we were what when where which
    who why will with without you your
    """.split()  # noqa: SIM905  # two hundred quotes would hide the words
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """A query, a text that answers it in other words, and one that shares a word with it."""

    query: str
    paraphrase: str
    decoy: str


def triples() -> list[Triple]:
    """The committed ones."""
    text = Path(__file__).with_name("paraphrases.txt").read_text()
    rows = [block.strip().splitlines() for block in text.split("\n\n")]
    return [Triple(query=row[0], paraphrase=row[1], decoy=row[2]) for row in rows]


def content(text: str) -> set[str]:
    """The words that carry meaning."""
    return set(re.findall(r"[a-z]+", text.lower())) - EMPTY


def test_there_are_sixty_different_triples() -> None:
    found = triples()

    assert len({triple.query for triple in found}) == 60
    assert len({triple.paraphrase for triple in found}) == 60
    assert len({triple.decoy for triple in found}) == 60


@pytest.mark.parametrize("triple", triples(), ids=lambda triple: triple.query)
def test_only_the_decoy_shares_a_content_word_with_the_query(triple: Triple) -> None:
    assert content(triple.query) & content(triple.decoy)
    assert not content(triple.query) & content(triple.paraphrase)


@pytest.mark.models
def test_paraphrases_are_ranked_above_decoys(
    ranker: cohere.ClientV2, dice: Random, figure: Callable[[str], None]
) -> None:
    hits = 0
    for triple in dice.sample(triples(), SAMPLES):
        documents = [triple.paraphrase, triple.decoy]
        dice.shuffle(documents)
        reply = ranker.rerank(model="rerank-v3.5", query=triple.query, documents=documents)
        hit = documents[reply.results[0].index] == triple.paraphrase
        if not hit:
            print(f"missed: {triple.query}")
        hits += hit
    figure(f"paraphrases above decoys: {hits} of {SAMPLES}")

    assert hits >= HITS
