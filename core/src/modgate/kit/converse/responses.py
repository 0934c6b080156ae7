"""OpenAI's Responses API: its body as a chat.  Source: wire.md 2.4."""

from __future__ import annotations

from modgate.kit.converse.draft import Draft, image_part, text_part
from modgate.kit.converse.endpoints import Counting
from modgate.kit.converse.responses_reply import ResponsesReply
from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import Fields, JsonObject, Request

ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
TEXTS = ("input_text", "output_text", "text")
DETAILS = {"low": "low", "high": "high", "auto": "auto", "original": "high"}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# What only a server that keeps conversations can do.
STATEFUL = ("previous_response_id", "conversation", "prompt", "context_management")
FUNCTIONS = (
    'only function tools are supported (in Codex\'s config.toml set web_search to "disabled" and '
    "enabled of [agents] to false)"
)
ITEMS_AT_MOST, TOOLS_AT_MOST = 10_000, 512
# Source: OpenAI's API reference, `metadata`: pairs, characters of a key and of a value.
PAIRS_AT_MOST, KEY_AT_MOST, VALUE_AT_MOST = 16, 64, 512


class Responses(Counting):
    """`/v1/responses`."""

    surface = "responses"
    path = "/v1/responses"
    count_path = "/v1/responses/input_tokens"
    own = frozenset(
        (
            *("input", "instructions", "max_output_tokens", "text", "reasoning", "truncation"),
            *("include", "background", "background_options", "max_tool_calls", "moderation"),
            *("access_programs", "client_metadata", "image", *STATEFUL),
        )
    )

    def read(self, fields: Fields, *, counting: bool) -> Draft:
        """The chat of a body; what a gateway without a memory cannot do is refused."""
        _refuse(fields)
        draft = Draft()
        if (told := fields.text("instructions", None, empty=True)) is not None:
            draft.part(draft.turn("system", "instructions"), text_part(told), "instructions")
        _input(fields, draft)
        _tools(fields, draft)
        _choice(fields, draft)
        _text(fields, draft)
        if (
            most := fields.integer("max_output_tokens", None, at_least=1, at_most=TOKENS_AT_MOST)
        ) is not None:
            draft.members["max_tokens"] = most
        reasoning = fields.inner("reasoning", None)
        effort = reasoning.choice("effort", EFFORTS, None) if reasoning is not None else None
        if effort is not None:
            draft.members["reasoning_effort"] = effort
        _metadata(fields)
        return draft

    def reply(self, request: Request) -> ResponsesReply:
        """Who writes the reply."""
        return ResponsesReply(request)

    def counted(self, tokens: int) -> JsonObject:
        """How many tokens a prompt has."""
        return {"object": "response.input_tokens", "input_tokens": tokens}


def _refuse(fields: Fields) -> None:
    for name in STATEFUL:
        if name in fields:
            reason = f"'{name}' is not supported: this server keeps no conversations"
            raise fields.fault(name, "unsupported_value", reason)
    if fields.get("moderation"):
        reason = "'moderation' is not supported: nothing would be moderated"
        raise fields.fault("moderation", "unsupported_value", reason)
    if fields.flag("background", False):
        reason = "'background' is not supported: ask for the reply, or for a stream"
        raise fields.fault("background", "unsupported_value", reason)
    if fields.text("truncation", "disabled") != "disabled":
        reason = "'truncation' may only be 'disabled'"
        raise fields.fault("truncation", "unsupported_value", reason)
    if fields.integer("top_logprobs", 0, at_least=0, at_most=20):
        reason = "'top_logprobs' is not supported here; ask /v1/chat/completions"
        raise fields.fault("top_logprobs", "unsupported_value", reason)


def _metadata(fields: Fields) -> None:
    metadata = fields.inner("metadata", None)
    if metadata is None:
        return
    if len(metadata.values) > PAIRS_AT_MOST:
        reason = f"'metadata' has more than {PAIRS_AT_MOST} pairs"
        raise fields.fault("metadata", "array_above_max_length", reason)
    for key in metadata.values:
        if len(key) > KEY_AT_MOST:
            reason = f"a key of 'metadata' has more than {KEY_AT_MOST} characters"
            raise fields.fault("metadata", "string_above_max_length", reason)
        metadata.text(key, at_most=VALUE_AT_MOST, empty=True)


def _input(fields: Fields, draft: Draft) -> None:
    said = fields.get("input")
    if isinstance(said, str):
        draft.part(draft.turn("user", "input"), text_part(fields.text("input")), "input")
        return
    if said is not None and not isinstance(said, list):
        raise fields.wrong("input", "a string or a list of items")
    for index, item in enumerate(fields.each("input", at_most=ITEMS_AT_MOST)):
        _item(item, draft, f"input[{index}]")


