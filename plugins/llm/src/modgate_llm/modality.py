"""The llm modality: endpoints, units, and how a chat becomes one call."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from modgate.kit.chat import Chat, context_exceeded, no_images, read_chat, read_completion
from modgate.kit.chat_relay import ChatRelay
from modgate.kit.tokens import count
from modgate.plugin import (
    Ask,
    Body,
    Call,
    Endpoint,
    Event,
    GatewayError,
    Json,
    Modality,
    Need,
    Plan,
    Request,
    Target,
    Unit,
    Units,
    Unsupported,
    Usage,
    Work,
)
from modgate_llm.config import Config, Facts
from modgate_llm.samples import SAMPLES

CHAT, COMPLETIONS, TOKENIZE = "/v1/chat/completions", "/v1/completions", "/tokenize"
TEMPLATE_TOKENS = 3
AFFINITY_BYTES = 1024


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
    deadlines = {
        "first_byte": Target(base_s=60.0, per_unit={"input_tokens": 0.001}),
        "total": Target(base_s=600.0),
    }
    config_type = Config
    model_type = Facts
    samples = SAMPLES

    def endpoints(self) -> Iterator[Endpoint]:
        """Chat and the older completions."""
        for path, shape in ((CHAT, self.chat), (COMPLETIONS, self.completions)):
            yield Endpoint(
                path=path,
                shape=shape,
                at_most=self.config.body_bytes,
                kind="stream",
                summary="generate text",
                operation="chat" if path == CHAT else "text_completion",
            )

    def chat(self, request: Request) -> Generator[Need, Json, Plan]:
        """One call; the prompt is counted first where somebody can count it exactly."""
        chat = read_chat(request.fields())
        no_images(chat, request)
        return (yield from self._plan(request, chat, CHAT))

    def completions(self, request: Request) -> Generator[Need, Json, Plan]:
        """One call with a plain prompt."""
        return (yield from self._plan(request, read_completion(request.fields()), COMPLETIONS))

    def _plan(self, request: Request, chat: Chat, path: str) -> Generator[Need, Json, Plan]:
        facts = request.model.facts
        context = facts.context if isinstance(facts, Facts) else None
        exact = yield from self._exact(request, chat)
        prompt = exact if exact is not None else chat.estimated_tokens
        if exact is not None and context is not None:
            self._check(chat, exact, context, path)
        size = Units(input_tokens=prompt, output_tokens=self._output(chat, prompt, context))
        call = Call(
            path=path,
            body=chat.body(request),
            size=size,
            reply="sse" if chat.stream else "whole",
            affinity="\n".join(chat.text).encode()[:AFFINITY_BYTES],
        )
        relay = ChatRelay(stream=chat.stream, include_usage=chat.include_usage, prompt=prompt)
        return Plan(calls=(call,), relay=relay)

    def _exact(self, request: Request, chat: Chat) -> Generator[Need, Json, int | None]:
        """Prompt tokens as the model's own tokenizer counts them; None when nobody can."""
        facts = request.model.facts
        tokenizer = facts.tokenizer if isinstance(facts, Facts) else None
        if tokenizer is None:
            return None
        text = "\n".join(chat.text)
        template = TEMPLATE_TOKENS + 4 * chat.messages if chat.messages else 0
        if tokenizer == "engine":
            try:
                [event] = yield Ask([Call(path=TOKENIZE, body=self._counted(request, text))])
                exact: int = event.fields().integer("count", at_least=0)
                return exact
            except (Unsupported, GatewayError):
                return None
        counted: int | None = yield Work(count, tokenizer, text, field="messages")
        return None if counted is None else counted + template

    def _counted(self, request: Request, text: str) -> Body:
        """The body of the side call: the messages themselves, so that the template counts too."""
        members = request.body.members()
        if "messages" in members:
            return Body("json", members={"messages": members["messages"]})
        return Body.of(prompt=text)

    def _check(self, chat: Chat, prompt: int, context: int, path: str) -> None:
        param = "messages" if path == CHAT else "prompt"
        if prompt > context:
            raise context_exceeded(context, prompt, None, param)
        if chat.max_tokens is not None and prompt + chat.max_tokens > context:
            raise context_exceeded(context, prompt, chat.max_tokens, param)

    def _output(self, chat: Chat, prompt: int, context: int | None) -> int:
        """What may come out: the client's bound, the model's rest, or the operator's guess."""
        if chat.max_tokens is not None:
            most = chat.max_tokens
        elif context is not None:
            most = max(1, context - prompt)
        else:
            most = self.config.output_tokens
        return most * chat.n

    def count(self, call: Call, event: Event) -> Usage:
        """Counting a prompt generates nothing and costs nothing."""
        return Usage(Units(), exact=True, by="gateway")
