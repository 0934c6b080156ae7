"""Resolving a name once: the addresses that were judged are the ones that are connected to.

A name whose answer changes (DNS rebinding) could pass the check and then lead elsewhere, if it were
resolved again to connect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from modgate.upstream.addresses import Address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
THREADS = 8


class Resolver:
    """The machine's resolver, on threads of its own.

    A name whose servers never answer holds a thread for half a minute.  A client could hold all of
    the event loop's common threads in that way.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="modgate-names")

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a name, each once.  OSError when there are none."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Start no more look-ups; one that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Pinned(AbstractResolver):
    """The resolver that aiohttp is given for one request: it knows only the judged addresses."""

    def __init__(self, host: str, addresses: Sequence[Address]) -> None:
        self._host = host
        self._addresses = tuple(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The judged addresses; OSError for any other name."""
        if host != self._host:
            raise OSError("not the host that was judged")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Do nothing: nothing is held."""


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
