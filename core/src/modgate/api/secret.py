"""A value that cannot be printed by accident."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator

from modgate.api.json import Json, JsonObject


class Secret:
    """A secret.

    No repr, str or format shows it, and it is neither pickled nor hashed; `reveal()` is easy to
    grep.  As a field of a plugin's config type it is given by reference, like every secret of the
    file: `{ env = "NAME" }` or `{ file = "PATH" }`.
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

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Secret], handler: GetCoreSchemaHandler
    ) -> Json:
        del source
        return handler.generate_schema(Annotated[object, PlainValidator(referenced)])

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: Json, handler: GetJsonSchemaHandler
    ) -> JsonObject:
        del schema, handler
        return {"type": "object", "examples": [{"env": "X"}]}


def referenced(value: Json) -> Secret:
    """A secret by reference: `{ env = "X" }` or `{ file = "/run/secrets/x" }`."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str):
        text = os.environ.get(value["env"], "")
        if not text.strip():
            raise ValueError(f"the environment variable {value['env']} is not set")
        return Secret(text)
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
        try:
            text = Path(value["file"]).read_text(encoding="utf-8-sig").strip()
        except OSError as error:
            raise ValueError(f"{value['file']} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{value['file']} is not text") from None
        if not text:
            raise ValueError(f"{value['file']} is empty")
        return Secret(text)
    raise ValueError('a secret is given by reference: { env = "NAME" } or { file = "PATH" }')


def without_password(url: str) -> str:
    """The URL of a store, which is shown; ValueError for one with a password in it."""
    if urlsplit(url).password is not None or "password=" in url:
        raise ValueError("names a password, which would be shown: it goes into 'password'")
    return url
