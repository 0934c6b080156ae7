"""Reading an OpenAI chat (or completions) body: what must be checked, and what it may cost.

Source: wire.md 2.1 (the column M) and 2.2.  Everything else is passed on as the client's own bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from modgate.kit.tokens import estimate
from modgate.plugin import Body, Fields, Json, Refused, Request

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
FORMATS = frozenset({"text", "json_object", "json_schema"})
CHOICES = frozenset({"none", "auto", "required"})
NUMBERS = (
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("frequency_penalty", -2, 2),
    ("presence_penalty", -2, 2),
)
UNSAFE = (
    "chat_template",
    "priority",
    "cache_salt",
    "kv_transfer_params",
    "vllm_xargs",
    "request_id",
    "mm_processor_kwargs",
    "media_io_kwargs",
)
STOPS_AT_MOST, TOOLS_AT_MOST, MESSAGES_AT_MOST, N_AT_MOST = 4, 512, 10_000, 128
MESSAGE_TOKENS = 4  # of the template, per message (wire.md B9)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image part: its place in errors, its url (data or http), and the detail asked for."""

    at: str
    message: int
    part: int
    url: str
    detail: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """What was read of a chat.

    `text` is all its text, for counting; `max_tokens` None = not given.
    """

    stream: bool
    include_usage: bool
    n: int
    max_tokens: int | None
    messages: int
    text: tuple[str, ...]
    images: tuple[Image, ...] = ()
    drop: tuple[str, ...] = field(default_factory=tuple)

    @property
    def estimated_tokens(self) -> int:
        """Prompt tokens without a tokenizer, images not counted."""
        return sum(estimate(text) for text in self.text if text) + MESSAGE_TOKENS * self.messages

    def body(self, request: Request) -> Body:
        """The body as an engine gets it.

        Usage always asked for, what is unsafe or empty left out.
        """
        body = request.body.drop(*self.drop) if self.drop else request.body
        if not self.stream:
            return body
        options = request.fields().get("stream_options")
        return body.put(stream_options={**(options or {}), "include_usage": True})


def read_chat(fields: Fields) -> Chat:
    """Check a chat body; Refused names the field."""
    texts: list[str] = []
    images: list[Image] = []
    count = 0
    for index, message in enumerate(fields.each("messages", at_most=MESSAGES_AT_MOST)):
        count += 1
        texts += _message(message, index, images)
    stream, include_usage, n, max_tokens = _common(fields)
    _logprobs(fields)
    _tools(fields)
    _format(fields)
    return Chat(
        stream=stream,
        include_usage=include_usage,
        n=n,
        max_tokens=max_tokens,
        messages=count,
        text=tuple(texts),
        images=tuple(images),
        drop=_dropped(fields),
    )


def read_completion(fields: Fields) -> Chat:
    """Check a completions body; a prompt of token ids counts one token an id."""
    stream, include_usage, n, max_tokens = _common(fields)
    prompts = list(_prompts(fields))
    fields.integer("best_of", None, at_least=n, at_most=N_AT_MOST)
    fields.integer("logprobs", None, at_least=0, at_most=5)
    return Chat(
        stream=stream,
        include_usage=include_usage,
        n=n * len(prompts),
        max_tokens=16 if max_tokens is None else max_tokens,
        messages=0,
        text=tuple(prompts),
        drop=_dropped(fields),
    )


def _prompts(fields: Fields) -> Iterator[str]:
    prompt: Json = fields.get("prompt")
    if prompt is None:
        raise fields.fault("prompt", "missing_required_parameter", "'prompt' is required")
    many = prompt if isinstance(prompt, list) else [prompt]
    if many and all(type(each) is int for each in many):
        many = [many]
    if not many:
        raise fields.fault("prompt", "invalid_value", "'prompt' must not be empty")
    for each in many:
        if isinstance(each, str):
            yield each
        elif isinstance(each, list) and each and all(type(i) is int and i >= 0 for i in each):
            yield "xxx" * len(each)  # one estimated token for each id
        else:
            raise fields.wrong("prompt", "a string, a list of strings, or token ids")


def _common(fields: Fields) -> tuple[bool, bool, int, int | None]:
    for name, low, high in NUMBERS:
        fields.number(name, None, at_least=low, at_most=high)
    fields.integer("seed", None)
    stream = fields.flag("stream", False)
    options = fields.inner("stream_options", None)
    if options is not None and not stream:
        reason = "'stream_options' is only allowed when 'stream' is true"
        raise fields.fault("stream_options", "invalid_value", reason)
    include = options.flag("include_usage", False) if options is not None else False
    stop = fields.get("stop")
    if isinstance(stop, list):
        fields.items("stop", at_most=STOPS_AT_MOST, empty=True)
    elif stop is not None:
        fields.text("stop", empty=True)
    n = fields.integer("n", 1, at_least=1, at_most=N_AT_MOST)
    old = fields.integer("max_tokens", None, at_least=1)
    new = fields.integer("max_completion_tokens", None, at_least=1)
    return stream, include, n, new if new is not None else old


