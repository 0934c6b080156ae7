"""Keeping a reply on its way out, for who sends the request again with its idempotency key."""

from __future__ import annotations

from collections.abc import Sequence

from modgate.api.relay import Head
from modgate.idempotency import KeyedRequest
from modgate.responder import Responder


class KeepingResponder:
    """A Responder that also keeps what a whole reply says, up to its bound."""

    def __init__(self, responder: Responder, keyed: KeyedRequest, head: Head) -> None:
        retention = keyed.retention
        self._responder = responder
        self._keyed = keyed
        self._left = retention.reply_bytes
        self._keeps = retention.bodies and head.kind != "sse"
        self._body: list[bytes] = []

    @property
    def opened(self) -> bool:
        """Whether a byte of the reply may have left."""
        return self._responder.opened

    @property
    def abandoned(self) -> bool:
        """Whether the client left, and its engines finish."""
        return self._responder.abandoned

    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """Bytes of the reply; raises Cancelled when the client is gone."""
        self._note(data)
        await self._responder.emit(head, data)

    def pour(self, data: Sequence[bytes]) -> bool:
        """Bytes of an open reply, at once; False: `room` is to be waited for."""
        self._note(data)
        return self._responder.pour(data)

    async def room(self) -> None:
        """Until the client has read enough; Cancelled when it is gone."""
        await self._responder.room()

    def _note(self, data: Sequence[bytes]) -> None:
        if not self._keeps:
            return
        self._left -= sum(map(len, data))
        self._body.extend(data)
        if self._left < 0:
            self._keeps, self._body = False, []

    async def finish(self, head: Head, units: str) -> None:
        """The reply ended well; that of a stream is over, and its key with it."""
        if head.kind != "sse":
            headers = {"content-type": head.content_type, **head.headers}
            if units and head.kind == "whole":
                headers["x-modgate-units"] = units
            await self._keyed.keep(headers, b"".join(self._body) if self._keeps else None)
        await self._responder.finish(head, units)
