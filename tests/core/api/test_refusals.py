"""What an engine's errors become."""

from __future__ import annotations

import pytest

from modgate.errors import Overloaded
from modgate.plugin import Served, refusal_of


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("", 1.0), ("-5", 1.0), ("soon", 1.0), ("9" * 400, 120.0), ("86400", 120.0)],
)
def test_an_engines_wait_is_a_number_that_can_be_told(said: str, seconds: float) -> None:
    error = refusal_of(429, {"retry-after": said}, "")

    assert isinstance(error, Overloaded)
    assert error.retry_after_s == seconds


def test_an_engines_name_is_replaced_where_it_is_a_word() -> None:
    served = Served(asked="chat", model="chat", name="base")

    assert served.as_asked("base: a database of 'base' is too long") == (
        "chat: a database of 'chat' is too long"
    )


def test_names_are_no_patterns() -> None:
    served = Served(asked=r"\1", model="chat", name="Qwen/Qwen3-1.7B(x)")

    assert served.as_asked("no Qwen/Qwen3-1.7B(x)") == r"no \1"
