"""Anthropic's Messages API: its body as a chat.  Source: wire.md 2.5."""

from __future__ import annotations

from modgate.kit.converse.draft import Draft, image_part, text_part, written
from modgate.kit.converse.endpoints import Counting
from modgate.kit.converse.messages_reply import MessagesReply
from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import Fields, JsonObject, Refused, Request

ROLES = ("user", "assistant", "system")
CHOICES = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
EFFORTS = ("low", "medium", "high", "xhigh", "max")
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
# What only a server that keeps containers, or calls other servers, can do.
STATEFUL = ("container", "mcp_servers", "compaction")
# What is said to whoever hears it, and changes nothing here.
SPARE = (
    *("betas", "billing_policy", "cache_control", "diagnostics", "fallback_credit_token"),
    *("fallbacks", "service_tier", "speed"),
)
MESSAGES_AT_MOST, TOOLS_AT_MOST, STOPS_AT_MOST = 10_000, 512, 1024
THINKING = ("enabled", "disabled", "adaptive")
THINKING_LEAST = 1024  # tokens of a budget (wire.md 2.5)


class Messages(Counting):
    """`/v1/messages`."""

    surface = "anthropic"
    path = "/v1/messages"
    count_path = "/v1/messages/count_tokens"
    own = frozenset(
        (
            *("system", "stop_sequences", "thinking", "output_config", "output_format", "thread"),
            *("context_management", "inference_geo", *STATEFUL, *SPARE),
        )
    )

    def read(self, fields: Fields, *, counting: bool) -> Draft:
        """The chat of a body; `max_tokens` is required unless only tokens are counted."""
        _refuse(fields)
        draft = Draft()
        most = fields.integer("max_tokens", None, at_least=1, at_most=TOKENS_AT_MOST)
        if most is not None:
            draft.members["max_tokens"] = most
        elif not counting:
            raise Refused("max_tokens", "missing_required_parameter", "Field required")
        _system(fields, draft)
        for index, message in enumerate(fields.each("messages", at_most=MESSAGES_AT_MOST)):
            _message(message, draft, f"messages[{index}]")
        _tools(fields, draft)
        _choice(fields, draft)
        _output(fields, draft)
        _thinking(fields, most)
        draft.stops(fields, at_most=STOPS_AT_MOST)
        fields.number("temperature", None, at_least=0, at_most=1)
        return draft

    def reply(self, request: Request) -> MessagesReply:
        """Who writes the reply."""
        return MessagesReply(request)

    def counted(self, tokens: int) -> JsonObject:
        """How many tokens a prompt has."""
        return {"input_tokens": tokens}


def _refuse(fields: Fields) -> None:
    for name in STATEFUL:
        if fields.get(name):
            reason = f"'{name}' is not supported: this server keeps nothing between calls"
            raise fields.fault(name, "unsupported_value", reason)
    if fields.get("inference_geo") not in (None, "global"):
        reason = "'inference_geo' cannot be chosen by a request: the operator says where calls go"
        raise fields.fault("inference_geo", "unsupported_value", reason)
    if fields.get("thread"):  # by this code the SDK sends the whole conversation without it
        reason = "'thread' is not supported: send the full conversation without it"
        raise fields.fault("thread", "thread_unsupported_request", reason)


def _system(fields: Fields, draft: Draft) -> None:
    told = fields.get("system")
    if told is None:
        return
    if isinstance(told, str):
        if told:
            draft.part(draft.turn("system", "system"), text_part(told), "system")
        return
    if not isinstance(told, list):
        raise fields.wrong("system", "a string or a list of blocks")
    blocks = list(fields.each("system", empty=True))
    if blocks:
        turn = draft.turn("system", "system")
        for index, block in enumerate(blocks):
            _only(block, ("text",))
            text = text_part(block.text("text", empty=True))
            draft.part(turn, text, f"system[{index}]")


def _message(message: Fields, draft: Draft, at: str) -> None:
    role = message.choice("role", ROLES)
    if isinstance(message.get("content"), str):
        text = message.text("content", empty=True)
        draft.part(draft.turn(role, at), text_part(text), f"{at}.content")
        return
    blocks = [
        (block, f"{at}.content[{index}]")
        for index, block in enumerate(message.each("content", empty=role == "assistant"))
    ]
    if role == "assistant":
        _assistant(blocks, draft, at)
        return
    said = []
    for block, place in blocks:  # the chat wants answers right behind the calls
        if block.text("type") == "tool_result":
            _result(block, draft, place)
        else:
            said.append((_part(block), place))
    if said:
        turn = draft.turn(role, at)
        for part, place in said:
            draft.part(turn, part, place)


def _assistant(blocks: list[tuple[Fields, str]], draft: Draft, at: str) -> None:
    turn = draft.turn("assistant", at)
    for block, place in blocks:
        match block.text("type"):
            case "text":
                draft.part(turn, text_part(block.text("text", empty=True)), place)
            case "thinking":  # an empty one is sealed in its signature, for another server
                if thought := block.text("thinking", empty=True):
                    turn.thoughts.append(thought)
            case "tool_use":
                given = written(block, "input", place)
                sent = f"{place}.input"
                draft.call(turn, block.text("id"), block.text("name"), given, sent)
            case "redacted_thinking":
                pass  # sealed for another server
            case _:
                _only(block, ("text", "thinking", "redacted_thinking", "tool_use"))
    if not (turn.parts or turn.calls or turn.thoughts):
        draft.part(turn, text_part(""), at)


