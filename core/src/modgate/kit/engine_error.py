"""What an engine's error says besides its message."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from modgate.plugin import Json


def error_in(body: bytes) -> Mapping[str, Json]:
    """The members of `error` in a reply of OpenAI's shape; {} when it is no such reply."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}
