"""Reading and bounding the fields of a body, in the words of the public error codes.

Rules of wire.md 1.3: null is absent, unknown fields are left alone, a form's text is read as the
type that is asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar, overload

from modgate.api.body import Body
from modgate.api.json import Json, JsonObject
from modgate.errors import GatewayError, Refused

Fault = Callable[[str, str, str], GatewayError]
T = TypeVar("T")

LEAST_INTEGER, MOST_INTEGER = -(1 << 63), (1 << 63) - 1  # beyond, JSON is not written again

# A form's text is a number when it is written in plain digits; what Python reads besides (`1_0`,
# ` 7 `, `nan`) is none.  Source: RFC 8259 section 6; a plus, `1.` and `.5` are as forms have them.
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,9})?"
)
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})


class Fields:
    """A JSON object (or form) of which one reads and bounds what one needs, and passes the rest on.

    Every reader takes the field's name; without a default an absent field is
    `missing_required_parameter`. `at` is the path in front of the names in errors: `messages[0].`.
    `loose`: the values are a form's text.
    """

    __slots__ = ("_at", "_body", "_fault", "_loose", "values")

    def __init__(
        self,
        values: JsonObject,
        *,
        body: Body | None = None,
        at: str = "",
        loose: bool = False,
        fault: Fault = Refused,
    ) -> None:
        self.values = values
        self._body = body
        self._at = at
        self._loose = loose
        self._fault = fault

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.values.get(name) is not None

    def fault(self, name: str, code: str, reason: str) -> GatewayError:
        """The error for this field, to be raised.

        The client's fault, or the engine's when this is a reply.
        """
        return self._fault(self._at + name, code, reason)

    def get(self, name: str) -> Json:
        """The value as it came; None when absent or null."""
        return self.values.get(name)

    def rest(self, **keys: Json) -> Body:
        """The whole body, in which only these members differ."""
        assert self._body is not None, "only the fields of a whole body can be passed on"
        return self._body.put(**keys)

    def _absent(self, name: str, default: object) -> object:
        if default is ...:
            raise self.fault(name, "missing_required_parameter", f"'{self._at}{name}' is required")
        return default

    def wrong(self, name: str, wanted: str) -> GatewayError:
        """The error for a value of another type: `wanted` reads `a string`."""
        return self.fault(name, "invalid_type", f"'{self._at}{name}' must be {wanted}")

    @overload
    def text(self, name: str, *, at_most: int | None = None, empty: bool = False) -> str: ...
    @overload
    def text(
        self, name: str, default: T, *, at_most: int | None = None, empty: bool = False
    ) -> str | T: ...
    def text(
        self, name: str, default: object = ..., *, at_most: int | None = None, empty: bool = False
    ) -> object:
        """A string; `at_most` is in Unicode code points, `empty` allows the empty one."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        if not value and not empty:
            raise self.fault(name, "invalid_value", f"'{self._at}{name}' must not be empty")
        if at_most is not None and len(value) > at_most:
            reason = (
                f"'{self._at}{name}' has {len(value)} characters; at most {at_most} are allowed"
            )
            raise self.fault(name, "string_above_max_length", reason)
        return value

    @overload
    def choice(self, name: str, options: Collection[str]) -> str: ...
    @overload
    def choice(self, name: str, options: Collection[str], default: T) -> str | T: ...
    def choice(self, name: str, options: Collection[str], default: object = ...) -> object:
        """One of a few words."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if not isinstance(value, str) or value not in options:
            raise self.fault(
                name,
                "invalid_value",
                f"'{self._at}{name}' must be one of: {', '.join(sorted(options))}",
            )
        return value

    @overload
    def integer(
        self, name: str, *, at_least: int | None = None, at_most: int | None = None
    ) -> int: ...
    @overload
    def integer(
        self, name: str, default: T, *, at_least: int | None = None, at_most: int | None = None
    ) -> int | T: ...
    def integer(
        self,
        name: str,
        default: object = ...,
        *,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> object:
        """A whole number within bounds, which are those of 64 bits where none are given."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if self._loose and isinstance(value, str):
            if _INTEGER.fullmatch(value) is None:
                raise self.wrong(name, "an integer")
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "an integer")
        low = LEAST_INTEGER if at_least is None else at_least
        high = MOST_INTEGER if at_most is None else at_most
        self._bounded(name, value, low, high, "integer")
        return value

    @overload
    def number(
        self, name: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> float: ...
    @overload
    def number(
        self, name: str, default: T, *, at_least: float | None = None, at_most: float | None = None
    ) -> float | T: ...
    def number(
        self,
        name: str,
        default: object = ...,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> object:
        """A finite number within bounds."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if self._loose and isinstance(value, str):
            if _NUMBER.fullmatch(value) is None:
                raise self.wrong(name, "a number")
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise self.wrong(name, "a number")
        self._bounded(name, value, at_least, at_most, "number")
        return float(value)

    def _bounded(
        self, name: str, value: float, low: float | None, high: float | None, kind: str
    ) -> None:
        if low is not None and value < low:
            raise self.fault(
                name, f"{kind}_below_min_value", f"'{self._at}{name}' must be at least {low}"
            )
        if high is not None and value > high:
            raise self.fault(
                name, f"{kind}_above_max_value", f"'{self._at}{name}' must be at most {high}"
            )

    @overload
    def flag(self, name: str) -> bool: ...
    @overload
    def flag(self, name: str, default: T) -> bool | T: ...
    def flag(self, name: str, default: object = ...) -> object:
        """True or false."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if self._loose and isinstance(value, str) and value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        if not isinstance(value, bool):
            raise self.wrong(name, "a boolean")
        return value

    @overload
    def items(
        self, name: str, *, at_most: int | None = None, empty: bool = False
    ) -> list[Json]: ...
    @overload
    def items(
        self, name: str, default: T, *, at_most: int | None = None, empty: bool = False
    ) -> list[Json] | T: ...
    def items(
        self, name: str, default: object = ..., *, at_most: int | None = None, empty: bool = False
    ) -> object:
        """A list, by its length; `empty` allows the empty one."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if self._loose and isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        if not value and not empty:
            raise self.fault(name, "invalid_value", f"'{self._at}{name}' must not be empty")
        if at_most is not None and len(value) > at_most:
            reason = f"'{self._at}{name}' has {len(value)} items; at most {at_most} are allowed"
            raise self.fault(name, "array_above_max_length", reason)
        return value

    def texts(self, name: str, *, at_most: int | None = None, each: int | None = None) -> list[str]:
        """A non-empty list of non-empty strings, `each` of at most so many code points."""
        values = self.items(name, at_most=at_most)
        for index, value in enumerate(values):
            Fields({f"{name}[{index}]": value}, at=self._at, fault=self._fault).text(
                f"{name}[{index}]", at_most=each
            )
        return values

    @overload
    def inner(self, name: str) -> Fields: ...
    @overload
    def inner(self, name: str, default: T) -> Fields | T: ...
    def inner(self, name: str, default: object = ...) -> object:
        """An object, as fields of its own."""
        value = self.values.get(name)
        if value is None:
            return self._absent(name, default)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return self._inside(value, name)

    def _inside(self, values: JsonObject, name: str) -> Fields:
        return Fields(values, at=f"{self._at}{name}.", loose=self._loose, fault=self._fault)

    def each(
        self, name: str, *, at_most: int | None = None, empty: bool = False
    ) -> Iterator[Fields]:
        """The objects of a list, each as fields of its own (`name[3].`)."""
        for index, value in enumerate(self.items(name, at_most=at_most, empty=empty)):
            if not isinstance(value, dict):
                raise self.wrong(f"{name}[{index}]", "an object")
            yield self._inside(value, f"{name}[{index}]")
