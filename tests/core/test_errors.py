"""The tree that is drawn above the errors is the one that they make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from modgate import errors
from modgate.errors import GatewayError, Refused
from modgate.faults import MESSAGE_AT_MOST, WORDS_AT_MOST

TREE = errors.__doc__ or ""
OWN_CODE = ("Refused", "Unavailable", "Upstream")  # theirs is each one's own, or that of the first


def below(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from below(each)


@pytest.mark.parametrize("kind", list(below(GatewayError)), ids=lambda kind: kind.__name__)
def test_an_error_stands_in_the_tree_with_its_code(kind: type[GatewayError]) -> None:
    [line] = re.findall(rf"^.*[-] {kind.__name__}\b.*$", TREE, re.MULTILINE)

    assert kind.__name__ in OWN_CODE or kind.code in line.split()


@pytest.mark.parametrize("wrong", [{"code": 7}, {"kind": None}, {"status": 200}, {"status": "400"}])
def test_a_kind_of_error_that_no_reply_can_tell_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"^(an error says|the status of an error)"):
        type("Mine", (GatewayError,), wrong)


@pytest.mark.parametrize("name", ["code", "kind", "field", "status"])
def test_nor_is_it_said_of_a_single_error(name: str) -> None:
    with pytest.raises(TypeError, match=r"^(an error says|the status of an error)"):
        setattr(Refused("file", "too_long", "it is too long"), name, 7)


def test_a_status_that_has_a_name_is_one() -> None:
    named: dict[str, object] = {"code": "taken", "status": HTTPStatus.CONFLICT}
    made = type("Mine", (GatewayError,), named)("somebody has it")
    single = Refused("name", "taken", "somebody has it")
    setattr(single, "status", HTTPStatus.CONFLICT)  # noqa: B010 -- checkers know better

    assert [type(each.status) for each in (made, single)] == [int, int]
    assert (made.status, single.status) == (409, 409)


def test_what_an_engine_may_have_said_is_cut_where_a_reply_and_a_row_would_carry_it() -> None:
    error = Refused("f" * 10_000, "c" * 10_000, "m" * 10_000_000)
    error.kind = "k" * 10_000

    assert error.message == str(error) == "m" * (MESSAGE_AT_MOST - 3) + "..."
    assert [error.field, error.code, error.kind] == [f"{c * (WORDS_AT_MOST - 3)}..." for c in "fck"]


def test_what_is_just_as_long_as_may_be_is_whole() -> None:
    assert (
        Refused(None, "c" * WORDS_AT_MOST, "m" * MESSAGE_AT_MOST).message == "m" * MESSAGE_AT_MOST
    )