def _item(item: Fields, draft: Draft, at: str) -> None:
    match item.text("type", "message"):
        case "message":
            _message(item, draft, at)
        case "function_call":
            given = item.text("arguments", empty=True)
            turn = draft.turn("assistant", at)
            draft.call(turn, item.text("call_id"), item.text("name"), given)
        case "function_call_output":
            _output(item, draft, at)
        case "reasoning":
            _reasoning(item, draft, at)
        case "item_reference":
            reason = (
                "nothing is kept here that 'item_reference' could name; send the item itself "
                "(with the ai SDK set providerOptions.openai.store to false)"
            )
            raise item.fault("type", "unsupported_value", reason)
        case _:
            reason = (
                "an item is one of: message, function_call, function_call_output, reasoning; "
                "built-in tools are not supported"
            )
            raise item.fault("type", "unsupported_value", reason)


def _message(item: Fields, draft: Draft, at: str) -> None:
    turn = draft.turn(ROLES[item.choice("role", ROLES)], at)
    if isinstance(item.get("content"), str):
        draft.part(turn, text_part(item.text("content", empty=True)), f"{at}.content")
        return
    for index, part in enumerate(item.each("content")):
        draft.part(turn, _part(part), f"{at}.content[{index}]")


def _part(part: Fields) -> JsonObject:
    kind = part.text("type")
    if kind in TEXTS:
        return text_part(part.text("text", empty=True))
    if kind == "refusal":
        return text_part(part.text("refusal", empty=True))
    if kind == "input_image":
        return _image(part)
    if kind == "input_file":
        return _file(part)
    reason = "a part is one of: input_text, output_text, refusal, input_image, input_file"
    raise part.fault("type", "unsupported_value", reason)


def _image(part: Fields) -> JsonObject:
    if "file_id" in part:
        raise _no_files(part, "file_id")
    return image_part(part.text("image_url"), DETAILS[part.choice("detail", DETAILS, "auto")])


def _file(part: Fields) -> JsonObject:
    for name in ("file_id", "file_url"):
        if name in part:
            raise _no_files(part, name)
    file = {"file_data": part.text("file_data"), "filename": part.text("filename", None)}
    return {"type": "file", "file": {name: value for name, value in file.items() if value}}


def _no_files(part: Fields, name: str) -> Exception:
    reason = f"files are not kept here, so '{name}' is not supported; send the file itself"
    return part.fault(name, "unsupported_value", reason)


def _output(item: Fields, draft: Draft, at: str) -> None:
    call_id, output = item.text("call_id"), item.get("output")
    if not draft.called(call_id):
        reason = "no tool call found for this function call output: no item before it has its id"
        raise item.fault("call_id", "invalid_value", reason)
    if isinstance(output, str):
        draft.answered(call_id, [(text_part(output), at)], at)
        return
    parts = [
        (_part(part), f"{at}.output[{index}]")
        for index, part in enumerate(item.each("output", empty=True))
    ]
    draft.answered(call_id, parts, at)


def _reasoning(item: Fields, draft: Draft, at: str) -> None:
    """Thoughts in clear go back to the engine; a summary or a sealed text does not."""
    if "content" not in item:
        return
    for part in item.each("content", empty=True):
        if part.text("type") == "reasoning_text":
            draft.turn("assistant", at).thoughts.append(part.text("text", empty=True))


def _tools(fields: Fields, draft: Draft) -> None:
    if "tools" not in fields:
        return
    for index, tool in enumerate(fields.each("tools", at_most=TOOLS_AT_MOST, empty=True)):
        if tool.text("type") != "function":
            raise tool.fault("type", "unsupported_value", FUNCTIONS)
        parameters = tool.inner("parameters", None)
        made: JsonObject = {
            "name": tool.text("name"),
            "description": tool.text("description", None, empty=True),
            "parameters": None if parameters is None else parameters.values,
            "strict": tool.flag("strict", None),
        }
        draft.function(made, f"tools[{index}]", "parameters")


def _choice(fields: Fields, draft: Draft) -> None:
    parallel = fields.flag("parallel_tool_calls", None)
    if parallel is not None:
        draft.members["parallel_tool_calls"] = parallel
    choice = fields.get("tool_choice")
    if choice is None:
        return
    if isinstance(choice, str):
        draft.members["tool_choice"] = choice
        return
    named = fields.inner("tool_choice")
    if named.text("type") != "function":
        reason = "'tool_choice' names a function; built-in tools and lists are not supported"
        raise fields.fault("tool_choice", "unsupported_value", reason)
    function = {"name": named.text("name")}
    draft.members["tool_choice"] = {"type": "function", "function": function}


def _text(fields: Fields, draft: Draft) -> None:
    """The form that the answer must have, and how long it should be."""
    text = fields.inner("text", None)
    if text is None:
        return
    if (verbosity := text.text("verbosity", None)) is not None:
        draft.members["verbosity"] = verbosity
    wanted = text.inner("format", None)
    kind = wanted.choice("type", ("text", "json_object", "json_schema")) if wanted else "text"
    if wanted is None or kind == "text":
        return
    if kind == "json_object":
        draft.members["response_format"] = {"type": kind}
        return
    schema: JsonObject = {
        "name": wanted.text("name"),
        "schema": wanted.inner("schema").values,
        "description": wanted.text("description", None, empty=True),
        "strict": wanted.flag("strict", None),
    }
    known = {name: value for name, value in schema.items() if value is not None}
    draft.form(known, "text.format.schema")
