"""Cohere's chat, `POST /v2/chat`: its body as a chat.

Source: cohere 7.3, `ClientV2.chat` and the types of its messages, tools and formats; its API
reference for bounds and defaults.
"""

from __future__ import annotations

from collections.abc import Iterator

from modgate.kit.converse.cohere_reply import CohereReply
from modgate.kit.converse.draft import Draft, Turn, image_part, text_part, written
from modgate.kit.converse.endpoints import Words
from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import Fields, JsonObject, Request

# The parts that the content of each role may have.
PARTS = {
    "system": ("text",),
    "user": ("text", "image_url"),
    "assistant": ("text", "thinking"),
    "tool": ("text", "document"),
}
DETAILS = ("auto", "low", "high")
CHOICES = {"REQUIRED": "required", "NONE": "none"}
# Of these the first ones are what happens here anyway: nothing is put into a prompt, none is cited.
SAFETY = ("OFF", "CONTEXTUAL", "STRICT")
CITING = ("OFF", "DISABLED", "ENABLED", "FAST", "ACCURATE")
MESSAGES_AT_MOST, TOOLS_AT_MOST, CALLS_AT_MOST, STOPS_AT_MOST = 10_000, 512, 512, 5
K_AT_MOST = 500


class Cohere(Words):
    """`/v2/chat`."""

    surface = "cohere"
    path = "/v2/chat"
    own = frozenset(
        (
            *("p", "k", "stop_sequences", "thinking", "strict_tools"),
            *("documents", "safety_mode", "citation_options", "priority"),
        )
    )

    def read(self, fields: Fields, *, counting: bool) -> Draft:
        """The chat of a body; what no engine can be told is refused."""
        del counting
        _refuse(fields)
        draft = Draft()
        for index, message in enumerate(fields.each("messages", at_most=MESSAGES_AT_MOST)):
            _message(message, draft, f"messages[{index}]")
        _tools(fields, draft)
        _format(fields, draft)
        _sampling(fields, draft)
        draft.stops(fields, at_most=STOPS_AT_MOST)
        return draft

    def reply(self, request: Request) -> CohereReply:
        """Who writes the reply."""
        return CohereReply(request)


def _refuse(fields: Fields) -> None:
    if fields.get("documents"):
        reason = "'documents' is not supported, for nothing is cited here; put them into a message"
        raise fields.fault("documents", "unsupported_value", reason)
    if fields.flag("logprobs", False):  # its reply has the ids of tokens, which a chat's has not
        reason = "'logprobs' is not supported here; ask /v1/chat/completions"
        raise fields.fault("logprobs", "unsupported_value", reason)
    if fields.choice("safety_mode", SAFETY, None) == "STRICT":
        reason = "'safety_mode' STRICT is not supported: write the rules into a system message"
        raise fields.fault("safety_mode", "unsupported_value", reason)
    citing = fields.inner("citation_options", None)
    if citing is not None and citing.choice("mode", CITING, None) in ("FAST", "ACCURATE"):
        reason = "'citation_options.mode' asks for citations, and nothing is cited here"
        raise citing.fault("mode", "unsupported_value", reason)


def _message(message: Fields, draft: Draft, at: str) -> None:
    role = message.choice("role", PARTS)
    parts = _parts(message, role, draft, at)
    if role == "tool":
        _answer(message, draft, [*parts], at)
        return
    turn = draft.turn(role, at)
    if role == "assistant" and (plan := message.text("tool_plan", "", empty=True)):
        draft.part(turn, text_part(plan), f"{at}.tool_plan")
    for part, place in parts:
        if part["type"] == "thinking":
            turn.thoughts.append(part["thinking"])
        else:
            draft.part(turn, part, place)
    if role == "assistant" and "tool_calls" in message:
        _calls(message, draft, turn)
    if not (turn.parts or turn.calls or any(turn.thoughts)):
        reason = "'content' is required, or 'tool_calls' of an assistant"
        raise message.fault("content", "missing_required_parameter", reason)


