"""The tree that is drawn above the errors is the one that they make."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from modgate import errors
from modgate.errors import GatewayError

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
