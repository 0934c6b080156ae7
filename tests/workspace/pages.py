"""The reference pages that are made from the code: `python tests/workspace/pages.py` writes them.

`test_docs.py` compares what lies in docs/reference with what this makes.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from modgate import errors, hookspecs, plugin
from modgate.api.dialect import Dialect
from modgate.cli import main as cli
from modgate.config.reference import reference
from modgate.host.load import Loaded
from modgate.snapshot.blueprint import blueprint_of
from modgate.testing.transcript import Transcript, transcripts
from modgate.units import EVERYWHERE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
MADE = "Made from the code by `python tests/workspace/pages.py`."

# What a client may be told with a 400 besides the codes of classes; a test keeps this complete.
REFUSALS = {
    "array_above_max_length": "a list has more items than the endpoint or its model takes",
    "audio_too_long": "the recording is longer than `max_audio_s` of the asr plugin",
    "context_length_exceeded": "the prompt, with what may come out, does not fit into the model",
    "dry_run_unsupported": "a dry run of what must ask an engine before it is planned",
    "document_too_large": "the document has more bytes than the plugin takes",
    "fetch_failed": "a file named by URL could not be had",
    "failed_to_download_file": "a file named by URL did not come",
    "failed_to_download_image": "an image named by URL did not come",
    "file_too_large": "a file named by URL has more bytes than may be had",
    "image_too_large": "an image has more pixels than the plugin takes",
    "integer_above_max_value": "a whole number is above what the endpoint takes",
    "integer_below_min_value": "a whole number is below what the endpoint takes",
    "invalid_audio": "the audio cannot be used",
    "invalid_body": "the body's framing is broken: multipart, encoding or size",
    "invalid_document": "the document is neither a PDF nor a known image",
    "invalid_file_format": "what a URL names is no file of a kind that the endpoint takes",
    "invalid_image_format": "the image is of no known format, or cannot be decoded",
    "invalid_image_url": "an image's URL cannot be used or may not be fetched",
    "invalid_json": "the body is not valid JSON; the wire shows `null` for the code",
    "invalid_type": "a field has another type than the endpoint wants",
    "invalid_url": "a URL cannot be used or may not be fetched",
    "invalid_value": "a field's value is none that the endpoint or the engine takes",
    "missing_required_parameter": "a field that the endpoint needs is absent",
    "number_above_max_value": "a number is above what the endpoint takes",
    "number_below_min_value": "a number is below what the endpoint takes",
    "string_above_max_length": "a text is longer than the endpoint takes",
    "thread_unsupported_request": "no conversation is kept here; the anthropic SDK sends all of it",
    "too_many_groups": "sums of usage by these groups are too many lines",
    "too_many_images": "the request carries more images than the plugin takes",
    "too_many_pages": "the document has more pages than the plugin takes",
    "too_much_to_read": "sums of usage over this time take too long to read",
    "undecodable": "reading the input failed, or took more memory or time than it may",
    "unknown_parameter": "a page of core has no such parameter in its query",
    "unsupported_endpoint": "the model exists, but not for this endpoint",
    "unsupported_input": "the model takes no input of this form",
    "unsupported_media_type": "the file is of a kind that the endpoint does not take",
    "unsupported_parameter": "the endpoint knows the field but does not support it",
    "unsupported_value": "the value is known to the wire, but not supported here",
}

STANDINGS = """\
A backend's `family` says which words its engine speaks; `home` is the modality's own wire. What is
said of an engine here is what the transcripts beside the plugins' contracts show, which replay them
byte by byte:

- **supported**: captured from the engine itself, at that version, on that day, by that command;
- **written from source**: from the engine's source or documentation, and never run against it;
- **not proven**: a dialect is there, and no transcript.

A newer version may add keys and events: the contract adds some to every reply of a transcript."""


def pages() -> dict[str, str]:
    """Every page, by its name in docs/reference."""
    loaded = blueprint_of(None).loaded
    return {
        "config.md": reference(),
        "plugins.md": "\n".join(_plugins(loaded)) + "\n",
        "engines.md": "\n".join(_engines(loaded)) + "\n",
        "units.md": "\n".join(_units(loaded)) + "\n",
        "errors.md": "\n".join(_errors()) + "\n",
        "hooks.md": "\n".join(_hooks()) + "\n",
        "commands.md": "\n".join(_commands()) + "\n",
        "api.txt": "\n".join(_api()) + "\n",
    }


def error_classes() -> list[type[errors.GatewayError]]:
    """Every class of the tree, in the order of the file."""
    return [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.GatewayError)
    ]


@cache
def refusal_codes() -> frozenset[str]:
    """The codes that the sources write out where they refuse a request."""
    sources = [
        *(ROOT / "core" / "src").rglob("*.py"),
        *ROOT.glob("plugins/*/src/**/*.py"),
    ]
    places = (path for path in sources if "testing" not in path.parts)
    return frozenset(code for path in places for code in _codes(path))


def _codes(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and len(call.args) >= 3:
                    yield from _codes_of(call, function, tree)


def _codes_of(
    call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module
) -> Iterator[str]:
    """The codes of one refusal: written out, made of an argument, or from a table of codes."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    code = call.args[1]
    if name == "_Codes":
        yield from (str(each.value) for each in call.args if isinstance(each, ast.Constant))
    elif name in ("Refused", "fault") and isinstance(code, ast.Constant):
        yield str(code.value)
    elif name in ("Refused", "fault") and isinstance(code, ast.JoinedStr):
        yield from _filled(code, function, tree)


