from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate_tts.split import pieces

LONG = "Well, this is the first clause of a rather long sentence that goes on, and on. " * 5


@settings(derandomize=True, deadline=None)
@given(text=st.text(st.sampled_from("ab ,.!?\n\u3002\uff0c1\u2026"), max_size=400))
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text, 80, 250)) == text


def test_the_first_piece_ends_at_a_clause_and_is_not_too_short() -> None:
    first = pieces(LONG, 80, 250)[0]

    assert 20 <= len(first) <= 80
    assert first.rstrip().endswith((",", "."))


@pytest.mark.parametrize("text", ["Dr. Smith paid $3.50. Then he left.", "See e.g. the U. S. map."])
def test_abbreviations_end_no_sentence(text: str) -> None:
    assert not any(piece.strip() in ("Dr.", "See e.g.") for piece in pieces(text, 80, 25))


def test_no_piece_is_longer_than_the_engine_takes() -> None:
    assert max(len(piece) for piece in pieces("a" * 1000 + " " + LONG, 80, 250)) <= 250 + 80
