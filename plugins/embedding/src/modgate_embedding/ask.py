"""Reading the bodies of openai, voyage and mistral, and what goes on to the engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from modgate.kit.tokens import estimate
from modgate.plugin import Body, Fields, GatewayError, Json, Refused, Request
from modgate_embedding.config import NATIVE, Config, Facts

# Read here, or spelled otherwise below; everything else is passed on as the client wrote it.
OURS = ("encoding_format", "dimensions", "output_dimension", "output_dtype", "input_type")
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
Inputs = Sequence[str] | Sequence[Sequence[int]]
_PLACE = re.compile(r"\$((?:\[\d+\])*)`?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An embedding request.

    `ids`: the inputs are token numbers.  `base64`: the client wants packed floats.  `length`: the
    vectors that the engine must answer with, where that is known; `cut`: those that the client
    gets, where the gateway shortens them.  `rest`: the body without its input.
    """

    inputs: Inputs
    ids: bool
    base64: bool
    length: int | None
    cut: int | None
    prefix: str
    rest: Body

    def weight(self, index: int) -> int:
        """Estimated tokens of one input; a list of token numbers is counted."""
        item = self.inputs[index]
        return estimate(item) if isinstance(item, str) else len(item)


def read(request: Request, config: Config, facts: Facts) -> Asked:
    """The request's fields, bounded; Refused names the one that is wrong."""
    fields = request.fields()
    inputs, ids = _inputs(fields, config)
    _check_type(fields)
    length, cut, told = _dimensions(fields, facts)
    prefix, kept = _prefix(fields, facts)
    _check_ids(inputs, ids, prefix, facts)
    rest = _rest(request.body)
    if told is not None:
        rest = rest.put(dimensions=told)
    if kept is not None:
        rest = rest.put(input_type=kept)
    return Asked(
        inputs=inputs,
        ids=ids,
        base64=fields.choice("encoding_format", ("float", "base64"), "float") == "base64",
        length=length,
        cut=cut,
        prefix=prefix,
        rest=rest,
    )


def _inputs(fields: Fields, config: Config) -> tuple[Inputs, bool]:
    """The inputs as a list, and whether they are token numbers."""
    value = fields.get("input")
    if value is None:
        raise fields.fault("input", "missing_required_parameter", "'input' is required")
    if isinstance(value, str):
        return [_text(fields, "input", value, config)], False
    if not isinstance(value, list):
        raise fields.wrong("input", "a string, a list of strings, or lists of token numbers")
    if value and _is_number(value[0]):
        return [_converted(fields, value, list[TokenId], "token numbers")], True
    fields.items("input", at_most=config.max_inputs)
    if isinstance(value[0], list):
        arrays = _converted(fields, value, list[list[TokenId]], "lists of token numbers")
        for index, array in enumerate(arrays):
            if not array:
                raise _empty(fields, f"input[{index}]")
        return arrays, True
    texts = _converted(fields, value, list[str], "strings, or lists of token numbers")
    return [_text(fields, f"input[{i}]", text, config) for i, text in enumerate(texts)], False


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _converted(fields: Fields, value: Json, kind: Json, wanted: str) -> Json:
    """The value as `kind`, checked in one pass; 16 MiB of numbers must not hold up the loop."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        where = "input" + (place.group(1) if place else "")
        raise fields.fault(where, "invalid_type", f"'input' must hold {wanted}") from None


def _text(fields: Fields, name: str, text: str, config: Config) -> str:
    if not text:
        raise _empty(fields, name)
    if len(text) > config.max_characters:
        reason = f"'{name}' has more than {config.max_characters} characters"
        raise fields.fault(name, "string_above_max_length", reason)
    return text


def _empty(fields: Fields, name: str) -> GatewayError:
    return fields.fault(name, "invalid_value", f"'{name}' must not be empty")


def _check_type(fields: Fields) -> None:
    dtype = fields.text("output_dtype", "float")
    if dtype != "float":
        reason = "'output_dtype' must be float; this gateway does not quantise vectors"
        raise fields.fault("output_dtype", "invalid_value", reason)


def _dimensions(fields: Fields, facts: Facts) -> tuple[int | None, int | None, int | None]:
    """The engine's length where known, where to cut, and what the engine is told.

    Source: wire.md 6.1.  A model whose length is unknown is the engine's to judge.
    """
    asked = fields.integer("dimensions", None, at_least=1)
    other = fields.integer("output_dimension", None, at_least=1)
    name = "dimensions" if asked is not None else "output_dimension"
    if asked is not None and other is not None and asked != other:
        reason = "'dimensions' and 'output_dimension' differ; send one of them"
        raise fields.fault("output_dimension", "invalid_value", reason)
    wanted = asked if asked is not None else other
    own = facts.dimensions
    if wanted is None or wanted == own:
        return own, None, None
    if own is None:
        return wanted, None, wanted
    if wanted > own:
        reason = f"'{name}' must be at most {own}, the length of this model's vectors"
        raise fields.fault(name, "integer_above_max_value", reason)
    if not facts.matryoshka:
        reason = f"this model's vectors have {own} dimensions and cannot be shortened"
        raise fields.fault(name, "invalid_value", reason)
    return own, wanted, None


def _prefix(fields: Fields, facts: Facts) -> tuple[str, str | None]:
    """The text to put in front, or the input type that is passed on.

    A model without prefixes may sit behind an engine that knows input types itself.
    """
    kind = fields.text("input_type", None)
    if kind is None or not facts.prefixes:
        return "", kind
    if kind not in facts.prefixes:
        reason = f"'input_type' must be one of: {', '.join(sorted(facts.prefixes))}"
        raise fields.fault("input_type", "invalid_value", reason)
    return facts.prefixes[kind], None


def _check_ids(inputs: Inputs, ids: bool, prefix: str, facts: Facts) -> None:
    if not ids:
        return
    if facts.token_ids is None:
        reason = (
            "this model takes text, not token numbers, which mean something else in its own "
            "vocabulary; with langchain set check_embedding_ctx_length=False"
        )
        raise Refused("input", "unsupported_input", reason)
    if facts.token_ids != NATIVE:
        return
    if prefix:
        reason = "an 'input_type' needs text: a prefix cannot be put in front of token numbers"
        raise Refused("input_type", "unsupported_input", reason)
    longest = max(len(array) for array in inputs)
    if facts.max_tokens is not None and longest > facts.max_tokens:
        raise too_long(facts.max_tokens, longest)


def too_long(most: int, given: int | None) -> Refused:
    """The context error that SDKs and langchain match on.  Source: wire.md 1.4."""
    resulted = "a longer input" if given is None else f"{given} tokens"
    reason = (
        f"This model's maximum context length is {most} tokens. However, your input resulted in "
        f"{resulted}. Please reduce the length of the input."
    )
    return Refused("input", "context_length_exceeded", reason)


def _rest(body: Body) -> Body:
    """The client's members that go on: no null, none of ours.

    Source: field.md 24, an engine must not be sent what the client did not say.
    """
    empty = [name for name, value in body.members().items() if value.strip() == b"null"]
    return body.drop("input", *OURS, *empty)
