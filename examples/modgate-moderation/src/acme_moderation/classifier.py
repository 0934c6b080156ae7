"""A small text classifier in plain Python: one logistic regression a category, over words.

It is trained when it is loaded, in about a second, on the sentences that lie beside it.  A text is
judged sentence by sentence; its score is that of the worst one.

Source: the update is stochastic gradient descent on the log loss with L2 regularisation, as in
L. Bottou, Stochastic gradient descent tricks, 2012.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise

FINE = "fine"
ROUNDS, RATE, SHRINK = 60, 0.9, 1e-4
STEM = 4  # letters of a word that stand for its other forms
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[.!?;\n]+")

Weights = dict[str, float]
Example = tuple[str, Sequence[str]]


def features(sentence: str) -> list[str]:
    """Words, their beginnings, and pairs of neighbours."""
    words = _WORD.findall(sentence.casefold())
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    return list(dict.fromkeys([*words, *(f"{word[:STEM]}-" for word in words), *pairs]))


def examples() -> list[Example]:
    """What it learns from: a label and the features of a sentence."""
    text = files("acme_moderation").joinpath("sentences.txt").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [(label, features(sentence)) for label, sentence in lines]


class Classifier:
    """Scores of 0 to 1 by category."""

    def __init__(self, learned: Mapping[str, Weights]) -> None:
        self._learned = learned

    @classmethod
    def trained(cls, seen: Sequence[Example]) -> Classifier:
        """One that has learned these; the same examples give the same one."""
        labels = sorted({label for label, _ in seen} - {FINE})
        return cls({label: _fitted(label, seen) for label in labels})

    def scores(self, text: str) -> dict[str, float]:
        """Of the worst sentence, by category."""
        found = [features(sentence) for sentence in _SENTENCE.split(text)]
        return {
            label: max((_score(weights, each) for each in found if each), default=0.0)
            for label, weights in self._learned.items()
        }


def _score(weights: Weights, found: Sequence[str]) -> float:
    """What is not known says nothing, and much of it makes the rest say less."""
    total = weights[""] + sum(weights.get(each, 0.0) for each in found) / math.sqrt(len(found))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))


def _fitted(label: str, seen: Iterable[Example]) -> Weights:
    weights: Weights = {"": -1.0}
    shuffled = sorted(seen, key=lambda each: " ".join(reversed(each[1])))
    rate = RATE
    for _ in range(ROUNDS):
        for truth, found in shuffled:
            missed = (truth == label) - _score(weights, found)
            step = rate * missed
            weights[""] += 0.1 * step
            for each in found:
                old = weights.get(each, 0.0)
                weights[each] = old + step / math.sqrt(len(found)) - rate * SHRINK * old
        rate *= 0.97
    return weights