def _filled(
    text: ast.JoinedStr, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module
) -> Iterator[str]:
    """An f-string with every word that its one argument is given in the file; as it is, if none."""
    [named] = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
    names = [each.arg for each in function.args.args if each.arg != "self"]
    source = ast.unparse(named)
    at = names.index(source) if source in names else len(names)
    given = {
        str(call.args[at].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).rpartition(".")[2] == function.name
        and len(call.args) > at
        and isinstance(call.args[at], ast.Constant)
    }
    for word in given or {ast.unparse(text)}:
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else word for part in text.values
        )


def hooks() -> list[types.FunctionType]:
    """The hook specifications."""
    return [
        value
        for name, value in vars(hookspecs).items()
        if name.startswith("modgate_") and isinstance(value, types.FunctionType)
    ]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before their members."""
    yield from _under("modgate", cli)


def _under(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from _under(f"{name} {each}", inner)


def _plugins(loaded: Loaded) -> Iterator[str]:
    yield from ("# Plugins reference", "", MADE, "")
    yield "The sections and model facts of the first-party plugins. Keys with `-` have no default."
    for name, modality in loaded.modalities.items():
        endpoints = ", ".join(f"`{endpoint.path}`" for endpoint in modality.endpoints())
        yield from ("", f"## {name}", "", f"Endpoints: {endpoints}.", "")
        yield from (f"### `[plugin.{name}]`", "", *_fields(modality.config_type))
        yield from ("", f"### Facts of a `[model.NAME]` of {name}", "")
        yield from _fields(modality.model_type)
        yield from ("", "### Deadlines", "")
        yield f"`[timeouts.{name}]` changes them."
        yield from ("", "| phase | base | per unit |", "|---|---|---|")
        shown = {unit.name: unit for unit in modality.units}
        for phase, target in modality.deadlines.items():
            per = ", ".join(
                f"{seconds * shown[unit].scale:g} s per {shown[unit].public}"
                for unit, seconds in target.per_unit.items()
            )
            yield f"| `{phase}` | {target.base_s:g} s | {per or '-'} |"


def _fields(kind: type[BaseModel]) -> Iterator[str]:
    yield from ("| key | default | meaning |", "|---|---|---|")
    for name, info in kind.model_fields.items():
        default = info.get_default(call_default_factory=True)
        shown = "-" if default is None else f"`{default!r}`"
        yield f"| `{name}` | {'required' if info.is_required() else shown} | {info.description} |"


def _units(loaded: Loaded) -> Iterator[str]:
    yield from ("# Units reference", "", MADE, "")
    yield "Outside (configuration, headers, errors, metrics) a unit has its shown name; the ledger"
    yield "and `modgate usage` count whole numbers under the inside name. A part is inside its"
    yield "whole: do not add the two. A learned unit is known when the reply has ended, so its"
    yield "reserve may be a guess that the end of the request corrects."
    yield from ("", "| inside | shown | meaning | notes |", "|---|---|---|---|")
    for name, modality in loaded.modalities.items():
        for unit in modality.units:
            notes = [f"part of `{name}.{unit.part_of}`"] if unit.part_of else []
            notes += ["learned"] if unit.learned else []
            notes += ["counted by the gateway"] if unit.name in modality.gateway_counts else []
            shown = f"`{name}.{unit.public}`"
            yield f"| `{name}.{unit.name}` | {shown} | {unit.meaning} | {', '.join(notes) or '-'} |"
    yield from ("", "Every modality has these, too:", "", "| unit | meaning |", "|---|---|")
    for unit in EVERYWHERE:
        yield f"| `<modality>.{unit.name}` | {unit.meaning} |"


def _engines(loaded: Loaded) -> Iterator[str]:
    yield from ("# Engines reference", "", MADE, "", *STANDINGS.split("\n"))
    for name in loaded.modalities:
        shown = _shown_by(loaded.owners[name].name)
        rows = [*_rows(shown), *_unproven(name, loaded.dialects, shown)]
        yield from ("", f"## {name}", "")
        if rows:
            yield from (
                "| family | engine | version | standing | shown by |",
                "|---|---|---|---|---|",
            )
        yield from sorted(set(rows)) or ["Any engine that speaks the home wire."]


def _shown_by(plugin: str) -> list[Transcript]:
    return transcripts(ROOT / "plugins" / plugin / "tests" / "transcripts")


def _rows(shown: list[Transcript]) -> Iterator[str]:
    for each in shown:
        standing = "**supported**" if each.provenance == "captured" else "written from source"
        place = f"{each.date}: `{each.command}`" if each.date else each.source
        cells = (f"`{each.family}`", each.engine, each.version or "-", standing, place)
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _unproven(
    name: str, dialects: Mapping[tuple[str, str], type[Dialect]], shown: list[Transcript]
) -> Iterator[str]:
    proven = {"home", *(each.family for each in shown)}
    for modality, family in dialects:
        if modality == name and family not in proven:
            yield f"| `{family}` | - | - | not proven | - |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _errors() -> Iterator[str]:
    yield from ("# Errors reference", "", MADE, "")
    yield "What each surface makes of them is in [errors](../operators/errors.md). Retryable: the"
    yield "same request may succeed later."
    yield from ("", "| class | code | status | retryable | when |", "|---|---|---|---|---|")
    for kind in error_classes():
        if kind is errors.GatewayError or kind is errors.Unavailable or kind is errors.Upstream:
            continue
        code = "one of the list below" if kind is errors.Refused else f"`{kind.code}`"
        meaning = (kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip()
        retryable = "yes" if kind.retryable else "no"
        yield f"| `{kind.__name__}` | {code} | {kind.status} | {retryable} | {meaning} |"
    yield from ("", "## Codes of a refusal (400)", "", "| code | when |", "|---|---|")
    for code, meaning in REFUSALS.items():
        yield f"| `{code}` | {meaning} |"


def _hooks() -> Iterator[str]:
    yield from ("# Hooks reference", "", MADE, "")
    yield f"A plugin is a module named in the entry-point group `{hookspecs.GROUP}`. Its hooks are"
    yield "plain functions marked with `modgate.plugin.hookimpl`, asked once when a snapshot is"
    yield "built; a request never runs one."
    for hook in hooks():
        answer = inspect.signature(hook).return_annotation
        yield from ("", f"## `{hook.__name__}`", "", f"Answers `{' '.join(str(answer).split())}`.")
        yield from ("", inspect.cleandoc(hook.__doc__ or ""))


def _commands() -> Iterator[str]:
    yield from ("# Commands reference", "", MADE)
    for name, command in commands():
        context = click.Context(
            command, info_name=name, terminal_width=88, help_option_names=["-h", "--help"]
        )
        yield from ("", f"## `{name}`", "", "```text", command.get_help(context), "```")


def _api() -> Iterator[str]:
    for name in plugin.__all__:
        yield from _described(name, getattr(plugin, name))


def _described(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in _members(value))
    elif isinstance(value, types.FunctionType):
        yield f"def {name}{_signature(value)}"
    elif typing.get_origin(value) is not None or isinstance(value, types.UnionType):
        yield f"{name} = {_plain(str(value))}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(kind: type[Any]) -> Iterator[str]:
    for name, annotation in vars(kind).get("__annotations__", {}).items():
        if not name.startswith("_"):
            yield f"{name}: {_plain(str(annotation))}"
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        generated = "__dataclass_fields__" in vars(kind) and name == "__init__"
        public = not name.startswith("_") or name == "__init__"
        if isinstance(value, property) and public:
            yield f"{name}: property"
        elif isinstance(function, types.FunctionType) and public and not generated:
            spoken = "async def" if inspect.iscoroutinefunction(function) else "def"
            yield f"{spoken} {name}{_signature(function)}"


def _signature(function: types.FunctionType) -> str:
    return _plain(str(inspect.signature(function)))


def _plain(text: str) -> str:
    """One line, annotations without the quotes that postponed evaluation puts around them."""
    bare = re.sub(r"(: |-> )(['\"])(.*?)\2", r"\1\3", " ".join(text.split()))
    return re.sub(r"\b(?:typing|collections\.abc|modgate(?:\.\w+)*)\.(?=[A-Z])", "", bare)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page, text in pages().items():
        (FOLDER / page).write_text(text)
