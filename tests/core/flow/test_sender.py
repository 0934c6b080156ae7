"""What goes out to an engine, in which order, and what an error of it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rigs.drafts import attempted, drafted

from modgate.api.auth import Caller
from modgate.api.body import Body
from modgate.api.dialect import Dialect, Outgoing
from modgate.api.plan import Call, ReplyKind
from modgate.api.secret import Secret
from modgate.api.select import Backend, Served
from modgate.api.vitals import Load
from modgate.errors import GatewayError, Overloaded, Unsupported, UpstreamFailed
from modgate.order import Order
from modgate.sender import REFUSAL_AT_MOST, Sender
from modgate.telemetry.orca import ASKS, TELLS, Remarks
from modgate.tries import Try

ENGINE = Backend(name="b", family="vllm", url="http://b", serves={})
SPAN = "5a00000000000000"  # of the first attempt


class Mute(Dialect):
    """It cannot say the call."""

    def encode(self) -> Outgoing:
        raise Unsupported("seed", "no such thing")


class Chatty(Dialect):
    """It has headers of its own, one of which is the gateway's."""

    def encode(self) -> Outgoing:
        said = super().encode()
        return Outgoing(
            path=said.path,
            body=said.body,
            reply=said.reply,
            headers={"x-own": "1", "x-request-id": "forged"},
        )


class Engine:
    """An engine and the gateway's parts around it; `told` is what happened, in order.

    `body`: of its reply; None: it is lost on its way.
    """

    def __init__(self, *, status: int = 200, body: bytes | None = b"{}") -> None:
        self.status = status
        self.headers: Mapping[str, str] = {TELLS: "TEXT named_metrics.kv_cache_usage_perc=0.5"}
        self.told: list[str] = []
        self.met: list[str] = []
        self.heads: list[Mapping[str, str]] = []
        self.signed: list[Mapping[str, str]] = []
        self.heard: list[Load] = []
        self.tries: list[Try] = []
        self.closed = False
        self._body = body
        self.sender = Sender(
            client_of=self._client,
            connect_s=5.0,
            prepare=self._prepare,
            opened=lambda draft: self.told.append(f"opened {draft.request_id}"),
            sign=self._sign,
            remarks=Remarks(9.0, lambda: 0.0, lambda name, load, *_: self.heard.append(load)),
        )

    def _client(self, backend: Backend) -> Any:
        self.met.append(backend.name)
        return self

    async def _prepare(self, name: str) -> None:
        self.told.append(f"prepared {name}")

    def _sign(self, **claims: str) -> str:
        self.signed.append(claims)
        return "token"

    async def send(
        self, path: str, body: Body, headers: Mapping[str, str], *, connect_s: float
    ) -> Any:
        """As `upstream.client.Client` does; the answer is the engine itself."""
        assert connect_s == 5.0
        self.told.append(f"sent {path} {[each.sent for each in self.tries]}")
        self.heads.append(headers)
        return self

    async def whole(self, at_most: int) -> bytes:
        """The reply's body, as of `Answer`."""
        assert at_most == REFUSAL_AT_MOST
        if self._body is None:
            raise UpstreamFailed("lost")
        return self._body

    def close(self) -> None:
        """As of `Answer`."""
        self.closed = True

    async def ask(
        self,
        backend: Backend = ENGINE,
        dialect: type[Dialect] = Dialect,
        *,
        reply: ReplyKind = "whole",
        members: int = 1,
    ) -> Any:
        """Send one call of `members` requests, each as its second attempt."""
        call = Call(path="/v1/x", body=Body.json(b"{}"), reply=reply)
        orders = [_order(call, f"r{number}") for number in range(members)]
        order = orders[0] if members == 1 else _order(call, "r0", orders)
        self.tries = [attempted(span=f"5a{n}" + "0" * 13) for n in range(members)]
        served = Served(asked="m", model="m", name="n")
        return await self.sender.send(order, backend, dialect(call, served), self.tries)


