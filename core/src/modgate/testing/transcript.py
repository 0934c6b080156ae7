"""Golden transcripts: what one engine was really sent and said, and what a dialect makes of it.

A TOML file `transcripts/<family>/<name>.toml` beside a contract.  Its keys are those of the classes
below; what is missing, unknown or of another type is a `BadTranscript` naming file and key.
"""

from __future__ import annotations

import base64
import binascii
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from modgate.api.plan import ReplyKind
from modgate.testing.compare import parsed

Provenance = Literal["captured", "source"]


class BadTranscript(ValueError):
    """A file is no transcript; the message names the file and the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPart:
    """A part of a form.  `same_as`: its content is that of the call's part of this name."""

    name: str
    content: bytes = b""
    filename: str | None = None
    content_type: str | None = None
    same_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A body on its way: JSON text, a form, or raw bytes; exactly one of them.

    `path`: of the call, or below the engine's url.  `headers`: those that must be there.
    """

    path: str
    json: str | None = None
    form: Sequence[FormPart] | None = None
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the engine answered, byte by byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class Failed(_Table, frozen=True):
    """The error that a client will see.

    `message` and `retry_after` are compared where they are given, the others always.
    """

    status: int
    code: str
    field: str | None = None
    message: str | None = None
    retry_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gives:
    """What the dialect makes of the reply: events of the home wire, and behind them an error.

    `events`: each one's data; `content`: of raw chunks, all joined.  `unsupported`: the dialect
    cannot say this call, so there is no reply.
    """

    events: Sequence[str] = ()
    content: bytes | None = None
    error: Failed | None = None
    unsupported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One exchange, and where it is from.

    `captured`: an engine really ran, at that version, on that day, by that command.  `source`: it
    was written from what `source` names.
    """

    path: Path
    family: str
    provenance: Provenance
    engine: str
    version: str
    date: str
    command: str
    source: str
    asked: str
    served: str
    call: Sent
    reply_kind: ReplyKind
    request: Sent | None
    reply: Said | None
    gives: Gives

    @property
    def name(self) -> str:
        """As messages tell it."""
        return f"{self.family}/{self.path.stem}"


def transcripts(folder: Path) -> list[Transcript]:
    """All transcripts of a folder, by family and name; BadTranscript for the first that is none."""
    return [load(path) for path in sorted(folder.glob("*/*.toml"))]


def load(path: Path) -> Transcript:
    """One transcript; its family is the name of its folder."""
    try:
        keys = tomllib.loads(path.read_text())
        return msgspec.convert(keys, _File).transcript(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BadTranscript(f"{path}: {error}") from None
    except _Wrong as wrong:
        raise BadTranscript(f"{path}: {wrong}") from None


class _Wrong(Exception):
    """What is wrong, and at which key."""


class _Part(_Table, frozen=True):
    name: str
    text: str | None = None
    base64: str | None = None
    same_as: str | None = None
    filename: str | None = None
    content_type: str | None = None

    def part(self, at: str) -> FormPart:
        _one_of(at, text=self.text, base64=self.base64, same_as=self.same_as)
        return FormPart(
            name=self.name,
            content=_content(f"{at}.base64", self.text, self.base64),
            filename=self.filename,
            content_type=self.content_type,
            same_as=self.same_as or "",
        )


class _Sent(_Table, frozen=True):
    path: str
    json: str | None = None
    form: list[_Part] | None = None
    base64: str | None = None
    headers: dict[str, str] = {}

    def sent(self, at: str) -> Sent:
        _one_of(at, json=self.json, form=self.form, base64=self.base64)
        if self.json is not None and not isinstance(parsed(self.json), dict):
            raise _Wrong(f"{at}.json is no JSON object")
        parts = [each.part(f"{at}.form.{index}") for index, each in enumerate(self.form or ())]
        return Sent(
            path=self.path,
            json=self.json,
            form=None if self.form is None else parts,
            raw=None if self.base64 is None else _content(f"{at}.base64", None, self.base64),
            headers=self.headers,
        )


class _Call(_Sent, frozen=True):
    reply: ReplyKind = "whole"


class _Model(_Table, frozen=True):
    asked: str = "m"
    served: str = "engine-name"


class _Reply(_Table, frozen=True):
    status: int = 200
    headers: dict[str, str] = {}
    body: str | None = None
    base64: str | None = None

    def said(self) -> Said:
        _one_of("reply", body=self.body, base64=self.base64)
        return Said(
            status=self.status,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=_content("reply.base64", self.body, self.base64),
        )


class _Gives(_Table, frozen=True):
    events: list[str] | None = None
    body: str | None = None
    base64: str | None = None
    error: Failed | None = None
    unsupported: bool = False

    def gives(self) -> Gives:
        content = self.body is not None or self.base64 is not None
        if self.unsupported == (content or self.events is not None or self.error is not None):
            raise _Wrong("gives: give events, body or base64, or an error; or unsupported = true")
        if content:
            _one_of("gives", body=self.body, base64=self.base64, events=self.events)
        if any(each.startswith("[DONE]") for each in self.events or ()):
            raise _Wrong(
                "gives.events: [DONE] is no event; it ends the stream, and `end` is called"
            )
        return Gives(
            events=self.events or (),
            content=_content("gives.base64", self.body, self.base64) if content else None,
            error=self.error,
            unsupported=self.unsupported,
        )


class _File(_Table, frozen=True):
    provenance: Provenance
    engine: str
    call: _Call
    gives: _Gives
    version: str = ""
    day: date | None = msgspec.field(default=None, name="date")
    command: str = ""
    source: str = ""
    model: _Model = _Model()
    request: _Sent | None = None
    reply: _Reply | None = None

    def transcript(self, path: Path) -> Transcript:
        self._told()
        if (self.reply is None) != self.gives.unsupported:
            raise _Wrong("reply must be there, unless gives.unsupported is true")
        return Transcript(
            path=path,
            family=path.parent.name,
            provenance=self.provenance,
            engine=self.engine,
            version=self.version,
            date=self._date(),
            command=self.command,
            source=self.source,
            asked=self.model.asked,
            served=self.model.served,
            call=self.call.sent("call"),
            reply_kind=self.call.reply,
            request=None if self.request is None else self.request.sent("request"),
            reply=None if self.reply is None else self.reply.said(),
            gives=self.gives.gives(),
        )

    def _date(self) -> str:
        return self.day.isoformat() if self.day is not None else ""

    def _told(self) -> None:
        """Where it is from is told whole, and nothing is claimed that did not happen."""
        captured = self.provenance == "captured"
        ran = {"date": self._date(), "command": self.command}
        read = {"source": self.source}
        wanted = {"engine": self.engine, **(read if not captured else ran)}
        if captured:
            wanted["version"] = self.version
        for key, value in wanted.items():
            if not value.strip():
                raise _Wrong(f"{key} is missing: a transcript that is {self.provenance} tells it")
        for key, value in (read if captured else ran).items():
            if value:
                raise _Wrong(f"{key} is not for a transcript that is {self.provenance}")


def _one_of(at: str, **ways: object) -> None:
    given = [key for key, value in ways.items() if value is not None]
    if len(given) != 1:
        raise _Wrong(f"{at}: give exactly one of {', '.join(ways)}; given: {given or 'none'}")


def _content(at: str, text: str | None, coded: str | None) -> bytes:
    if coded is None:
        return (text or "").encode()
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except binascii.Error:
        raise _Wrong(f"{at} is not valid base64") from None
