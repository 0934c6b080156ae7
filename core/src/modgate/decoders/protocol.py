"""What the gateway and a decoder process say to each other: msgpack with files by descriptor, never
pickle.

    message = u32 length | u8 descriptors | msgpack map

Descriptors travel with the header byte by SCM_RIGHTS.  A file in a value is the extension type 1
whose data is the index of its descriptor.  Imported by the child: nothing heavy here.
"""

from __future__ import annotations

import struct

import msgspec

HEAD = struct.Struct("<IB")
FILE = 1
FILES_AT_MOST = 16
# Code and reason for what a function failed at: a file, or as well a text.
UNDECODABLE = "undecodable", "the input could not be read"


def file_token(index: int) -> msgspec.msgpack.Ext:
    """The value that stands for descriptor `index`."""
    return msgspec.msgpack.Ext(FILE, bytes([index]))


def refusal_in(error: Exception) -> tuple[str | None, str, str] | None:
    """Field, code and reason of an exception that refuses what it got; None for any other.

    Only a refusal has the last two as texts: UnicodeDecodeError has a reason, too.
    """
    field, code, reason = (getattr(error, name, None) for name in ("field", "code", "reason"))
    if isinstance(code, str) and isinstance(reason, str):
        return field, code, reason
    return None