def _order(call: Call, request_id: str, members: list[Order] | None = None) -> Order:
    none: Any = None
    draft = drafted(request_id=request_id, caller=Caller(tenant="acme", key_id="k"))
    return Order(
        index=0,
        call=call,
        model=none,
        modality=none,
        draft=draft,
        asked="m",
        members=members or (),
        attempts=2,
    )


async def test_the_ledger_knows_of_every_request_before_a_byte_leaves() -> None:
    engine = Engine()
    answer = await engine.ask(members=2, reply="sse")

    assert answer is engine
    assert engine.told == ["opened r0", "opened r1", "sent /v1/x [True, True]"]
    assert [(each.reply, each.status) for each in engine.tries] == [("sse", 200)] * 2
    assert SPAN in engine.heads[0]["traceparent"]
    assert not engine.closed


async def test_a_call_that_cannot_be_said_is_neither_sent_nor_written_down() -> None:
    engine = Engine()
    with pytest.raises(Unsupported):
        await engine.ask(dialect=Mute)

    assert (engine.told, engine.tries[0].sent) == ([], False)


async def test_a_local_engine_is_made_ready_first() -> None:
    engine = Engine()
    await engine.ask(replace(ENGINE, local=True))

    assert engine.told[0] == "prepared b"


async def test_a_dialects_headers_go_out_below_the_gateways_own() -> None:
    engine = Engine()
    await engine.ask(dialect=Chatty)
    [head] = engine.heads

    assert (head["x-own"], head["x-request-id"], head["x-modgate-attempt"]) == ("1", "r0", "2")
    assert SPAN in head["traceparent"]
    assert "Authorization" not in head


@pytest.mark.parametrize(
    ("backend", "said", "signed"),
    [
        (replace(ENGINE, key=Secret("own")), "Bearer own", 0),
        (replace(ENGINE, sign=True), "Bearer token", 1),
        (replace(ENGINE, key=Secret("own"), sign=True), "Bearer own", 0),
    ],
)
async def test_an_engine_gets_its_own_key_or_a_token_that_names_the_tenant(
    backend: Backend, said: str, signed: int
) -> None:
    engine = Engine()
    await engine.ask(backend)

    assert engine.heads[0]["Authorization"] == said
    claims = {"backend": "b", "tenant": "acme", "request_id": "r0", "attempt": SPAN}
    assert engine.signed == [claims] * signed


async def test_an_engine_is_asked_for_its_load_with_a_whole_reply_now_and_then() -> None:
    engine = Engine()
    for reply in ("sse", "whole", "whole"):
        await engine.ask(reply=reply)

    assert [ASKS in each for each in engine.heads] == [False, True, False]
    assert engine.heard == [Load(kv_use=0.5)]


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (429, b'{"error":{"message":"slow down"}}', Overloaded, ""),
        (400, b'{"error":{"message":"no n here"}}', GatewayError, "no m here"),
        (503, None, GatewayError, ""),
        (302, b"", GatewayError, ""),
        (199, b"", GatewayError, ""),
    ],
)
async def test_an_engines_error_is_what_its_dialect_says_also_without_its_body(
    status: int, body: bytes | None, error: type[GatewayError], text: str
) -> None:
    engine = Engine(status=status, body=body)
    with pytest.raises(error) as caught:
        await engine.ask()

    expected = Dialect(Call(path="", body=Body.json(b"{}")), Served(asked="m", model="m", name="n"))
    said = expected.refusal(status, engine.headers, body or b"")
    assert (type(caught.value), str(caught.value)) == (type(said), str(said))
    assert text in str(caught.value)
    assert engine.closed
    assert engine.tries[0].status == status


async def test_certificates_are_read_with_a_snapshot_and_not_with_its_first_call() -> None:
    engine = Engine()
    engine.sender.meet([ENGINE, replace(ENGINE, name="c")])

    assert (engine.met, engine.told) == (["b", "c"], [])
