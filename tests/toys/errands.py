"""A modality that uses every way out: it fetches, asks engines, and sends several calls; and two
policies, of which one cuts a caller's regions and one shows what the caller said to a model."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import ClassVar

import orjson
from made_plugins import plugin
from pydantic import BaseModel

from modgate.plugin import (
    Allow,
    Ask,
    Body,
    Call,
    Caller,
    Decision,
    Dialect,
    Endpoint,
    Fetch,
    GatewayError,
    Json,
    Modality,
    ModelName,
    Narrow,
    Need,
    Plan,
    PlanPolicy,
    Request,
    StandIn,
    Unit,
    Units,
)
from toys.echo import Config, Joined, Streamed

RUN, TELL = "/errand", "/tale"
EMBEDDING = "embedding"


def _call(text: str) -> Call:
    return Call(path=RUN, body=Body.of(text=text), size=Units(characters=len(text)))


class Errands(Modality[Config]):
    """`{"text", "url", "asks", "pieces"}`: what is sent is the text, each time."""

    name = "errands"
    units = (Unit("characters", "code points of the text"), Unit("tokens", "what the engine read"))
    weights: ClassVar = {"characters": 1.0}
    gateway_counts = frozenset({"characters"})
    stand_in = StandIn()
    config_type = Config

    def endpoints(self) -> Iterator[Endpoint]:
        yield Endpoint(path="/v1/errand", shape=self.shape)
        yield Endpoint(path="/v1/tale", shape=self.shape_tale, kind="stream")

    def shape(self, request: Request) -> Generator[Need, Json, Plan]:
        fields = request.fields()
        text, url = fields.text("text"), fields.text("url", "")
        if url:
            yield Fetch(url=url, at_most=1000, field="url")
        if asks := fields.integer("asks", 0, at_least=0):
            with contextlib.suppress(GatewayError):
                yield Ask([_call(text)] * asks, width=2)
        pieces = [text] * fields.integer("pieces", 1, at_least=1)
        return Plan(calls=[_call(piece) for piece in pieces], relay=Joined(pieces), width=2)

    def shape_tale(self, request: Request) -> Plan:
        text = request.fields().text("text")
        size = Units(characters=len(text))
        call = Call(path=TELL, body=Body.of(text=text), reply="sse", size=size)
        return Plan(calls=[call], relay=Streamed(text))


class ErrandsHome(Dialect):
    """The only engine's wire is the modality's own."""

    modality = "errands"


class Cut(BaseModel, frozen=True, extra="forbid"):
    """Where data may still lie."""

    region: str


class Cuts(PlanPolicy[Cut]):
    """Cuts a caller's regions."""

    name = "cuts"
    config_type = Cut

    def decide(self, caller: Caller, request: Request, plan: Plan) -> Decision:
        return Narrow(regions=frozenset([self.config.region]))


class Shown(BaseModel, frozen=True, extra="forbid"):
    """The model that is asked."""

    model: ModelName[EMBEDDING]


class Shows(PlanPolicy[Shown]):
    """Embeds what the caller said, and lets it pass."""

    name = "shows"
    config_type = Shown
    budget_s = 60.0

    def decide(
        self, caller: Caller, request: Request, plan: Plan
    ) -> Generator[Ask, Json, Decision]:
        text = orjson.loads(request.body.members()["text"])
        yield Ask(
            [
                Call(
                    path="/v1/embeddings",
                    body=Body.of(model="x", input=[text]),
                    size=Units(input_tokens=len(text), inputs=1),
                    model=self.config.model,
                )
            ]
        )
        return Allow()


ERRANDS = plugin(
    modgate_modalities=[Errands], modgate_dialects=[ErrandsHome], modgate_policies=[Cuts, Shows]
)
