"""Decoding: the text of a configuration as types, and every mistake with its file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import BaseModel, ValidationError

from modgate.config import lines as at
from modgate.config.guess import did_you_mean
from modgate.config.schema import File
from modgate.config.source import Source
from modgate.problems import ConfigError, Problem

ROUNDS = 16  # of leaving out what is wrong; what is left out may be needed elsewhere
KINDS = {  # what pydantic calls by the names of its own world
    "missing": "is required",
    "tuple_type": 'is a list, such as ["a", "b"]',
    "dict_type": "is a table",
    "model_type": "is a table",
    "string_type": "is a text",
    "bool_type": "is true or false",
    "bool_parsing": "is true or false",
    "int_type": "is a whole number",
    "int_parsing": "is a whole number",
}


def decode(source: Source) -> File:
    """The file as its types; ConfigError with every mistake."""
    problems = list(source.problems)
    try:
        decoded = File.model_validate(source.values)
    except ValidationError as error:
        problems += problems_of(error, source.problem, File, ())
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return decoded


def salvaged(source: Source) -> tuple[File, Source, list[Problem]]:
    """What decodes of a file, its source without the rest, and every mistake.

    So that what is right is linked, and mistakes of that phase are told with the others.
    ConfigError when nothing of the file can be gone on with.
    """
    problems, left = list(source.problems), source
    for turn in range(ROUNDS):
        try:
            decoded = File.model_validate(left.values)
        except ValidationError as error:
            if turn == 0:  # later ones follow from what was left out
                problems += problems_of(error, source.problem, File, ())
            left = left.without(each["loc"] for each in error.errors(include_url=False))
        else:
            return decoded, left, problems
    raise ConfigError(problems)


def problems_of(
    error: ValidationError,
    problem: Callable[[at.Path, str], Problem],
    kind: type[BaseModel],
    front: at.Path,
    also: Iterable[str] = (),
) -> list[Problem]:
    """pydantic's complaints in our words, each at its place, with a guess at what was meant.

    `also`: keys that stand beside those of `kind`.
    """
    found = []
    for each in error.errors(include_url=False, include_context=True, include_input=False):
        path = (*front, *each["loc"])
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            known = [*_known(kind, each["loc"][:-1]), *(also if len(each["loc"]) == 1 else ())]
            message = f"unknown key{did_you_mean(str(path[-1]), known)}"
        else:
            message = KINDS.get(each["type"], message)
        found.append(problem(path, message))
    return found


def _known(kind: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that a section of this path has."""
    here: type[BaseModel] | None = kind
    for part in path:
        if here is None:
            return []
        if isinstance(part, int) or part not in here.model_fields:
            continue
        here = _inner(here.model_fields[part].annotation)
    return list(here.model_fields) if here is not None else []


def _inner(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for each in getattr(annotation, "__args__", ()):
        if (found := _inner(each)) is not None:
            return found
    return None
