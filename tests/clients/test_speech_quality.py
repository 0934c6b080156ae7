"""Speech that is synthesised and read back must say what was written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from sdks import openai

from clients.sentences import distance, plain_words, sentence
from clients.speaking import say
from clients.words import ADJECTIVES, NOUNS, VERBS
from modgate_asr.samples import SAMPLES as SHOWN

SAMPLES = 20
AT_ONCE = 2
WORD_ERRORS = 0.10


def test_there_are_300_words_to_draw_from() -> None:
    assert len({*NOUNS, *ADJECTIVES, *VERBS}) >= 300


@pytest.mark.parametrize(
    "writings",
    [
        ("It costs $125.", "it costs one hundred and twenty-five dollars"),
        ("for 40 dollars", "for $40"),
        ("12,750 people", "twelve thousand, seven hundred fifty people"),
    ],
)
def test_two_writings_of_a_number_are_the_same_words(writings: tuple[str, str]) -> None:
    assert plain_words(writings[0]) == plain_words(writings[1])


def test_what_differs_is_counted() -> None:
    assert distance(plain_words("The cat sat."), plain_words("the cat sat")) == 0
    assert distance(plain_words("the cat sat"), plain_words("a cat sat down")) == 2
    assert distance(plain_words("$125"), plain_words("$152")) == 2
    assert distance("abc", "") == 3


@pytest.mark.models
def test_what_try_sends_to_a_model_that_listens_is_speech(client: openai.OpenAI) -> None:
    form = SHOWN[0].form
    assert form is not None
    file = form["file"]
    assert isinstance(file, tuple)

    heard = client.audio.transcriptions.create(model="whisper-1", file=file)

    assert plain_words(heard.text) == plain_words("Hello world.")


@pytest.mark.models
def test_speech_is_read_back_with_few_wrong_words(
    client: openai.OpenAI, dice: Random, figure: Callable[[str], None]
) -> None:
    def read_back(text: str) -> str:
        sound = say(client, text)
        return client.audio.transcriptions.create(model="whisper-1", file=("said.wav", sound)).text

    texts = [sentence(dice) for _ in range(SAMPLES)]
    wrong = spoken = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for text, heard in zip(texts, threads.map(read_back, texts), strict=True):
            wanted, found = plain_words(text), plain_words(heard)
            errors = distance(wanted, found)
            if errors:
                print(f"{errors} wrong: {text} -> {heard}")
            wrong, spoken = wrong + errors, spoken + len(wanted)
    figure(f"speech read back: WER {wrong / spoken:.4f} ({wrong} of {spoken}, {SAMPLES} samples)")

    assert wrong / spoken <= WORD_ERRORS
