"""Driving the generators of plugins: `shape`, and policies that ask.

They yield Needs and are sent the answers; what `shape` refuses is the client's error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from functools import partial
from time import perf_counter
from typing import TypeVar

from modgate.api.json import Json
from modgate.api.modality import Endpoint
from modgate.api.need import Ask, Need
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.relay import Head, Relay
from modgate.api.request import Request
from modgate.complaints import StepEnded
from modgate.drawing import check_asked, check_call
from modgate.errors import GatewayError, PluginFault, Unsupported
from modgate.faults import raised
from modgate.units import Units

STEPS_AT_MOST = 1000

AskedT = TypeVar("AskedT")
MadeT = TypeVar("MadeT")


async def shape(
    endpoint: Endpoint,
    request: Request,
    answer: Callable[[Need], Awaitable[Json]],
    step_ended: StepEnded,
) -> Plan:
    """The plan of a request; `answer` is given what `shape` asks for.

    Raises Refused and its like from the plugin, PluginFault for the rest.
    """
    try:
        began = perf_counter()
        shaped = endpoint.shape(request)
        if isinstance(shaped, Generator):
            shaped = await drive(shaped, partial(_answered, answer), partial(step_ended, "shape"))
        else:
            step_ended("shape", began)
        plan = check_plan(shaped)
    except GatewayError:
        raise
    except raised() as error:
        name = getattr(endpoint.shape, "__qualname__", "shape")
        raise PluginFault(f"{type(error).__name__} in {name}") from error
    else:
        return plan


def check_plan(plan: Plan) -> Plan:
    """The plan; PluginFault for what is no Plan that can be run."""
    if not isinstance(plan, Plan):
        raise PluginFault(f"shape returned {type(plan).__name__}, and no Plan")
    relay: object = plan.relay
    if not isinstance(relay, Relay) or not isinstance(relay.head, Head):
        raise PluginFault("a Plan has no Relay with a Head")
    if type(plan.width) is not int or plan.width < 1:
        raise PluginFault("the width of a Plan is a whole number of at least 1")
    if plan.ahead is not None and (type(plan.ahead) is not int or plan.ahead < 1):
        raise PluginFault("what may be drawn ahead of a Plan is a whole number of at least 1")
    if not isinstance(plan.reserve, Units | None):
        raise PluginFault(f"the reserve of a Plan is Units, and not {type(plan.reserve).__name__}")
    _check_calls(plan.calls)
    return plan


def _check_calls(calls: Iterable[Call] | Drawn) -> None:
    """Check calls that are there already; the others are checked when they are drawn."""
    if isinstance(calls, tuple | list):
        for call in calls:
            check_call(call)
    elif not isinstance(calls, Iterable | Drawn):
        name = type(calls).__name__
        raise PluginFault(f"the calls of a Plan are {name}, and no iterable")


async def drive(
    steps: Generator[AskedT, Json, MadeT],
    answered: Callable[[AskedT], Awaitable[Json]],
    step_ended: Callable[[float], None] = lambda began: None,
) -> MadeT:
    """What a plugin's generator returns, once each of its Needs was answered or failed.

    `step_ended`: called at the end of each of its steps, with the time when that began.
    """
    began = perf_counter()
    try:
        need = next(steps)
        for _ in range(STEPS_AT_MOST):
            step_ended(began)
            try:
                answer = await answered(need)
            except (GatewayError, Unsupported) as error:
                began = perf_counter()
                need = steps.throw(error)
            else:
                began = perf_counter()
                need = steps.send(answer)
        raise PluginFault(f"a plugin asked more than {STEPS_AT_MOST} times")
    except StopIteration as stop:
        step_ended(began)
        made: MadeT = stop.value
        return made
    finally:
        steps.close()


async def _answered(answer: Callable[[Need], Awaitable[Json]], need: Need) -> Json:
    return await answer(check_need(need))


def check_need(need: Need) -> Need:
    """The Need; PluginFault for what is none."""
    if not isinstance(need, Need):
        raise PluginFault(f"shape yielded {type(need).__name__}, and no Need")
    if isinstance(need, Ask):
        check_asked(need.calls)
    return need
