"""Where two pieces are joined that heard the same words at a hard cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modgate.plugin import Fields, JsonObject
from modgate_asr.heard import Heard, Piece, heard
from modgate_asr.stitch import held_from, join

RATE = 16_000
LEFT = Piece(start=0, fresh=0, end=30 * RATE, next=28 * RATE)
RIGHT = Piece(start=28 * RATE, fresh=30 * RATE, end=50 * RATE, next=50 * RATE)


def timed(piece: Piece, words: Sequence[tuple[float, str]], text: str | None = None) -> Heard:
    """Words at times of the file, each 200 ms long."""
    first = piece.start / RATE
    rows = [{"word": w, "start": at - first, "end": at - first + 0.2} for at, w in words]
    said = " ".join(w for _, w in words) if text is None else text
    return heard(piece, Fields({"text": said, "words": rows}))


def untimed(piece: Piece, text: str, segments: Sequence[JsonObject] = ()) -> Heard:
    more = {"segments": list(segments)} if segments else {}
    return heard(piece, Fields({"text": text, **more}))


def joined(left: Heard, right: Heard) -> str:
    at = join(left, right)
    return f"{left.text[: at.left].strip()} {right.text[at.right :].strip()}".strip()


def test_the_word_that_both_heard_nearest_the_middle_joins_them() -> None:
    left = timed(LEFT, [(27.0, "the"), (28.2, "quick"), (28.9, "brown"), (29.5, "fo")])
    right = timed(RIGHT, [(28.0, "ick"), (28.9, "brown"), (29.5, "fox"), (30.2, "jumps")])

    assert joined(left, right) == "the quick brown fox jumps"


def test_a_word_said_twice_is_joined_by_its_time() -> None:
    left = timed(LEFT, [(28.1, "no"), (28.9, "no"), (29.7, "no")])
    right = timed(RIGHT, [(28.1, "no"), (28.9, "no"), (29.7, "no"), (30.5, "yes")])

    assert joined(left, right) == "no no no yes"


@pytest.mark.parametrize(("at", "text"), [(29.199, "a stop now"), (29.2, "a stop stop now")])
def test_equal_words_half_a_second_apart_are_two(at: float, text: str) -> None:
    left = timed(LEFT, [(27.0, "a"), (28.7, "stop")])
    right = timed(RIGHT, [(at, "stop"), (30.5, "now")])

    assert joined(left, right) == text


def test_where_nothing_matches_the_middle_of_the_overlap_parts_them() -> None:
    left = timed(LEFT, [(28.5, "one"), (29.5, "tw")])
    right = timed(RIGHT, [(28.5, "un"), (29.4, "two"), (30.4, "three")])

    assert joined(left, right) == "one two three"


def test_case_and_marks_of_a_word_do_not_matter_and_stay_as_written() -> None:
    left = timed(LEFT, [(28.2, "Well"), (28.9, "Mister")], text="Well, Mister.")
    right = timed(RIGHT, [(28.9, "mister"), (29.5, "Fox")], text="mister Fox!")

    assert joined(left, right) == "Well, Mister. Fox!"


def test_marks_that_the_cut_took_come_from_the_next_piece() -> None:
    left = timed(LEFT, [(28.2, "we"), (28.9, "stop")], text="we stop")
    right = timed(RIGHT, [(28.2, "we"), (28.9, "stop"), (30.5, "Now")], text="we stop. Now")

    assert joined(left, right) == "we stop. Now"


def test_only_what_the_next_piece_may_change_is_held_back() -> None:
    left = timed(LEFT, [(20.0, "said"), (27.6, "early"), (27.8, "late"), (29.0, "last")])

    assert left.text[held_from(left) :] == "late last"


def test_a_side_without_words_gives_way() -> None:
    assert joined(timed(LEFT, []), untimed(RIGHT, "only here")) == "only here"
    assert joined(untimed(LEFT, "only there"), timed(RIGHT, [])) == "only there"


@pytest.mark.parametrize(
    ("left", "right", "whole"),
    [
        ("the quick brown fox", "brown fox jumps", "the quick brown fox jumps"),
        ("a brown fox jum", "own fox jumps", "a brown fox jum own fox jumps"),
        ("the quick brown fox jum", "Quick brown fox jumps", "the quick brown fox jumps"),
        ("The quick, brown fox.", "ick brown fox jumps", "The quick, brown fox jumps"),
        ("it was a dog", "jumps over", "it was a dog jumps over"),
        ("don't stop me", "stop me now", "don't stop me now"),
        ("by the famous mouth", "the famous mouth. The lamp", "by the famous mouth. The lamp"),
    ],
)  # fmt: skip  # rows as they are read
def test_without_times_the_longest_run_of_words_joins_them(
    left: str, right: str, whole: str
) -> None:
    assert joined(untimed(LEFT, left), untimed(RIGHT, right)) == whole


def test_letters_are_the_words_of_a_language_without_blanks() -> None:
    at = join(untimed(LEFT, "今日は天気が"), untimed(RIGHT, "天気がいいです"))

    assert (at.left, at.right) == (5, 2)


def test_without_any_match_segments_part_at_the_middle() -> None:
    rows = [
        {"start": 0.0, "end": 1.0, "text": " said before"},
        {"start": 1.5, "end": 3.0, "text": " new words"},
    ]
    right = untimed(RIGHT, "said before new words", rows)

    assert joined(untimed(LEFT, "all that went"), right) == "all that went new words"
