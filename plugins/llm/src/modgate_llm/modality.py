"""The llm modality: endpoints, units, and how a chat becomes one call."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from modgate.kit.chat import Chat, asked_chat, no_images, no_tools, read_completion
from modgate.kit.chat_fan import FanRelay, fanned
from modgate.kit.chat_mistral import understood
from modgate.kit.chat_relay import ChatRelay, Style
from modgate.kit.converse.cohere import Cohere
from modgate.kit.converse.endpoints import endpoints
from modgate.kit.converse.messages import Messages
from modgate.kit.converse.responses import Responses
from modgate.kit.facts import facts_of
from modgate.plugin import (
    Call,
    Endpoint,
    Event,
    Json,
    Modality,
    Need,
    Plan,
    Refused,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    Usage,
)
from modgate_llm.config import Config, Facts
from modgate_llm.prompt import CHAT, TOKENIZE, Prompt, check, counted
from modgate_llm.samples import SAMPLES

COMPLETIONS = "/v1/completions"


class Llm(Modality[Config]):
    """Text generation, metered in tokens that the engine counts."""

    name = "llm"
    units = (
        Unit("input_tokens", "tokens of the prompt"),
        Unit("cached_tokens", "prompt tokens that the engine had cached", part_of="input_tokens"),
        Unit("output_tokens", "tokens that were generated", learned=True),
    )
    weights = {"input_tokens": 1.0, "output_tokens": 1.0}
    phases = {
        "first_byte": Target(base_s=0.5, per_unit={"input_tokens": 250e-6}),
        "between": Target(base_s=0.06),
        "total": Target(base_s=0.5, per_unit={"input_tokens": 250e-6, "output_tokens": 0.06}),
    }
    serial = frozenset({"first_byte"})
    deadlines = {
        "first_byte": Target(base_s=60.0, per_unit={"input_tokens": 0.001}),
        "total": Target(base_s=600.0),
    }
    config_type = Config
    model_type = Facts
    samples = SAMPLES
    stand_in = StandIn()

    def endpoints(self) -> Iterator[Endpoint]:
        """Chat, the older completions, and the APIs that become a chat."""
        yield Endpoint(
            path=CHAT,
            shape=understood(self.chat),
            surfaces=("openai", "mistral"),
            at_most=self.config.body_bytes,
            kind="stream",
            summary="generate text",
            operation="chat",
        )
        yield Endpoint(
            path=COMPLETIONS,
            shape=self.completions,
            at_most=self.config.body_bytes,
            kind="stream",
            summary="generate text",
            operation="text_completion",
        )
        for words in (Responses(), Messages(), Cohere()):
            yield from endpoints(words, self.chat, self.tokens, at_most=self.config.body_bytes)

    def chat(self, request: Request) -> Generator[Need, Json, Plan]:
        """One call; the prompt is counted first where somebody can count it exactly."""
        chat = self._read(request)
        return (yield from self._plan(request, chat, CHAT))

    def tokens(self, request: Request) -> Generator[Need, Json, int]:
        """The prompt's tokens: as exactly as anybody can say, else by estimate."""
        chat = self._read(request)
        prompt = yield from counted(request, chat, facts_of(request, Facts), asked=True)
        return prompt.tokens

    def _read(self, request: Request) -> Chat:
        chat = asked_chat(request)
        no_images(chat, request)
        return chat if facts_of(request, Facts).tools else no_tools(chat)

    def completions(self, request: Request) -> Generator[Need, Json, Plan]:
        """One call with a plain prompt."""
        return (yield from self._plan(request, read_completion(request.fields()), COMPLETIONS))

    def _plan(self, request: Request, chat: Chat, path: str) -> Generator[Need, Json, Plan]:
        facts = facts_of(request, Facts)
        prompt = yield from counted(request, chat, facts)
        check(chat, prompt, facts.context, path)
        output = chat.output_tokens(prompt.tokens, facts.context, self.config.output_tokens)
        call = Call(
            path=path,
            body=chat.body(request),
            size=Units(input_tokens=prompt.tokens, output_tokens=output),
            reply="sse" if chat.stream else "whole",
            affinity=chat.affinity,
            raw=request.raw,
            isolation=request.isolation if self.config.isolate_caches else "",
        )
        style = Style(
            alias=self.config.reasoning_alias,
            legacy=chat.legacy,
            raw=request.raw,
            ignored=chat.ignored,
        )
        if not facts.n and chat.n > chat.prompts:
            return fan(call, chat, prompt, style)
        relay = ChatRelay(
            stream=chat.stream,
            include_usage=chat.include_usage,
            prompt=prompt.tokens,
            least=prompt.least,
            echoed=chat.text if chat.echo else None,
            style=style,
        )
        return Plan(calls=(call,), relay=relay)

    def count(self, call: Call, event: Event) -> Usage:
        """What a chat or a completion did cost; counting a prompt costs nothing."""
        if call.path == TOKENIZE:
            return Usage(Units(), exact=True, by="gateway")
        prompt = call.size.get("input_tokens", 0)
        return ChatRelay(stream=False, include_usage=False, prompt=prompt).counted(event)


def fan(call: Call, chat: Chat, prompt: Prompt, style: Style) -> Plan:
    """A call a choice, side by side."""
    if chat.n != chat.each * chat.prompts:
        reason = "the engines of this model make one choice a call; 'best_of' must be 'n'"
        raise Refused("best_of", "unsupported_value", reason)
    relay = FanRelay(
        stream=chat.stream,
        include_usage=chat.include_usage,
        prompt=prompt.tokens,
        each=chat.each,
        least=prompt.least,
        style=style,
    )
    calls = fanned(call, chat.each, prompt.tokens)
    return Plan(calls=calls, relay=relay, width=chat.each)
