"""Engines by a file that a script or another system writes: TOML or JSON, read when it changes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from modgate.api.discover import (
    Away,
    Discoverer,
    Finding,
    Found,
    Instance,
    Lost,
    Number,
    Pause,
    Read,
)
from modgate.kit.finding import document

EVERY_S = 0.25
NAMED_AT_MOST = 3
_PLACE = re.compile(r"line \d+,? column \d+|end of document")
_STRICT = ConfigDict(frozen=True, extra="forbid")


class FileConfig(BaseModel):
    """The keys of kind `file`."""

    model_config = _STRICT

    path: Path = Field(description="a list of backends, .toml or .json; read four times a second")

    @field_validator("path")
    @classmethod
    def _form(cls, path: Path) -> Path:
        """Its name says how it is written."""
        if path.suffix not in (".toml", ".json"):
            raise ValueError("ends in .toml or .json")
        return path


class Entry(BaseModel):
    """One engine of the file; what it does not say is as `[[discover]]` says."""

    model_config = _STRICT

    url: str = Field(pattern=r"^https?://[^\s?#@]+$")
    name: str = Field("", pattern=r"^[^\x00-\x1f\x7f]*$")
    region: str | None = None
    hardware: str | None = None
    slots: int | None = Field(None, ge=1)
    serves: dict[str, str] | None = None
    draining: bool = False


class Entries(BaseModel):
    """The file."""

    model_config = _STRICT

    backend: tuple[Entry, ...]


class FileDiscoverer(Discoverer[FileConfig]):
    """Looks at a file again and again; one that cannot be used changes nothing."""

    name = "file"
    config_type = FileConfig

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        """An engine is the same for as long as its url is there."""
        seen = None
        while True:
            try:
                text = (yield from document(Read(path=self.config.path))).body
                if text != seen:
                    yield Found(instances=instances(text, toml=self.config.path.suffix == ".toml"))
                    seen = text
            except Away as error:
                seen = None
                yield Lost(reason=str(error))
            yield Pause(for_s=EVERY_S)


def instances(text: bytes, *, toml: bool) -> list[Instance]:
    """The engines of a file's text; Away with what is wrong in it, which says no value of it."""
    try:
        written = text.decode("utf-8-sig")
        value = tomllib.loads(written) if toml else orjson.loads(written)
    except ValueError as error:
        place = _PLACE.search(str(error))  # and no more of it, which may be the file's own text
        where = f", at {place[0]}" if place else ""
        raise Away(f"the list of backends cannot be read{where}") from None
    try:
        entries = Entries.model_validate(value if toml else _of_json(value)).backend
    except ValidationError as error:
        wrong = [".".join(map(str, each["loc"])) for each in error.errors()[:NAMED_AT_MOST]]
        raise Away(f"the list of backends is not as it should be: {', '.join(wrong)}") from None
    found = {each.url.rstrip("/"): each for each in entries}
    if len(found) != len(entries):
        raise Away("the list of backends names an engine twice")
    return [
        Instance(
            uid=uid,
            url=uid,
            name=each.name or uid.partition("://")[2],
            draining=each.draining,
            region=each.region,
            hardware=each.hardware,
            slots=each.slots,
            serves=each.serves,
        )
        for uid, each in sorted(found.items())
    ]


def _of_json(value: object) -> object:
    """JSON may be the list itself."""
    return {"backend": value} if isinstance(value, list) else value
