"""A call as it goes out: the bytes of its head and of its body.

What is the same in all calls of one path is checked and joined once, into a form.  A call fills its
own values into the form.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from modgate.api.body import Body, Content
from modgate.errors import UpstreamFailed
from modgate.upstream.head import TOKEN

READ_BYTES = 1 << 16
FORMS_AT_MOST = 256
_PATH = re.compile(r"/[!-~]*")
_FRAMING = frozenset({"host", "transfer-encoding", "te", "trailer", "upgrade", "expect"})
_OF_THE_BODY = frozenset({"content-type", "content-length"})


class Heads:
    """Makes the heads of calls to one engine.

    `host`: as the header `Host` has it.  `base`: the path in front of every call's path.
    """

    __slots__ = ("_base", "_forms", "_host")

    def __init__(self, host: str, base: str) -> None:
        self._host = host
        self._base = base
        self._forms: dict[tuple[str, ...], _Form] = {}

    def head(
        self, path: str, kind: str, size: int, headers: Mapping[str, str]
    ) -> tuple[bytes, bool]:
        """The head of a POST, and whether its connection may carry another call afterwards.

        `kind`, `size`: type and length of the body; what `headers` says of them is left out.  A
        connection that `headers` speaks of itself carries no other call.  ValueError for a path, a
        name or a value that would not stay in its line.
        """
        key = (path, *headers)
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= FORMS_AT_MOST:  # paths are made by dialects, a few for each
                self._forms.clear()
            form = self._forms[key] = _Form(self._host, self._base, path, tuple(headers))
        return form.filled(kind, size, headers), form.keeps


class _Form:
    """The form of all heads of one path that have the same header names."""

    __slots__ = ("_skipped", "_text", "keeps")

    def __init__(self, host: str, base: str, path: str, names: Sequence[str]) -> None:
        whole = base + path
        if _PATH.fullmatch(whole) is None:
            raise ValueError("the path of a call must begin with '/' and be percent-encoded")
        lines = [f"POST {whole} HTTP/1.1", f"Host: {host}"]
        lines = [line.replace("%", "%%") for line in lines]
        lowered = [name.lower() for name in names]
        self.keeps = "connection" not in lowered
        if "accept" not in lowered:
            lines.append("Accept: */*")
        self._skipped = tuple(
            name for name, low in zip(names, lowered, strict=True) if low in _OF_THE_BODY
        )
        for name, low in zip(names, lowered, strict=True):
            if TOKEN.fullmatch(name) is None or low in _FRAMING:
                raise ValueError(f"'{name}' is no header that a call may have")
            if low not in _OF_THE_BODY:
                lines.append(name.replace("%", "%%") + ": %s")
        lines += ["Content-Type: %s", "Content-Length: %d", "", ""]
        self._text = "\r\n".join(lines)

    def filled(self, kind: str, size: int, headers: Mapping[str, str]) -> bytes:
        """The head with the values of one call."""
        if self._skipped:
            headers = {n: value for n, value in headers.items() if n not in self._skipped}
        values = "".join((*headers.values(), kind))
        if "\n" in values or "\r" in values or "\0" in values:
            raise ValueError("a header's value has a line break or a zero in it")
        text = self._text % (*headers.values(), kind, size)
        return text.encode("utf-8", "surrogateescape")


def framed(body: Body) -> tuple[str, int, bytes | Iterator[bytes]]:
    """A body's content type, its length in bytes, and its bytes.

    The bytes come at once when they are few or in memory, and else as an iterator that reads the
    spool as they are sent.  Source: RFC 7578 (forms).
    """
    if body.kind != "form":
        content = body.content
        if isinstance(content, bytes):
            return body.content_type, len(content), content
        return body.content_type, content.size, _pieces([content], content.size)
    boundary = os.urandom(16).hex()
    parts: list[Content] = []
    for part in body.parts:
        parts += [
            _part_head(boundary, part.name, part.filename, part.content_type),
            part.content,
            b"\r\n",
        ]
    parts.append(f"--{boundary}--\r\n".encode())
    size = sum(len(p) if isinstance(p, bytes) else p.size for p in parts)
    return f"multipart/form-data; boundary={boundary}", size, _pieces(parts, size)


def _part_head(boundary: str, name: str, filename: str | None, content_type: str | None) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        head += f'; filename="{_quoted(filename)}"'
        head += f"\r\nContent-Type: {_line(content_type or 'application/octet-stream')}"
    return (head + "\r\n\r\n").encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def _pieces(contents: Sequence[Content], size: int) -> bytes | Iterator[bytes]:
    pieces = _read(contents)
    return b"".join(pieces) if size <= READ_BYTES else pieces


def _read(contents: Sequence[Content]) -> Iterator[bytes]:
    for content in contents:
        if isinstance(content, bytes):
            yield content
            continue
        if content.prefix:
            yield content.prefix
        at, end = content.start, content.start + content.length
        while at < end:
            data = content.file.read(at, min(READ_BYTES, end - at))
            if not data:
                raise UpstreamFailed("a spool file is shorter than its slice")
            at += len(data)
            yield data
