"""Sockets, and how they are opened and left: readiness first, then connections, then requests."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiohttp import web

from modgate.http.connection import Handler, Server, framing_refusal
from modgate.http.tls import Tls, TlsFiles, Unusable
from modgate.state import State

log = logging.getLogger(__name__)

LEAVING_S = 1.0  # in which every response says Connection: close (stack.md 5)
BACKLOG = 1024
CUT_S = 0.2  # for requests that the drain has left over, before they are cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen; `tls` None = plain HTTP."""

    host: str
    port: int
    tls: TlsFiles | None = None


class Listener:
    """One listening socket with its handler."""

    def __init__(self, handler: Handler, state: State) -> None:
        self._server = Server(handler, framing_refusal(state.request_id))
        self._runner = web.ServerRunner(self._server, handle_signals=False, shutdown_timeout=CUT_S)
        self._site: web.TCPSite | None = None
        self.tls: Tls | None = None
        self._unusable = ""  # why the certificate of now is not

    async def open(self, address: Address) -> tuple[str, int]:
        """Listen.

        The answer is the address, with the port that 0 became.  OSError when it is taken.
        """
        await self._runner.setup()
        if address.tls is not None:
            self.tls = Tls(address.tls)
        context = self.tls.context if self.tls else None
        self._site = web.TCPSite(
            self._runner, address.host, address.port, ssl_context=context, backlog=BACKLOG
        )
        await self._site.start()
        host, port = self._runner.addresses[0][:2]
        return str(host), int(port)

    def refresh(self) -> None:
        """Read a changed certificate; one that is not usable is told once, and changes nothing."""
        if self.tls is None:
            return
        try:
            if self.tls.refresh():
                log.info("certificate read again")
        except Unusable as error:
            reason = str(error)
            if reason != self._unusable:
                log.error("certificate not usable", extra={"reason": reason})
            self._unusable = reason
        else:
            self._unusable = ""

    async def stop_accepting(self) -> None:
        """No new connections; open ones go on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def close(self) -> None:
        """Cut what is left; its handlers are told to stop, and may take a moment to."""
        await self._runner.cleanup()


async def drain(state: State, public: Listener, within_s: float) -> bool:
    """Leave in order.  True when every request in hand came to its own end."""
    state.draining = True
    state.engines.leave()
    log.info("draining", extra={"in_hand": state.live})
    await public.stop_accepting()
    await asyncio.sleep(min(LEAVING_S, within_s))
    ended = await state.drained(within_s)
    log.info("drained", extra={"left": state.live})
    state.cut()
    await state.drained(CUT_S)  # in which those that are left are told
    await public.close()
    await state.drained(CUT_S)
    return ended
