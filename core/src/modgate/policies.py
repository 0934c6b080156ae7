"""An operator's policies, asked one after the other of each request that became a plan.

Whatever they decide is recorded as a Ruling: in the receipt, so in the request's log line, the
metrics and the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modgate.api.json import Json
from modgate.api.model import Model
from modgate.api.need import Ask
from modgate.api.plan import Plan
from modgate.api.policy import Allow, AnyPolicy, ConfiguredPolicy, Decision, Deny, Narrow
from modgate.api.request import Request
from modgate.api.select import Targets
from modgate.api.sink import Ruling, Verdict
from modgate.draft import Draft
from modgate.drawing import check_asked
from modgate.errors import (
    GatewayError,
    Overloaded,
    PluginFault,
    PolicyDenied,
    PolicyFailed,
    Refused,
)
from modgate.faults import raised
from modgate.guard import Deadline
from modgate.host.blame import blamed
from modgate.host.kinds import Kinds
from modgate.narrow import narrowed_caller, narrowed_plan
from modgate.needs import drive

log = logging.getLogger(__name__)

Asker = Callable[[Ask], Awaitable[Json]]

UNDECIDED = "a policy that must agree to this request could not decide; try again"
LATE = "budget"
BROKE = "exception"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy at work; `origin`: whose code it is."""

    section: ConfiguredPolicy
    policy: AnyPolicy
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The rules of a snapshot by the model whose requests they see, in the operator's order."""

    rules: Mapping[str, Sequence[Rule]] = field(default_factory=dict)
    targets: Targets = field(default_factory=dict)


def build_policies(
    policies: Sequence[ConfiguredPolicy],
    kinds: Kinds[AnyPolicy],
    models: Iterable[Model],
    targets: Targets,
) -> Policies:
    """Every section's policy; PluginError for one that cannot be built."""
    by_model: dict[str, list[Rule]] = {}
    for section in policies:
        origin, kind = kinds[section.kind]
        with blamed(origin):
            policy = kind(section.config)
        rule = Rule(section=section, policy=policy, origin=str(origin))
        for model in models:
            if model.name in section.models:
                by_model.setdefault(model.name, []).append(rule)
    return Policies(rules=by_model, targets=targets)


class Judge:
    """Asks rules about one request; `ask` sends what they yield."""

    def __init__(self, targets: Targets, draft: Draft, ask: Asker) -> None:
        self._targets = targets
        self._draft = draft
        self._ask = ask

    async def check(self, rules: Sequence[Rule], request: Request, plan: Plan) -> Plan:
        """The plan as far as they allow it; Denied, Refused or PolicyFailed when they do not."""
        for rule in rules:
            if rule.section.tenants is None or self._draft.caller.tenant in rule.section.tenants:
                plan = await self._apply(rule, request, plan)
        return plan

    async def _apply(self, rule: Rule, request: Request, plan: Plan) -> Plan:
        began = self._draft.elapsed()
        late = PolicyFailed(UNDECIDED)
        try:
            decision = await self._decide(rule, request, plan, late)
            if self._draft.elapsed() - began > rule.section.budget_s:
                raise late
            caller = self._draft.caller
            if isinstance(decision, Narrow):
                caller = narrowed_caller(caller, decision, self._targets)
                plan = plan if rule.section.shadow else narrowed_plan(plan, decision.requires)
        except GatewayError as error:
            self._failed(rule, began, error, late=error is late)
        except raised() as error:
            log.exception("policy failed", extra=self._ids(rule))
            self._failed(rule, began, error)
        else:
            self._note(rule, began, *_told(decision))
            if not rule.section.shadow:
                self._draft.caller = caller
                if isinstance(decision, Deny):
                    raise _refusal(decision)
        return plan

    async def _decide(
        self, rule: Rule, request: Request, plan: Plan, late: PolicyFailed
    ) -> Decision:
        shown = plan if isinstance(plan.calls, tuple | list) else replace(plan, calls=())
        answer = rule.policy.decide(self._draft.caller, request, shown)
        if isinstance(answer, Generator):
            deadline = Deadline(lambda: late)
            deadline.set(deadline.now() + rule.section.budget_s)
            try:
                with deadline:
                    answer = await drive(answer, self._send)
            finally:
                deadline.disarm()
        if not isinstance(answer, Allow | Deny | Narrow):
            raise PluginFault("a policy must decide Allow, Deny or Narrow")
        return answer

    async def _send(self, need: Ask) -> Json:
        if not isinstance(need, Ask):
            raise PluginFault("a policy may yield an Ask, and nothing else")
        check_asked(need.calls)
        return await self._ask(need)

    def _failed(
        self, rule: Rule, began: float, error: BaseException, *, late: bool = False
    ) -> None:
        """Go on, or refuse; what is the caller's own doing is never a way around a policy."""
        code, own = BROKE, False
        if late:
            code, over = LATE, {"budget_ms": rule.section.budget_s * 1000}
            log.warning("policy over budget", extra={**self._ids(rule), **over})
        elif isinstance(error, PluginFault):
            log.error("policy failed", extra={**self._ids(rule), "fault": error.message})
        elif isinstance(error, GatewayError):
            code, own = error.code, error.status < 500 and not isinstance(error, Overloaded)
        closed = own or rule.section.on_failure == "closed"
        self._note(rule, began, "failed_closed" if closed else "failed_open", code, late=late)
        if closed and not rule.section.shadow:
            raise error if own else PolicyFailed(UNDECIDED) from error

    def _ids(self, rule: Rule) -> dict[str, str]:
        request_id = self._draft.request_id
        return {"policy": rule.section.name, "plugin": rule.origin, "request_id": request_id}

    def _note(
        self, rule: Rule, began: float, verdict: Verdict, code: str, *, late: bool = False
    ) -> None:
        self._draft.step("policy", began)
        ruling = Ruling(
            policy=rule.section.name,
            verdict=verdict,
            seconds=self._draft.elapsed() - began,
            code=code,
            late=late,
            shadow=rule.section.shadow,
        )
        self._draft.rulings = (*self._draft.rulings, ruling)


def _told(decision: Decision) -> tuple[Verdict, str]:
    match decision:
        case Deny():
            return "deny", decision.code
        case Narrow():
            return "narrow", ""
        case Allow():
            return "allow", ""


def _refusal(decision: Deny) -> GatewayError:
    kind = Refused if decision.status == 400 else PolicyDenied
    return kind(decision.field, decision.code, decision.message)
