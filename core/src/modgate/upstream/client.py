"""Sending calls to one engine over connections that are kept.

The protocol is ours and not aiohttp's, which costs ten times as much (docs/rfd/0032): head.py and
parser.py read a reply, connection.py carries it, answer.py gives it to its reader, pool.py and
dialer.py keep and open connections.
"""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from modgate.api.body import Body
from modgate.upstream.answer import Answer
from modgate.upstream.dialer import CONNECT_S, Dialer, Trust
from modgate.upstream.pool import IDLE_S, Pool
from modgate.upstream.request import Heads, framed

__all__ = ["Answer", "Client"]


class Client:
    """The connections to one engine, which outlive reloads that leave the engine as it is.

    `url`: of the engine; its path is put in front of every call's.  `socket`: the path of a Unix
    socket to use instead of the network.  `tls`: see `Dialer`.  `idle_s`: how long a connection
    without a call is kept.
    """

    def __init__(
        self,
        url: str,
        *,
        socket: str = "",
        tls: Trust | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        base = URL(url)
        self._heads = Heads(_authority(base), base.raw_path.rstrip("/"))
        self._dialer = Dialer(base, path=socket, tls=tls)
        self._idle_s = idle_s
        self._pool: Pool | None = None

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections there are, and how many of them carry no call."""
        return (0, 0) if self._pool is None else (len(self._pool.live), len(self._pool.idle))

    async def send(
        self, path: str, body: Body, headers: Mapping[str, str], *, connect_s: float = CONNECT_S
    ) -> Answer:
        """POST a body, and wait for the head of the reply.

        `connect_s`: for a connection, where none is kept.  An Upstream error when the call cannot
        be sent or no good head comes back.  The call is never sent a second time.  ValueError for a
        path or header that a dialect must not make.
        """
        kind, size, content = framed(body)
        head, keeps = self._heads.head(path, kind, size, headers)
        pool = self._pool
        if pool is None:
            pool = self._pool = Pool(self._idle_s)
        connection = pool.take()
        if connection is None:
            connection = pool.connection()
            await self._dialer.dial(connection, connect_s)
        answer = Answer(connection, pool.loop, keeps=keeps)
        answer.send(head, content)
        try:
            while not answer.status:
                await answer.news()
        except BaseException:
            answer.close()
            raise
        return answer

    async def close(self) -> None:
        """Close all connections."""
        self._dialer.close()
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _authority(url: URL) -> str:
    host = url.host_subcomponent or ""
    return host if url.is_default_port() else f"{host}:{url.port}"