def _parts(message: Fields, role: str, draft: Draft, at: str) -> Iterator[tuple[JsonObject, str]]:
    """The parts of a content, and where each stands; thoughts as they came."""
    content = message.get("content")
    if isinstance(content, str):
        yield text_part(content), f"{at}.content"
        return
    if content is None and role == "assistant":
        return
    for index, part in enumerate(message.each("content", empty=role == "assistant")):
        place = f"{at}.content[{index}]"
        match part.choice("type", PARTS[role]):
            case "text":
                yield text_part(part.text("text", empty=True)), place
            case "thinking":
                yield {"type": "thinking", "thinking": part.text("thinking", empty=True)}, place
            case "document":
                yield _document(part.inner("document"), draft, f"{place}.document"), place
            case _:
                image = part.inner("image_url")
                yield image_part(image.text("url"), image.choice("detail", DETAILS, None)), place


def _document(document: Fields, draft: Draft, at: str) -> JsonObject:
    """What a tool found, as its JSON; a text, which Cohere's examples send, as it is."""
    if isinstance(document.get("data"), str):
        return text_part(document.text("data", empty=True))
    part = text_part(written(document, "data", at))
    draft.exact(part, "text", f"{at}.data")
    return part


def _calls(message: Fields, draft: Draft, turn: Turn) -> None:
    for call in message.each("tool_calls", at_most=CALLS_AT_MOST, empty=True):
        call.choice("type", ("function",), None)
        function = call.inner("function")
        given = function.text("arguments", "", empty=True)
        draft.call(turn, call.text("id"), function.text("name"), given)


def _answer(message: Fields, draft: Draft, parts: list[tuple[JsonObject, str]], at: str) -> None:
    call_id = message.text("tool_call_id")
    if not draft.called(call_id):
        reason = "no tool call before this message has its 'tool_call_id'"
        raise message.fault("tool_call_id", "invalid_value", reason)
    draft.answered(call_id, parts, at)


def _tools(fields: Fields, draft: Draft) -> None:
    strict = fields.flag("strict_tools", None)
    if "tools" in fields:
        for index, tool in enumerate(fields.each("tools", at_most=TOOLS_AT_MOST, empty=True)):
            tool.choice("type", ("function",), None)
            function = tool.inner("function")
            parameters = function.inner("parameters", None)
            made: JsonObject = {
                "name": function.text("name"),
                "description": function.text("description", None, empty=True),
                "parameters": None if parameters is None else parameters.values,
                "strict": strict,
            }
            draft.function(made, f"tools[{index}]", "function.parameters")
    if (choice := fields.choice("tool_choice", CHOICES, None)) is not None:
        draft.members["tool_choice"] = CHOICES[choice]


def _format(fields: Fields, draft: Draft) -> None:
    """The JSON that the answer must be; langchain says `schema` for `json_schema`, as version 1."""
    wanted = fields.inner("response_format", None)
    if wanted is None or wanted.choice("type", ("text", "json_object")) == "text":
        return
    name = "json_schema" if "json_schema" in wanted else "schema"
    if name in wanted:
        schema = {"name": "output", "schema": wanted.inner(name).values, "strict": True}
        draft.form(schema, f"response_format.{name}")
    else:
        draft.members["response_format"] = {"type": "json_object"}


def _sampling(fields: Fields, draft: Draft) -> None:
    most = fields.integer("max_tokens", None, at_least=1, at_most=TOKENS_AT_MOST)
    if most is not None:
        draft.members["max_tokens"] = most
    if (p := fields.number("p", None, at_least=0, at_most=1)) is not None:
        draft.members["top_p"] = p
    if k := fields.integer("k", 0, at_least=0, at_most=K_AT_MOST):  # 0 is without a bound
        draft.members["top_k"] = k
    thinking = fields.inner("thinking", None)
    if thinking is None:
        return
    if "token_budget" in thinking:
        reason = "'thinking.token_budget' is not supported; 'max_tokens' bounds the whole reply"
        raise thinking.fault("token_budget", "unsupported_value", reason)
    if thinking.choice("type", ("enabled", "disabled")) == "disabled":
        draft.members["reasoning_effort"] = "none"
