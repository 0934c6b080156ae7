"""What the admin listener's pages are written as."""

from __future__ import annotations

from aiohttp import web

from modgate.api.json import Json
from modgate.api.surface import dump


def json_page(value: Json, status: int = 200) -> web.Response:
    """A value as a page."""
    return web.Response(status=status, body=dump(value), content_type="application/json")
