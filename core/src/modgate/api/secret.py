"""A value that cannot be printed by accident."""

from __future__ import annotations


class Secret:
    """A secret.

    No repr, str or format shows it, and it is neither pickled nor hashed; `reveal()` is easy to
    grep.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; only for the place that sends or compares it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not to be serialised")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        raise TypeError("a Secret is not to be the key of a map")
