"""Reading what a chat may call, and the form that its answer must have.

Source: wire.md 2.1, the rows `tools`, `tool_choice`, `response_format` and `functions`.
"""

from __future__ import annotations

import re

from modgate.plugin import Fields

FORMATS = frozenset({"text", "json_object", "json_schema"})
ANY = "any"  # Mistral's word for `required`
CHOICES = frozenset({"none", "auto", "required", ANY})
TOOLS_AT_MOST = 512
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def read_tools(fields: Fields) -> bool:
    """Check `tools` and `tool_choice`; whether there are tools at all."""
    names: set[str] = set()
    if "tools" in fields:
        names = {_tool(tool) for tool in fields.each("tools", at_most=TOOLS_AT_MOST, empty=True)}
    fields.flag("parallel_tool_calls", None)
    choice = fields.get("tool_choice")
    if isinstance(choice, str):
        fields.choice("tool_choice", CHOICES)
    elif choice is not None:
        _named(fields, names)
    if choice not in (None, "none", "auto") and not names:
        raise fields.fault("tool_choice", "invalid_value", "'tool_choice' needs 'tools'")
    return bool(names)


def forced(fields: Fields) -> str:
    """The member of a checked body that says that a tool must be called, or ""."""
    if fields.get("tool_choice") not in (None, "none", "auto"):
        return "tool_choice"
    return "function_call" if isinstance(fields.get("function_call"), dict) else ""


def _tool(tool: Fields) -> str:
    """A tool's name."""
    if tool.text("type") != "function":
        raise tool.fault("type", "unsupported_value", "only function tools are supported")
    return _function(tool.inner("function"))


def _function(function: Fields) -> str:
    name = function.text("name")
    if _NAME.fullmatch(name) is None:
        reason = "a function's name has 1 to 64 of a-z, A-Z, 0-9, _ and -"
        raise function.fault("name", "invalid_value", reason)
    function.text("description", None, empty=True)
    function.inner("parameters", None)
    function.flag("strict", None)
    return name


def _named(fields: Fields, names: set[str]) -> None:
    choice = fields.inner("tool_choice")
    if choice.text("type", "function") != "function":
        reason = "'tool_choice' names a function; 'allowed_tools' and 'custom' are not supported"
        raise fields.fault("tool_choice", "unsupported_value", reason)
    _among(fields, "tool_choice", choice.inner("function").text("name"), names)


def _among(fields: Fields, field: str, wanted: str, names: set[str]) -> None:
    if wanted not in names:
        raise fields.fault(field, "invalid_value", f"'{field}' names a function that is not given")


def read_functions(fields: Fields) -> bool:
    """Check the older `functions` and `function_call`; whether they are used."""
    if "functions" not in fields and "function_call" not in fields:
        return False
    if "tools" in fields or "tool_choice" in fields:
        reason = "'functions' is the older form of 'tools'; use one of them"
        raise fields.fault("functions", "invalid_value", reason)
    names: set[str] = set()
    if "functions" in fields:
        names = {
            _function(each) for each in fields.each("functions", at_most=TOOLS_AT_MOST, empty=True)
        }
    choice = fields.get("function_call")
    if isinstance(choice, str):
        fields.choice("function_call", ("none", "auto"))
    elif choice is not None:
        _among(fields, "function_call", fields.inner("function_call").text("name"), names)
    return bool(names)


def read_format(fields: Fields) -> None:
    """Check `response_format`."""
    wanted = fields.inner("response_format", None)
    if wanted is None or wanted.choice("type", FORMATS) != "json_schema":
        return
    if not isinstance(wanted.get("json_schema"), dict):
        reason = "'response_format.json_schema' must be an object"
        raise fields.fault("response_format", "missing_required_parameter", reason)
    schema = wanted.inner("json_schema")
    schema.text("name")
    schema.inner("schema", None)
    schema.flag("strict", None)