def _message(message: Fields, index: int, images: list[Image]) -> Iterator[str]:
    role = message.choice("role", ROLES)
    content = message.get("content")
    if role == "tool":
        message.text("tool_call_id")
    if content is None:
        if role != "assistant":
            raise message.fault("content", "missing_required_parameter", "'content' is required")
    elif isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for position, part in enumerate(message.each("content")):
            yield _part(part, index, position, images)
    else:
        raise message.wrong("content", "a string or a list of parts")
    for call in (
        message.each("tool_calls", at_most=TOOLS_AT_MOST, empty=True)
        if ("tool_calls" in message)
        else ()
    ):
        function = call.inner("function", None)
        yield (function.text("arguments", "", empty=True) or "") if function is not None else ""


def _part(part: Fields, message: int, position: int, images: list[Image]) -> str:
    kind = part.text("type")
    if kind == "text":
        return part.text("text", empty=True)
    if kind == "refusal":
        return part.text("refusal", empty=True)
    if kind == "image_url":
        image = part.inner("image_url")
        at = f"messages[{message}].content[{position}].image_url.url"
        url, detail = image.text("url"), image.choice("detail", ("auto", "low", "high"), "auto")
        images.append(Image(at=at, message=message, part=position, url=url, detail=detail))
    return ""


def _logprobs(fields: Fields) -> None:
    asked = fields.flag("logprobs", False)
    if fields.integer("top_logprobs", None, at_least=0, at_most=20) is not None and not asked:
        reason = "'top_logprobs' needs 'logprobs' to be true"
        raise fields.fault("top_logprobs", "invalid_value", reason)


def _tools(fields: Fields) -> None:
    names = (
        {_tool(tool) for tool in fields.each("tools", at_most=TOOLS_AT_MOST, empty=True)}
        if ("tools" in fields)
        else set()
    )
    choice = fields.get("tool_choice")
    if isinstance(choice, str):
        fields.choice("tool_choice", CHOICES)
    elif choice is not None:
        wanted = fields.inner("tool_choice").inner("function").text("name")
        if wanted not in names:
            reason = f"'tool_choice' names '{wanted[:64]}', which is not among the tools"
            raise fields.fault("tool_choice", "invalid_value", reason)
    if choice not in (None, "none", "auto") and not names:
        raise fields.fault("tool_choice", "invalid_value", "'tool_choice' needs 'tools'")


def _tool(tool: Fields) -> str:
    """A tool's name."""
    if tool.text("type") != "function":
        raise tool.fault("type", "unsupported_value", "only function tools are supported")
    function = tool.inner("function")
    name = function.text("name")
    if _TOOL_NAME.fullmatch(name) is None:
        reason = "a function's name has 1 to 64 of a-z, A-Z, 0-9, _ and -"
        raise function.fault("name", "invalid_value", reason)
    return name


def _format(fields: Fields) -> None:
    wanted = fields.inner("response_format", None)
    if wanted is None:
        return
    if wanted.choice("type", FORMATS) == "json_schema":
        if not isinstance(wanted.get("json_schema"), dict):
            reason = "'response_format.json_schema' must be an object"
            raise fields.fault("response_format", "missing_required_parameter", reason)
        wanted.inner("json_schema").text("name")


def _dropped(fields: Fields) -> tuple[str, ...]:
    """Extras that are unsafe between tenants, and an empty `tools`, which some engines refuse."""
    gone = [name for name in UNSAFE if name in fields.values]
    if fields.values.get("tools") == []:
        gone += ["tools", *(["tool_choice"] if "tool_choice" in fields.values else [])]
    return tuple(gone)


def no_images(chat: Chat, request: Request) -> None:
    """Refuse images where the model takes none, and name the models that do."""
    if not chat.images:
        return
    names = ", ".join(request.others("vlm")) or "none"
    reason = f"the model `{request.asked}` takes no images; your models that do: {names}"
    raise Refused(chat.images[0].at.removesuffix(".image_url.url"), "invalid_value", reason)


def context_exceeded(
    context: int, prompt: int, completion: int | None, param: str = "messages"
) -> Refused:
    """The exact error that SDKs and langchain match on (wire.md 1.4)."""
    front = f"This model's maximum context length is {context} tokens. However, "
    if completion is None:
        text = (
            f"{front}your messages resulted in {prompt} tokens. "
            "Please reduce the length of the messages."
        )
    else:
        text = (
            f"{front}you requested {prompt + completion} tokens ({prompt} in the messages, "
            f"{completion} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    return Refused(param, "context_length_exceeded", text)
