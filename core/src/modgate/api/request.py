"""What a client sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from modgate.api.body import Body, File, Part
from modgate.api.fields import Fields
from modgate.api.json import Json, JsonObject
from modgate.api.model import Model
from modgate.api.surface import Surface
from modgate.errors import Refused


def _none(modality: str) -> tuple[str, ...]:
    del modality
    return ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request, parsed only as far as transport goes, with its model.

    It holds no headers and no key: a plugin cannot leak what it is never given.  `path` is the
    endpoint's own, without a modality's prefix; `asked` is the model's name as the client wrote it,
    and as the reply must say it.  `raw`: the caller's policy lets an engine's own members through.
    `isolation`: whose request it is, as a name that says nothing.  `parsed` is what `fields()`
    reads; `query`: the URL's.  `others(modality)`: those of its models that the caller may ask for
    on the same path.
    """

    id: str
    path: str
    model: Model
    asked: str
    body: Body
    surface: Surface
    parsed: JsonObject
    query: Mapping[str, str] = {}
    others: Callable[[str], tuple[str, ...]] = _none
    raw: bool = False
    isolation: str = ""

    def fields(self) -> Fields:
        """The body's fields: a JSON object's members, or a form's text parts."""
        return Fields(self.parsed, body=self.body, loose=self.body.kind == "form")

    def file(self, name: str) -> File:
        """The form's file `name`; Refused when it is missing or empty, or there are several."""
        found = [
            part.content
            for part in self.body.parts
            if part.name == name and part.filename and not isinstance(part.content, bytes)
        ]
        if not found:
            reason = f"'{name}' is required and must be a file"
            raise Refused(name, "missing_required_parameter", reason)
        if len(found) > 1:
            reason = f"the form has {len(found)} files '{name}'; send one"
            raise Refused(name, "invalid_body", reason)
        [content] = found
        if content.size == 0:
            raise Refused(name, "invalid_value", f"the file '{name}' is empty")
        return content.file


def form_fields(body: Body) -> JsonObject:
    """A form's text parts as an object, by the grammar of wire.md B8.

    `name`, `name[]` and `name[0]` (append), `name[key]` (object member).  The last of a repeated
    plain name wins.  Refused when a text part is not UTF-8, as a file without a filename is.
    """
    found: dict[str, Json] = {}
    for part in body.parts:
        if part.filename is not None:
            continue
        name, bracket, inner = part.name.partition("[")
        key = inner.removesuffix("]")
        if not bracket:
            found[name] = _text(part)
        elif key == "" or key.isdigit():
            many = found.setdefault(name, [])
            if isinstance(many, list):
                many.append(_text(part))
        else:
            members = found.setdefault(name, {})
            if isinstance(members, dict):
                members[key] = _text(part)
    return found


def _text(part: Part) -> str:
    try:
        return part.text()
    except UnicodeDecodeError:
        reason = f"'{part.name}' is not valid UTF-8; a file needs a filename"
        raise Refused(part.name, "invalid_body", reason) from None
