"""How many tokens a prompt has, and whether it fits, before an engine is asked."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from modgate.kit.chat import MESSAGE_TOKENS, TEMPLATE_TOKENS, Chat, context_exceeded
from modgate.kit.tokens import count_all, count_by_file
from modgate.plugin import (
    Ask,
    Body,
    Call,
    GatewayError,
    Json,
    Need,
    Request,
    Unsupported,
    Work,
)
from modgate_llm.config import Facts, TokenizerFile

CHAT, TOKENIZE = "/v1/chat/completions", "/tokenize"
INLINE_BYTES = 2048  # of text that is not worth a trip to a decoder process, if it surely fits


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt's tokens: `exact`, or an estimate; `least`: what it has without any template."""

    tokens: int
    least: int = 0
    exact: bool = False


def counted(
    request: Request, chat: Chat, facts: Facts, *, asked: bool = False
) -> Generator[Need, Json, Prompt]:
    """The prompt by the model's own tokenizer where somebody has it, else by estimate.

    A short one that fits however many tokens its bytes make is not worth the question, unless it is
    the client that `asked`; then an engine is asked also where no fact says that it can count.
    """
    guess = Prompt(tokens=chat.estimated_tokens, least=chat.ids)
    tokenizer = facts.tokenizer or ("engine" if asked else None)
    if tokenizer is None or (_surely_fits(chat, facts) and not asked):
        return guess
    if tokenizer == "engine":
        exact = yield from _by_engine(request, chat)
        return guess if exact is None else Prompt(tokens=exact, least=exact, exact=True)
    message, once = MESSAGE_TOKENS, TEMPLATE_TOKENS
    work = Work(count_all, tokenizer, list(chat.text), field="messages")
    if isinstance(tokenizer, TokenizerFile):
        message, once = tokenizer.message_tokens, tokenizer.template_tokens
        work = Work(count_by_file, str(tokenizer.file), list(chat.text), field="messages")
    try:
        text: int | None = yield work
    except GatewayError:  # no process was free, or the text was too much for one
        text = None
    if text is None:
        return guess
    least = text + chat.ids
    template = once + message * chat.messages if chat.messages else 0
    return Prompt(tokens=least + template, least=least, exact=True)


def _surely_fits(chat: Chat, facts: Facts) -> bool:
    size = chat.text_bytes
    if size > INLINE_BYTES and facts.tokenizer != "engine":
        return False
    if facts.context is None or chat.tool_bytes:
        return facts.context is None
    most = size + chat.ids + TEMPLATE_TOKENS + (MESSAGE_TOKENS + 4) * chat.messages
    return most + (chat.max_tokens or 0) <= facts.context


def _by_engine(request: Request, chat: Chat) -> Generator[Need, Json, int | None]:
    """The engine's own count, with the template; None when it cannot say."""
    if chat.ids:
        return None
    try:
        [event] = yield Ask([Call(path=TOKENIZE, body=_question(request, chat))])
        count: int = event.fields().integer("count", at_least=0)
    except (Unsupported, GatewayError):
        return None
    return count


def _question(request: Request, chat: Chat) -> Body:
    """The side call's body: messages and tools as the engine will read them, or plain text."""
    if not chat.messages:
        return Body.of(prompt="\n".join(chat.text))
    members = chat.body(request).members()
    return Body("json", members={n: members[n] for n in ("messages", "tools") if n in members})


def check(chat: Chat, prompt: Prompt, context: int | None, path: str) -> None:
    """Refuse what cannot fit; of an estimate, or of several prompts, the engine will say."""
    if not prompt.exact or context is None or chat.prompts > 1:
        return
    param = "messages" if path == CHAT else "prompt"
    if prompt.tokens > context:
        raise context_exceeded(context, prompt.tokens, None, param)
    if chat.max_tokens is not None and prompt.tokens + chat.max_tokens > context:
        raise context_exceeded(context, prompt.tokens, chat.max_tokens, param)
