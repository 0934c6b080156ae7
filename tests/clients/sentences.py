"""Sentences drawn from common words, and what makes two writings of one sentence the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from clients.words import ADJECTIVES, NOUNS, VERBS

_ONES = re.findall(
    r"\w+",
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
    """,
)
_TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_SPELLINGS = {"colour": "color", "grey": "gray", "theatre": "theater", "neighbour": "neighbor"}


def sentence(dice: Random) -> str:
    """A plain English sentence of about 17 words with an amount in digits."""
    first, second, third, fourth = dice.sample(NOUNS, 4)
    one, two = dice.sample(ADJECTIVES, 2)
    verb, other = dice.sample(VERBS, 2)
    dollars = dice.randrange(2, 1000)
    return (
        f"The {one} {first} {verb} the {second} for {dollars} dollars, "
        f"and the {third} {other} the {two} {fourth}."
    )


def spelled(number: int) -> str:
    """A whole number below a million in words, without "and"."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens = _TENS[number // 10 - 2]
        return tens if number % 10 == 0 else f"{tens} {_ONES[number % 10]}"
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    front = f"{spelled(number // size)} {name}"
    return front if number % size == 0 else f"{front} {spelled(number % size)}"


def plain_words(text: str) -> list[str]:
    """The words that are heard: no case, no marks, numbers and dollars spelled out."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())
    text = re.sub(r"\$\s*(\d+)", r"\1 dollars", text)
    text = re.sub(r"\d{1,6}", lambda found: f" {spelled(int(found[0]))} ", text)
    text = re.sub(r"\bhundred and\b", "hundred", text)
    return [_SPELLINGS.get(word, word) for word in re.findall(r"[a-z']+", text)]


def distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Insertions, deletions and substitutions from one to the other.

    Source: Levenshtein 1966, by the two-row table of Wagner and Fischer 1974.
    """
    above = list(range(len(right) + 1))
    for row, mine in enumerate(left, 1):
        here = [row]
        for column, other in enumerate(right, 1):
            swap = above[column - 1] + (mine != other)
            here.append(min(above[column] + 1, here[-1] + 1, swap))
        above = here
    return above[-1]
