from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate_tts.ends import clause_ends, sentence_ends
from modgate_tts.split import pieces

FIRST, MOST = 80, 250
LONG = "Well, this is the first clause of a rather long sentence that goes on, and on. " * 5
STORY = (
    "Dr. Smith, who had lived in the U.S. for years, paid $3.50 to J. K. Rowling at 7:30 p.m. Then "
    "he left, e.g. by car. See https://example.com/a.b?c=1,2 for more... perhaps. "
) * 6
SAID = "\u4ed6\u8bf4\uff1a\u300c\u4f60\u597d\uff01\u300d"
CHINESE = (
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c"
    "\u6211\u4eec\u53bb\u516c\u56ed\u6563\u6b65\u5427\u3002"
    f"{SAID}\u7136\u540e\u5c31\u8d70\u4e86\u3002"
)


def cut(text: str, ends: list[int]) -> list[str]:
    return [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One two. Three four.", ["One two.", "Three four."]),
        ("Dr. Smith paid $3.50. Then he left.", ["Dr. Smith paid $3.50.", "Then he left."]),
        ("See e.g. the U. S. map. Yes.", ["See e.g. the U. S. map.", "Yes."]),
        ("J. K. Rowling wrote. So did I.", ["J. K. Rowling wrote.", "So did I."]),
        ("It was 6 p.m. He slept.", ["It was 6 p.m.", "He slept."]),
        ("It was 6 p.m. on Monday.", ["It was 6 p.m. on Monday."]),
        ("See No. 5, Fig. 3. He said no. So.", ["See No. 5, Fig. 3.", "He said no.", "So."]),
        ("Read https://a.b/c?d=1.5 now! Go.", ["Read https://a.b/c?d=1.5 now!", "Go."]),
        ("Pi is 3.14159. It is 1,000.5 big.", ["Pi is 3.14159.", "It is 1,000.5 big."]),
        ('"Stop!" he said. "Why?" She ran.', ['"Stop!" he said.', '"Why?"', "She ran."]),
        ("Well... perhaps. Or\u2026 Yes!", ["Well... perhaps.", "Or\u2026", "Yes!"]),
        ("1. Eat well.\n2. Sleep.", ["1. Eat well.", "2. Sleep."]),
        ("a line that\nis wrapped\n\nand another", ["a line that\nis wrapped", "and another"]),
        ("Title\nText here", ["Title", "Text here"]),
        (CHINESE, [CHINESE[:16], SAID, CHINESE[-6:]]),
        ("What?! No.) Yes", ["What?!", "No.)", "Yes"]),
    ],
)  # fmt: skip  # rows as they are read
def test_sentences_end_where_a_reader_would_end_them(text: str, sentences: list[str]) -> None:
    ends = sentence_ends(text)

    assert cut(text, ends if ends[-1:] == [len(text)] else [*ends, len(text)]) == sentences


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("one, two; three", ["one,", "two;", "three"]),
        ("at 7:30, 1,000 men", ["at 7:30,", "1,000 men"]),
        ("she went\u2014and on", ["she went\u2014", "and on"]),
        ("a well-known man - really", ["a well-known man -", "really"]),
        ("well... perhaps", ["well...", "perhaps"]),
        ('"Stop!" he said', ['"Stop!"', "he said"]),
        ("Dr. smith", ["Dr. smith"]),
        ("\u4eca\u5929\uff0c\u660e\u5929", ["\u4eca\u5929\uff0c", "\u660e\u5929"]),
    ],
)
def test_clauses_end_at_their_marks(text: str, clauses: list[str]) -> None:
    assert cut(text, [*clause_ends(text), len(text)]) == clauses


@settings(derandomize=True, deadline=None, max_examples=300)
@given(text=st.text(st.sampled_from("abC ,.!?\n\u3002\uff0c1\u2026\u0301"), max_size=600))
def test_pieces_joined_are_the_text(text: str) -> None:
    text = "x" + text + "y"
    joined = "".join(pieces(text, FIRST, MOST))

    assert [char for char in joined if char.isalnum()] == [char for char in text if char.isalnum()]
    if joined != text:
        assert len(text) > FIRST


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    text=st.text(st.sampled_from("abcdef ,.-\u3002\uff0c"), min_size=1, max_size=900),
    most=st.integers(20, 300),
)
def test_no_piece_is_longer_than_allowed_and_each_can_be_spoken(text: str, most: int) -> None:
    first = min(FIRST, most)
    found = pieces(text, first, most)

    assert all(any(char.isalnum() for char in piece) for piece in found)
    assert all(len(piece) <= most for piece in found)


@pytest.mark.parametrize("text", [LONG, STORY, CHINESE * 12], ids=["long", "story", "chinese"])
def test_the_first_piece_ends_at_a_clause_and_is_not_too_short(text: str) -> None:
    first = pieces(text, FIRST, MOST)[0]

    assert 20 <= len(first) <= FIRST
    assert len(first) in {*clause_ends(text), *sentence_ends(text)}


@pytest.mark.parametrize("text", [LONG, STORY, CHINESE * 12, "Is that so? " * 80])
def test_other_pieces_are_of_a_breath_and_end_at_a_sentence(text: str) -> None:
    found = pieces(text, FIRST, MOST)
    ends, at = set(sentence_ends(text)), len(found[0])
    for piece in found[1:-1]:
        at += len(piece)
        assert 120 <= len(piece) <= MOST
        assert at in ends
    assert len(found[-1]) >= 20


@pytest.mark.parametrize("text", ["word " * 120, "\u5b57" * 600, "a" * 1000], ids=["en", "zh", "a"])
def test_text_without_punctuation_is_cut_at_words_if_it_has_any(text: str) -> None:
    found = pieces(text, FIRST, MOST)

    assert "".join(found) == text
    assert len(found[0]) <= FIRST
    assert all(piece.endswith(" ") for piece in found) or " " not in text


def test_no_accent_is_torn_from_its_letter() -> None:
    text = "e\u0301" * 400
    found = pieces(text, FIRST, 81)

    assert "".join(found) == text
    assert all(len(piece) % 2 == 0 for piece in found)


def test_a_run_that_nobody_can_speak_is_left_out() -> None:
    assert pieces("a" + "-" * 2000 + "b", FIRST, MOST)[-1].endswith("b")
    assert sum(map(len, pieces("a" + "-" * 2000 + "b", FIRST, MOST))) < 600


@pytest.mark.parametrize("run", [" ", "\t ", ".", "?!", "\u2026"])
def test_a_long_run_of_white_space_or_marks_is_read_once(run: str) -> None:
    """Read from each of its places it would take minutes."""
    text = "a" + run * 200_000 + "b"

    assert sentence_ends(text) == []
    assert len(clause_ends(text)) <= 1


@pytest.mark.parametrize(("sentence", "ends"), [(118, False), (121, True)])
def test_a_piece_ends_with_a_sentence_of_120_characters_and_before_with_a_later_clause(
    sentence: int, ends: bool
) -> None:
    first = "A" * 29 + ". "
    second, clause = "B" * (sentence - 2) + ". ", "C" * 60 + ", "
    _, piece, *_ = pieces(first + second + clause + "d" * 300, 31, MOST)

    assert piece == (second if ends else second + clause)
