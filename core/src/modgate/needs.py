"""Driving `shape`.

Its Needs are answered here, and what it refuses comes out as the client's error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import assert_never

from modgate.api.json import Json
from modgate.api.modality import Endpoint
from modgate.api.need import Ask, Fetch, Need, Work
from modgate.api.plan import Plan
from modgate.api.request import Request
from modgate.errors import GatewayError, PluginFault, Unsupported

STEPS_AT_MOST = 1000

Fetcher = Callable[[Fetch], Awaitable[Json]]
Worker = Callable[[Work], Awaitable[Json]]
Asker = Callable[[Ask], Awaitable[Json]]


async def shaped(
    endpoint: Endpoint, request: Request, *, fetch: Fetcher, work: Worker, ask: Asker
) -> Plan:
    """The plan of a request.

    Raises Refused and its like from the plugin, PluginFault for the rest.
    """
    try:
        answer = endpoint.shape(request)
        if isinstance(answer, Plan):
            return answer
        return await _driven(answer, fetch, work, ask)
    except GatewayError:
        raise
    except Exception as error:
        name = getattr(endpoint.shape, "__qualname__", "shape")
        raise PluginFault(f"{type(error).__name__} in {name}") from error


async def _driven(
    shape: Generator[Need, Json, Plan], fetch: Fetcher, work: Worker, ask: Asker
) -> Plan:
    try:
        need = next(shape)
        for _ in range(STEPS_AT_MOST):
            try:
                answer = await _answered(need, fetch, work, ask)
            except (GatewayError, Unsupported) as error:
                need = shape.throw(error)
            else:
                need = shape.send(answer)
        raise PluginFault(f"shape asked more than {STEPS_AT_MOST} times")
    except StopIteration as stop:
        if not isinstance(stop.value, Plan):
            raise PluginFault("shape did not return a Plan") from None
        return stop.value
    finally:
        shape.close()


async def _answered(need: Need, fetch: Fetcher, work: Worker, ask: Asker) -> Json:
    match need:
        case Fetch():
            return await fetch(need)
        case Work():
            return await work(need)
        case Ask():
            return await ask(need)
        case _:
            assert_never(need)
