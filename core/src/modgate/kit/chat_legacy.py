"""The older `functions` of chat as tools, and the reply in the older words again.

Source: wire.md 2.1, the row `functions/function_call`: deprecated, converted to tools.
"""

from __future__ import annotations

from modgate.plugin import Json, JsonObject

OLD = frozenset(("functions", "function_call"))


def as_tools(values: JsonObject) -> dict[str, Json]:
    """The members of a body that take the place of the older ones, once it was checked."""
    made: dict[str, Json] = {"messages": _messages(values["messages"])}
    if values.get("functions"):
        made["tools"] = [{"type": "function", "function": each} for each in values["functions"]]
        made["parallel_tool_calls"] = False  # the older reply has room for one call
        choice = values.get("function_call")
        if isinstance(choice, dict):
            made["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        elif choice is not None:
            made["tool_choice"] = choice
    return made


def _messages(messages: list[JsonObject]) -> list[JsonObject]:
    """A call gets an id of its place; a function's answer that of the last call of its name."""
    made: list[JsonObject] = []
    last: dict[str, str] = {}
    for index, message in enumerate(messages):
        function = message.get("function_call")
        if message["role"] == "function":
            known = last.get(message["name"], f"call_{index}")
            content = message.get("content")
            made.append({"role": "tool", "tool_call_id": known, "content": content})
        elif message["role"] == "assistant" and function is not None:
            made_id = last[function["name"]] = f"call_{index}"
            call = {"id": made_id, "type": "function", "function": function}
            rest = {name: value for name, value in message.items() if name != "function_call"}
            made.append({**rest, "tool_calls": [call]})
        else:
            made.append(message)
    return made


def as_functions(value: JsonObject) -> None:
    """Put the older words into a reply or a chunk: its first call, and how it finished."""
    for choice in value.get("choices") or ():
        if not isinstance(choice, dict):
            continue
        for name in ("message", "delta"):
            if isinstance(said := choice.get(name), dict):
                _older(said)
        if choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "function_call"


def _older(said: JsonObject) -> None:
    calls = said.pop("tool_calls", None)
    if not isinstance(calls, list):
        return
    for call in calls:
        first = isinstance(call, dict) and call.get("index", 0) == 0
        if first and isinstance(call.get("function"), dict):
            said["function_call"] = call["function"]
            return