def _only(block: Fields, kinds: tuple[str, ...]) -> None:
    if block.text("type") not in kinds:
        reason = f"a block is one of: {', '.join(kinds)} here"
        raise block.fault("type", "unsupported_value", reason)


def _part(block: Fields) -> JsonObject:
    match block.text("type"):
        case "text":
            return text_part(block.text("text", empty=True))
        case "image":
            return _image(block.inner("source"))
        case "document":
            return _document(block.inner("source"))
        case _:
            _only(block, ("text", "image", "document", "tool_result"))
            raise AssertionError("the block is of another type")


def _image(source: Fields) -> JsonObject:
    match source.text("type"):
        case "base64":
            kind = source.choice("media_type", IMAGES)
            return image_part(f"data:{kind};base64,{source.text('data')}")
        case "url":
            return image_part(source.text("url"))
        case _:
            reason = "a picture comes as 'base64' or by 'url'; files are not kept here"
            raise source.fault("type", "unsupported_value", reason)


def _document(source: Fields) -> JsonObject:
    if source.text("type") != "text":
        reason = "a document comes as 'text'; for a PDF ask /v1/ocr first"
        raise source.fault("type", "unsupported_value", reason)
    return text_part(source.text("data", empty=True))


def _result(block: Fields, draft: Draft, at: str) -> None:
    call_id, content = block.text("tool_use_id"), block.get("content")
    if not draft.called(call_id):
        reason = (
            "unexpected `tool_use_id` found in `tool_result` blocks: each `tool_result` block "
            "must have a corresponding `tool_use` block in a previous message"
        )
        raise block.fault("tool_use_id", "invalid_value", reason)
    parts = []
    if content is None or isinstance(content, str):
        parts.append((text_part(content or ""), at))
    else:
        for index, inner in enumerate(block.each("content", empty=True)):
            _only(inner, ("text", "image", "document"))
            parts.append((_part(inner), f"{at}.content[{index}]"))
    if block.flag("is_error", False):
        _say_failed(parts, at)
    draft.answered(call_id, parts, at)


def _say_failed(parts: list[tuple[JsonObject, str]], at: str) -> None:
    """A chat has no word for a call that failed, so its text says it.

    Source: mozilla-ai/any-llm pull request 1402; strict engines refuse `is_error` in a chat.
    """
    text = next((part for part, _ in parts if part["type"] == "text"), None)
    if text is None:
        parts.insert(0, (text_part("Error"), at))
    elif not text["text"].lstrip().lower().startswith("error"):
        text["text"] = f"Error: {text['text']}"


def _tools(fields: Fields, draft: Draft) -> None:
    if "tools" not in fields:
        return
    for index, tool in enumerate(fields.each("tools", at_most=TOOLS_AT_MOST, empty=True)):
        if tool.text("type", "custom") != "custom":
            reason = "only tools of your own are supported, not those of the server"
            raise tool.fault("type", "unsupported_value", reason)
        made: JsonObject = {
            "name": tool.text("name"),
            "description": tool.text("description", None, empty=True),
            "parameters": tool.inner("input_schema").values,
            "strict": tool.flag("strict", None),
        }
        draft.function(made, f"tools[{index}]", "input_schema")


def _choice(fields: Fields, draft: Draft) -> None:
    choice = fields.inner("tool_choice", None)
    if choice is None:
        return
    kind = CHOICES[choice.choice("type", CHOICES)]
    if kind == "tool":
        function = {"name": choice.text("name")}
        draft.members["tool_choice"] = {"type": "function", "function": function}
    else:
        draft.members["tool_choice"] = kind
    if choice.flag("disable_parallel_tool_use", False):
        draft.members["parallel_tool_calls"] = False


def _output(fields: Fields, draft: Draft) -> None:
    """The form that the answer must have, and how hard to think about it."""
    config = fields.inner("output_config", None)
    wanted, at = fields.inner("output_format", None), "output_format"
    if config is not None:
        if (form := config.inner("format", None)) is not None:
            wanted, at = form, "output_config.format"
        if (effort := config.choice("effort", EFFORTS, None)) is not None:
            draft.members["reasoning_effort"] = effort
    if wanted is None:
        return
    wanted.choice("type", ("json_schema",))
    schema = {"name": "output", "schema": wanted.inner("schema").values, "strict": True}
    draft.form(schema, f"{at}.schema")


def _thinking(fields: Fields, most: int | None) -> None:
    thinking = fields.inner("thinking", None)
    if thinking is None or thinking.choice("type", THINKING) != "enabled":
        return
    budget = thinking.integer("budget_tokens", at_least=THINKING_LEAST)
    if most is not None and budget >= most:
        reason = "'max_tokens' must be greater than 'thinking.budget_tokens'"
        raise fields.fault("max_tokens", "invalid_value", reason)
