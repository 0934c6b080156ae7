"""What travels: spool files, slices of them, and the one Body type for JSON, forms and raw bytes.

A Body is changed only at its top level (`put`, `drop`); every other value stays the client's own
bytes, because decoding and encoding again would turn integers beyond 64 bits into floats and
reorder what we have no business with.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import orjson

from modgate.api.json import Json
from modgate.errors import Refused

_READ = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WRITTEN = msgspec.json.Encoder()

JSON_TYPE = "application/json"
LONG = 16 << 10  # bytes that are not held for nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class File:
    """A spool file without a name on disk; the core closes it when the request ends.

    `size` is in bytes.  Reading never moves a shared offset, so two readers never disturb each
    other.
    """

    fd: int
    size: int
    kind: str = "application/octet-stream"

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """Up to `length` bytes from `start`.

        Use it for headers, and leave whole files to `Work`.
        """
        return os.pread(self.fd, self.size - start if length is None else length, start)

    def slice(self, start: int = 0, length: int | None = None, *, prefix: bytes = b"") -> Slice:
        """A part of this file to be sent, with bytes in front."""
        return Slice(
            file=self,
            start=start,
            length=self.size - start if length is None else length,
            prefix=prefix,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of a spool file with a prefix; upstream streams it, nobody holds it whole."""

    file: File
    start: int
    length: int
    prefix: bytes = b""

    @property
    def size(self) -> int:
        """Bytes to be sent."""
        return len(self.prefix) + self.length


Content = bytes | Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a form.  A part with a `filename` is a file."""

    name: str
    content: Content
    filename: str | None = None
    content_type: str | None = None

    def text(self) -> str:
        """A text part's value; UnicodeDecodeError when it is not UTF-8."""
        return self.content.decode() if isinstance(self.content, bytes) else ""


class Body:
    """The body of a request, in or out: `kind` is `json` (an object), `form` or `raw`."""

    __slots__ = ("_members", "_raw", "content_type", "kind", "parts")

    def __init__(
        self,
        kind: Literal["json", "form", "raw"],
        *,
        raw: Content = b"",
        members: Mapping[str, bytes] | None = None,
        parts: Iterable[Part] = (),
        content_type: str = JSON_TYPE,
    ) -> None:
        self.kind = kind
        self.content_type = content_type
        self.parts = tuple(parts)
        self._raw: Content | None = raw
        self._members: Mapping[str, msgspec.Raw] | None = None
        if members is not None:
            self._raw = None
            self._members = {name: msgspec.Raw(value) for name, value in members.items()}

    @staticmethod
    def _of(members: Mapping[str, msgspec.Raw]) -> Body:
        body = Body("json")
        body._raw, body._members = None, members
        return body

    @staticmethod
    def json(raw: bytes) -> Body:
        """A JSON object as its own bytes."""
        return Body("json", raw=raw)

    @staticmethod
    def of(**keys: Json) -> Body:
        """A JSON object of these members."""
        return Body._of({name: _written(name, value) for name, value in keys.items()})

    @staticmethod
    def form(parts: Iterable[Part]) -> Body:
        """A multipart form."""
        return Body("form", parts=parts, content_type="multipart/form-data")

    @staticmethod
    def of_bytes(content: Content, content_type: str) -> Body:
        """Bytes, or a slice of a file, as they are."""
        return Body("raw", raw=content, content_type=content_type)

    @property
    def content(self) -> Content:
        """What is sent when the body is not a form."""
        if self._raw is None:
            assert self._members is not None
            self._raw = _WRITTEN.encode(self._members)
        return self._raw

    @property
    def size(self) -> int:
        """Bytes of content; of a form, the sum over its parts."""
        if self.kind == "form":
            return sum(
                len(p.content) if isinstance(p.content, bytes) else p.content.size
                for p in self.parts
            )
        content = self.content
        return len(content) if isinstance(content, bytes) else content.size

    @property
    def held_bytes(self) -> int:
        """Those of them that are in memory, and in no spool file."""
        if self._raw is None and self._members is not None:
            return sum(len(value) for value in self._members.values())
        contents = [p.content for p in self.parts] if self.kind == "form" else [self._raw]
        return sum(len(each) for each in contents if isinstance(each, bytes))

    def members(self) -> Mapping[str, bytes]:
        """The top-level members of a JSON object, each as the client's own bytes.

        Msgspec.DecodeError if it is none.
        """
        return {name: bytes(value) for name, value in self._read().items()}

    def member(self, name: str, default: Json = None) -> Json:
        """The value of one member; `default` when there is none."""
        found = self._read().get(name)
        return default if found is None else orjson.loads(memoryview(found))

    def _read(self) -> Mapping[str, msgspec.Raw]:
        if self._members is None:
            content = self.content
            assert isinstance(content, bytes)
            self._members, self._raw = _READ.decode(content), None  # views: it is held once
        return self._members

    def _without(self, names: Collection[str]) -> Mapping[str, msgspec.Raw]:
        """The members, of which these are wanted no more.

        Where those are long, the others are free of the text in which all of them stand.
        """
        members = self._read()
        if sum(len(members[name]) for name in names if name in members) < LONG:
            return members
        return {n: value if n in names else value.copy() for n, value in members.items()}

    def put(self, **keys: Json) -> Body:
        """A Body in which only these members (or text parts) differ."""
        if self.kind == "form":
            new = {name: Part(name=name, content=_as_text(value)) for name, value in keys.items()}
            kept = [new.pop(part.name, part) for part in self.parts]
            return Body.form([*kept, *new.values()])
        members = {name: _written(name, value) for name, value in keys.items()}
        return Body._of({**self._without(keys), **members})

    def put_part(self, part: Part) -> Body:
        """A form in which the part of this name is this one."""
        return Body.form([*(p for p in self.parts if p.name != part.name), part])

    def drop(self, *names: str) -> Body:
        """A Body without these members (or parts)."""
        if self.kind == "form":
            return Body.form(part for part in self.parts if part.name not in names)
        kept = self._without(names).items()
        return Body._of({name: value for name, value in kept if name not in names})

    def rename(self, old: str, new: str) -> Body:
        """A Body whose member or part `old` is called `new`; the same body when there is none.

        What was called `new` is gone: an engine must never read a client's member of that name in
        place of the one that was looked at and counted.
        """
        if self.kind == "form":
            if not any(part.name == old for part in self.parts):
                return self
            kept = (part for part in self.parts if part.name != new or new == old)
            return Body.form(replace(part, name=new) if part.name == old else part for part in kept)
        members = self._read()
        if old not in members:
            return self
        return Body._of(
            {
                new if name == old else name: value
                for name, value in members.items()
                if name != new or new == old
            }
        )


def _written(name: str, value: Json) -> msgspec.Raw:
    """A member as JSON; Refused when a client nested it deeper than can be written (254)."""
    try:
        # `bytes`, for what orjson made has room for 4 KiB, or far more
        return msgspec.Raw(bytes(memoryview(orjson.dumps(value))))
    except TypeError as error:
        if "Recursion limit" not in str(error):
            raise
        raise Refused(name, "invalid_value", f"'{name}' is nested too deeply") from None


def _as_text(value: Json) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
