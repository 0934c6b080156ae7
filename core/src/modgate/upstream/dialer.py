"""Opening connections to one engine: by address, name or Unix socket, in the clear or by TLS."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from ssl import SSLContext

from yarl import URL

from modgate.errors import ConnectTimedOut, Overloaded, Unreached
from modgate.out_of_files import out_of_files
from modgate.tracebacks import let_go
from modgate.upstream.connection import Connection
from modgate.upstream.names import Resolve

NAMES_KEPT_S = 10.0
CONNECT_S = 5.0

Trust = Callable[[], SSLContext]  # whom to trust now; OSError when that was never readable


class Dialer:
    """Connects to `url`, or to the Unix socket `path` when that is not empty.

    `tls`: is asked for each connection how the certificate of an https engine is judged; None: as
    the machine does.
    """

    def __init__(
        self,
        url: URL,
        *,
        path: str = "",
        tls: Trust | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        self._host = url.raw_host or ""
        self._port = url.port or 80
        self._path = path
        self._secure = url.scheme == "https"
        self._tls = tls
        self._resolve = resolver or _resolved
        self._found: deque[str] = deque()
        self._fresh_until = 0.0
        self._failed: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._unresolved: OSError | None = None

    async def dial(self, connection: Connection, within_s: float = CONNECT_S) -> None:
        """Connect.  ConnectTimedOut or Unreached when the engine cannot be reached.

        `within_s`: with resolving the name, all of its addresses, and the handshake.  Overloaded
        when the gateway itself can open no more connections.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._connect(connection, within_s)
            if not connection.open:
                raise OSError("closed at once")
        except TimeoutError as error:
            connection.abort()
            raise ConnectTimedOut("no connection to the engine within the deadline") from error
        except OSError as error:
            connection.abort()
            if out_of_files(error):
                raise _no_file() from error
            raise Unreached("no connection to the engine") from error
        except BaseException:
            connection.abort()
            raise

    async def _connect(self, connection: Connection, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._path:
            await loop.create_unix_connection(lambda: connection, self._path)
            return
        until = loop.time() + within_s
        addresses = await self._addresses()
        for at, address in enumerate(addresses, 1):
            left = until - loop.time()
            try:
                # Each gets its share of the time, so that a dead one leaves some for the others.
                async with asyncio.timeout(left / (len(addresses) - at + 1)):
                    await self._to(address, connection)
            except OSError:
                self._failed.add(address)
                if at == len(addresses):
                    raise
            else:
                self._failed.discard(address)
                return

    async def _to(self, address: str, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        if not self._secure:
            await loop.create_connection(lambda: connection, address, self._port)
            return
        tls = True if self._tls is None else self._tls()  # True: a context for this one alone
        await loop.create_connection(
            lambda: connection, address, self._port, ssl=tls, server_hostname=self._host
        )

    async def _addresses(self) -> Sequence[str]:
        """The addresses to try, those that failed last; each dial begins at another of them.

        So all of them share the load.  OSError when the name has none.
        """
        if not self._found or asyncio.get_running_loop().time() >= self._fresh_until:
            if self._looking is None:
                self._looking = asyncio.get_running_loop().create_task(self._look())
            await asyncio.shield(self._looking)
        if not self._found:
            raise OSError("the engine's name has no address") from self._unresolved
        self._found.rotate(-1)
        return sorted(self._found, key=self._failed.__contains__)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if _is_address(self._host):
                self._found, self._fresh_until = deque([self._host]), float("inf")
                return
            found = await self._resolve(self._host, self._port)
            self._found = deque(dict.fromkeys(found))
            self._fresh_until = loop.time() + NAMES_KEPT_S
            self._failed.intersection_update(self._found)
            self._unresolved = None
        except OSError as error:
            let_go([error])
            self._unresolved = error
            self._found.clear()
        finally:
            self._looking = None

    def close(self) -> None:
        """Stop resolving the name."""
        if self._looking is not None:
            self._looking.cancel()


def _no_file() -> Overloaded:
    """The error when no file is left; nobody can say when to come again."""
    error = Overloaded("the gateway can open no more connections; try again later")
    error.retry_after_s = None
    return error


async def _resolved(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
