"""Reading the messages of a chat: roles, parts and tool calls, checked where engines would differ.

Source: wire.md 2.1, the row `messages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from modgate.plugin import Fields

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
PLAIN = ("user", "system", "developer")  # that say something, and do nothing
MESSAGES_AT_MOST, CALLS_AT_MOST = 10_000, 512
AUDIO = ("wav", "mp3")
# An assistant that says nothing must have done something else; only these count as that.
INSTEAD = ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning")
WORDS = ("name", "reasoning_content", "reasoning", "refusal")  # texts, where a message has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image part: its place in errors, its url (data or http), and the detail asked for.

    `bare`: the client sent its url alone, without an object around it.
    """

    at: str
    message: int
    part: int
    url: str
    detail: str = "auto"
    bare: bool = False


class Messages(msgspec.Struct, eq=False):
    """What was read of the messages; `legacy`: one of them speaks of functions, not of tools.

    `calls`: the ids of the calls so far, which answers may name.
    """

    count: int = 0
    legacy: bool = False
    texts: list[str] = []
    images: list[Image] = []
    calls: set[str] = set()


def read_messages(fields: Fields) -> Messages:
    """Check all messages; Refused names the part that is wrong."""
    read = Messages()
    for message in fields.each("messages", at_most=MESSAGES_AT_MOST):
        said, members = message.values.get("content"), len(message.values)
        if members == 2 and message.values.get("role") in PLAIN and isinstance(said, str):
            read.texts.append(said)  # same result without this: most messages are no more
        else:
            read.texts += _message(message, read)
        read.count += 1
    return read


def _message(message: Fields, read: Messages) -> Iterator[str]:
    role = message.choice("role", ROLES)
    yield from _content(message, role, read)
    for name in WORDS:
        if name in message.values:
            message.text(name, None, empty=True)
    if role == "tool":
        _answer(message, read)
    elif role == "function":
        message.text("name")
        read.legacy = True
    elif role == "assistant":
        yield from _calls(message, read)
        if (function := message.inner("function_call", None)) is not None:
            read.legacy = True
            yield from _function(function)


def _content(message: Fields, role: str, read: Messages) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for position, part in enumerate(message.each("content")):
            yield _part(part, role, position, read)
    elif content is not None:
        raise message.wrong("content", "a string or a list of parts")
    elif role != "assistant" or not any(message.get(name) for name in INSTEAD):
        reason = f"'messages[{read.count}].content' is required"
        raise message.fault("content", "missing_required_parameter", reason)


def _part(part: Fields, role: str, position: int, read: Messages) -> str:
    """A part's text.  Kinds that we do not know are refused: engines fetch URLs out of some."""
    kind = part.text("type")
    if kind == "text":
        return part.text("text", empty=True)
    if kind == "refusal" and role == "assistant":
        return part.text("refusal", empty=True)
    if role == "assistant":
        reason = "the content of an assistant is text or a refusal"
        raise part.fault("type", "invalid_value", reason)
    if kind == "image_url":
        read.images.append(_image(part, read.count, position))
    elif kind == "input_audio":
        audio = part.inner("input_audio")
        audio.text("data")
        audio.choice("format", AUDIO)
    elif kind == "file":
        _file(part.inner("file"))
    else:
        reason = "a part is one of: text, image_url, input_audio, file"
        raise part.fault("type", "invalid_value", reason)
    return ""


def _image(part: Fields, message: int, position: int) -> Image:
    at = f"messages[{message}].content[{position}].image_url"
    if isinstance(part.get("image_url"), str):  # Mistral's form
        url = part.text("image_url")
        return Image(at=at, message=message, part=position, url=url, detail="auto", bare=True)
    image = part.inner("image_url")
    at = f"{at}.url"
    url, detail = image.text("url"), image.choice("detail", ("auto", "low", "high"), "auto")
    return Image(at=at, message=message, part=position, url=url, detail=detail)


def _file(file: Fields) -> None:
    """A file comes with its data: what an id names lies with an engine, whoever put it there."""
    if "file_id" in file:
        reason = "files are not kept here; send the file itself as 'file_data'"
        raise file.fault("file_id", "unsupported_value", reason)
    file.text("file_data")
    file.text("filename", None)


def _answer(message: Fields, read: Messages) -> None:
    if message.text("tool_call_id") not in read.calls:
        reason = (
            "messages with role 'tool' must be a response to a preceding message with "
            "'tool_calls', and none of these has this 'tool_call_id'"
        )
        raise message.fault("tool_call_id", "invalid_value", reason)


def _calls(message: Fields, read: Messages) -> Iterator[str]:
    if "tool_calls" not in message:
        return
    for call in message.each("tool_calls", at_most=CALLS_AT_MOST, empty=True):
        read.calls.add(call.text("id"))
        if call.values.get("type", "function") != "function":  # an engine trips over null, too
            raise call.fault("type", "unsupported_value", "only function tools are supported")
        yield from _function(call.inner("function"))


def _function(function: Fields) -> Iterator[str]:
    yield function.text("name")
    yield function.text("arguments", "", empty=True)
