"""Counting a request's units again from what the client sent, by the plugin that counted them.

The modality's own `shape` is driven as the gateway drives it, with no backend behind it: whatever
it measures comes out as it was billed.  What only an engine could say cannot be known here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import orjson

from modgate.api.json import Json, JsonObject
from modgate.api.modality import AnyModality, Endpoint, Sample
from modgate.api.need import Ask, Fetch, Need, Work
from modgate.api.plan import Drawn
from modgate.api.price import Price
from modgate.errors import GatewayError, Refused, Unavailable
from modgate.kit.sniff import HEAD_BYTES, family, media_type, sniff
from modgate.testing import Rig
from modgate.units import BYTES_IN, REQUESTS, Units

Verdict = Literal["equal", "differs", "cannot be known"]

TOKENS = "modgate.kit.tokens"  # whoever counts by a model's own tokenizer asks one of its functions
FAR = 20  # a twentieth: an engine's own count may be so far from ours (architecture.md 7)
# What a bare file means on paths that take JSON, by the public wire.
SPEECH, EMBEDDINGS, OCR = "/v1/audio/speech", "/v1/embeddings", "/v1/ocr"
CHAT = "/v1/chat/completions"


class CannotVerify(Exception):
    """Nothing can be counted; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One unit of a receipt: what is billed, what it is counted as here, and why not, if not."""

    unit: str
    billed: int
    counted: int | None
    verdict: Verdict
    note: str = ""


@dataclass(slots=True, kw_only=True)
class Counted:
    """What `shape` measured.  `least`: by the pieces; `most`: what was reserved for the whole."""

    least: Units
    most: Units
    tokens: bool = False
    body_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Verifier:
    """Counts for one modality and model.  `facts`: of the model, as configured."""

    modality: AnyModality
    facts: Mapping[str, Json] = field(default_factory=dict)

    def lines(self, receipt: JsonObject, content: bytes, more: Mapping[str, str]) -> list[Line]:
        """Every unit of a receipt; CannotVerify when the input is none of its request."""
        counted = self._count(receipt, content, more)
        whole = receipt.get("ending") == "ok" and receipt.get("exact") is True
        units = receipt.get("units")
        return list(self._compared(units if isinstance(units, dict) else {}, counted, whole))

    def _count(self, receipt: JsonObject, content: bytes, more: Mapping[str, str]) -> Counted:
        with TemporaryDirectory() as folder, Rig(self.modality, Path(folder)) as rig:
            route = str(receipt.get("route", ""))
            path = route if route in rig.endpoints else route.removeprefix(f"/{self.modality.name}")
            endpoint = rig.endpoints.get(path)
            if endpoint is None:
                raise CannotVerify(f"{self.modality.name} has no endpoint {route}")
            sample = self._sample(endpoint, str(receipt.get("model", "")), content, more)
            counted = Counted(least=Units(), most=Units())
            try:
                self._shaped(rig, sample, counted)
            except GatewayError as error:
                raise CannotVerify(f"the input is refused: {error.message}") from None
            if sample.json is not None and content.lstrip()[:1] == b"{":
                counted.body_bytes = len(content)
            return counted

    def _sample(
        self, endpoint: Endpoint, model: str, content: bytes, more: Mapping[str, str]
    ) -> Sample:
        if endpoint.body == "form":
            form: dict[str, str | tuple[str, bytes]] = {"model": model, **more}
            form["file"] = ("input", content)
            return Sample(path=endpoint.path, model=model, form=form, facts=self.facts)
        body = _body(endpoint.path, content)
        return Sample(path=endpoint.path, model=model, json={**body, **more}, facts=self.facts)

    def _shaped(self, rig: Rig, sample: Sample, counted: Counted) -> None:
        def answer(step: int, need: Need) -> Json:
            del step
            match need:
                case Work():
                    counted.tokens |= need.function.__module__ == TOKENS
                    return rig.inline.work(need)
                case Fetch():
                    raise Refused(need.field, "fetch_failed", "a file named by URL is not had here")
                case Ask():
                    raise Unavailable("no engine is asked here")

        plan = rig.shape(rig.request(sample), answer)
        for call in rig.calls(plan):
            counted.least = counted.least + call.size
        counted.most = plan.reserve if plan.reserve is not None else counted.least
        if not isinstance(plan.calls, Drawn):
            counted.least = counted.most

    def _compared(self, units: Mapping[str, int], found: Counted, whole: bool) -> Iterator[Line]:
        for unit, billed in sorted(units.items()):
            modality, _, name = unit.partition(".")
            if modality != self.modality.name:
                yield _unknown(unit, billed, "a side call's")
            elif name == REQUESTS:
                yield _line(unit, billed, 1)
            elif name == BYTES_IN:
                yield self._bytes(unit, billed, found.body_bytes)
            elif name in self.modality.gateway_counts:
                yield _measured(unit, billed, found, whole=whole)
            else:
                yield self._engines(unit, billed, found, whole=whole)

    @staticmethod
    def _bytes(unit: str, billed: int, body_bytes: int | None) -> Line:
        if body_bytes == billed:
            return _line(unit, billed, body_bytes)
        return _unknown(unit, billed, "the body as it was sent is not at hand")

    @staticmethod
    def _engines(unit: str, billed: int, found: Counted, *, whole: bool) -> Line:
        """A unit that an engine says: ours is as good where a tokenizer counted the prompt."""
        name = unit.partition(".")[2]
        counted = found.most.get(name)
        if name != "input_tokens" or counted is None or not found.tokens or not whole:
            return _unknown(unit, billed, "only the engine, or the reply, could say")
        if billed == counted:
            return _line(unit, billed, counted)
        if abs(billed - counted) * FAR > counted:
            return _line(unit, billed, counted)
        note = f"the model's tokenizer counts {counted}; an engine may add what no client sends"
        return _unknown(unit, billed, note)


def _measured(unit: str, billed: int, found: Counted, *, whole: bool) -> Line:
    name = unit.partition(".")[2]
    most = found.most.get(name, 0)
    if billed in (most, found.least.get(name)):
        return _line(unit, billed, billed)
    if not whole and billed < most:
        note = f"the reply was cut short; the whole is {most}"
        return _unknown(unit, billed, note)
    return _line(unit, billed, most)


def _line(unit: str, billed: int, counted: int) -> Line:
    verdict: Verdict = "equal" if billed == counted else "differs"
    return Line(unit=unit, billed=billed, counted=counted, verdict=verdict)


def _unknown(unit: str, billed: int, note: str) -> Line:
    return Line(unit=unit, billed=billed, counted=None, verdict="cannot be known", note=note)


def _body(path: str, content: bytes) -> JsonObject:
    """A request body: the input itself, or what a bare file of it means on this path."""
    if content.lstrip()[:1] == b"{":
        try:
            body = orjson.loads(content)
        except ValueError:
            raise CannotVerify("the input begins like a JSON body and is none") from None
        return dict(body)
    if path == OCR:
        return {"document": {"type": "document_url", "document_url": _data_url(content)}}
    if path == CHAT and family(sniff(content[:HEAD_BYTES])) == "image":
        part = {"type": "image_url", "image_url": {"url": _data_url(content)}}
        return {"messages": [{"role": "user", "content": [part]}]}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise CannotVerify("the input is neither text nor a body for this path") from None
    bodies: dict[str, JsonObject] = {
        SPEECH: {"input": text, "voice": "alloy"},
        EMBEDDINGS: {"input": text},
        CHAT: {"messages": [{"role": "user", "content": text}]},
    }
    if path not in bodies:
        raise CannotVerify(f"give the JSON body that was sent to {path}")
    return bodies[path]


def _data_url(content: bytes) -> str:
    kind = media_type(sniff(content[:HEAD_BYTES]))
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def price_lines(cost: JsonObject) -> Iterator[Line]:
    """The receipt's own arithmetic: each price line, and their sum, in micro-units."""
    total = 0
    lines = cost.get("lines")
    for line in lines if isinstance(lines, list) else ():
        price = Price(pico=int(line["pico"]), per=max(1, int(line["per"])))
        total += int(line["micro"])
        yield _line(f"cost of {line['unit']}", int(line["micro"]), price.micro(int(line["count"])))
    yield _line("cost", int(cost.get("micro", 0)), total)
