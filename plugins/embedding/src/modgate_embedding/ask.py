"""Reading the bodies of openai, voyage, mistral and jina, and what goes on to the engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from modgate.kit.tokens import estimate
from modgate.plugin import Body, Fields, GatewayError, Json, Refused, Request
from modgate_embedding.config import NATIVE, Config, Facts
from modgate_embedding.formats import BITS, FLOAT, Dtype, Form, check_bits

# Members that are read here, or passed on in other words; others go on as the client wrote them.
OURS = (
    "encoding_format",
    "dimensions",
    "output_dimension",
    "output_dtype",
    "embedding_type",
    "input_type",
    "task",
    "truncate",
)
DTYPES: tuple[Dtype, ...] = ("float", "int8", "uint8", "binary", "ubinary")
# What cohere and jina call a query and a document.
SAME = {
    "search_query": "query",
    "search_document": "document",
    "retrieval.query": "query",
    "retrieval.passage": "document",
}
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
Inputs = Sequence[str] | Sequence[Sequence[int]]
_PLACE = re.compile(r"\$((?:\[\d+\])*)`?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An embedding request, whichever wire it came in.

    `ids`: the inputs are lists of token numbers, and not texts.
    `forms`: in which the reply has each vector.
    `length`: how many numbers the engine's vectors must have; None: nobody knows.
    `cut`: to how many of them the gateway shortens a vector; None: it does not.
    `prefix`: what the model wants in front of each text.
    `whole`: vectors depend on the other inputs, so these are neither split nor sent with those of
    other requests.
    `rest`: the body of each call, without its inputs.
    `texts`: the inputs as the client wrote them, for a reply that repeats them.
    `counts`: the exact tokens of each input; None when the model's tokenizer is not at hand.
    """

    inputs: Inputs
    ids: bool = False
    forms: tuple[Form, ...] = (FLOAT,)
    length: int | None
    cut: int | None
    prefix: str
    whole: bool = False
    rest: Body
    texts: Sequence[str] = ()
    counts: Sequence[int] | None = None

    def weight(self, index: int) -> int:
        """The tokens of one input: exact where they were counted, else estimated."""
        if self.counts is not None:
            return self.counts[index]
        item = self.inputs[index]
        return estimate(item) if isinstance(item, str) else len(item)


def read(request: Request, config: Config, facts: Facts) -> Asked:
    """Read a request.  Refused names the field that is missing, wrong or too long."""
    fields = request.fields()
    inputs, ids = _inputs(fields, config)
    length, cut, told = dimensions(fields, facts)
    form = _form(fields, facts, cut or length or told)
    prefix, kept = _prefix(fields, facts)
    _check_ids(inputs, ids, prefix, facts)
    _check_cut(fields)
    rest = _rest(request.body)
    if told is not None:
        rest = rest.put(dimensions=told)
    if (truncate := fields.flag("truncate", None)) is not None:  # jina's word
        rest = rest.put(truncation=truncate)
    return Asked(
        inputs=inputs,
        ids=ids,
        forms=(form,),
        length=length,
        cut=cut,
        prefix=prefix,
        whole=fields.flag("late_chunking", False),
        rest=rest.put(**kept),
    )


def _inputs(fields: Fields, config: Config) -> tuple[Inputs, bool]:
    """The inputs as a list, and whether they are lists of token numbers."""
    value = fields.get("input")
    if value is None:
        raise fields.fault("input", "missing_required_parameter", "'input' is required")
    if isinstance(value, str):
        return [text_of(fields, "input", value, config)], False
    if not isinstance(value, list):
        raise fields.wrong("input", "a string, a list of strings, or lists of token numbers")
    if value and _is_number(value[0]):
        return [_converted(fields, value, list[TokenId], "token numbers")], True
    fields.items("input", at_most=config.max_inputs)
    value = [_plain(fields, index, each) for index, each in enumerate(value)]
    if isinstance(value[0], list):
        arrays = _converted(fields, value, list[list[TokenId]], "lists of token numbers")
        for index, array in enumerate(arrays):
            if not array:
                raise _empty(fields, f"input[{index}]")
        return arrays, True
    texts = _converted(fields, value, list[str], "strings, or lists of token numbers")
    return [text_of(fields, f"input[{i}]", text, config) for i, text in enumerate(texts)], False


def _plain(fields: Fields, index: int, value: Json) -> Json:
    """An input as it is, or the text of jina's `{"text": "..."}`.  Refused for a picture."""
    if not isinstance(value, dict):
        return value
    for name, text in value.items():
        if name == "text" and isinstance(text, str):
            return text
    name = f"input[{index}]" + (f".{next(iter(value))}" if value else "")
    raise fields.fault(name, "unsupported_input", f"'{name}': this model embeds text only")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _converted(fields: Fields, value: Json, kind: Json, wanted: str) -> Json:
    """The value as a `kind`, which `wanted` names for people.

    It is checked in one pass, because 16 MiB of numbers must not hold up the event loop.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        where = "input" + (place.group(1) if place else "")
        raise fields.fault(where, "invalid_type", f"'input' must hold {wanted}") from None


def text_of(fields: Fields, name: str, text: str, config: Config) -> str:
    """A text.  Refused when it is empty or too long."""
    if not text:
        raise _empty(fields, name)
    if len(text) > config.max_characters:
        reason = f"'{name}' has more than {config.max_characters} characters"
        raise fields.fault(name, "string_above_max_length", reason)
    return text


def _empty(fields: Fields, name: str) -> GatewayError:
    return fields.fault(name, "invalid_value", f"'{name}' must not be empty")


def _form(fields: Fields, facts: Facts, length: int | None) -> Form:
    """The form of the vectors: jina names it `embedding_type`, the others in two members."""
    jina = fields.get("embedding_type")
    if isinstance(jina, list) and len(jina) == 1:
        jina = jina[0]
    if jina is not None:
        options = ("base64", "float", "binary", "ubinary")
        name = Fields({"embedding_type": jina}).choice("embedding_type", options)
        dtype: Dtype = "binary" if name == "binary" else "ubinary" if name == "ubinary" else "float"
        form = Form(name=name, dtype=dtype, base64=name == "base64")
        return checked(form, length, "embedding_type")
    packed = fields.choice("encoding_format", ("float", "base64"), "float") == "base64"
    name = fields.choice("output_dtype", DTYPES, "float")
    dtype = next(each for each in DTYPES if each == name)
    form = Form(name=name, dtype=dtype, base64=packed, bound=facts.int8_bound)
    return checked(form, length, "output_dtype")


def checked(form: Form, length: int | None, field: str) -> Form:
    """A form.  Refused when vectors of this length cannot have it."""
    if form.dtype in BITS and length is not None:
        check_bits(length, field)
    return form


def dimensions(fields: Fields, facts: Facts) -> tuple[int | None, int | None, int | None]:
    """How long the engine's vectors are, where to cut them, and which length to ask it for.

    Each may be None: not known, not cut, not asked for.  When the length of the model's vectors is
    not known, the engine decides whether it can give another one.

    Source: wire.md 6.1.
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


def _prefix(fields: Fields, facts: Facts) -> tuple[str, dict[str, Json]]:
    """The text to put in front of each input, or members to pass on instead.

    Those are the input type and jina's task: an engine may know what they mean, when the model has
    no prefixes here.
    """
    kind, task = fields.text("input_type", None), fields.text("task", None)
    kept = {"input_type": kind, "task": task}
    if task is not None and kind is None and (prefix := prefix_of(task, facts)) is not None:
        return prefix, {}
    if kind is None or not facts.prefixes:
        return "", {name: value for name, value in kept.items() if value is not None}
    prefix = prefix_of(kind, facts)
    if prefix is None:
        reason = f"'input_type' must be one of: {', '.join(sorted(facts.prefixes))}"
        raise fields.fault("input_type", "invalid_value", reason)
    return prefix, {}


def prefix_of(kind: str, facts: Facts) -> str | None:
    """What the model wants in front of a text of a kind; None when nothing is said of that."""
    return facts.prefixes.get(kind, facts.prefixes.get(SAME.get(kind, kind)))


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


def bounded(asked: Asked, counts: Sequence[int], facts: Facts) -> Sequence[int]:
    """The tokens of each input that the engine will read.

    Refused when there are more than it takes, unless the client lets it cut them.
    """
    most = facts.max_tokens
    if most is None or max(counts) <= most:
        return counts
    if asked.rest.members().get("truncation", b"false").strip() != b"true":
        raise too_long(most, max(counts))
    return [min(count, most) for count in counts]


def too_long(most: int, given: int | None) -> Refused:
    """The error for an input that is too long, in the words that SDKs and langchain look for.

    `given`: its tokens; None when they are not known.  Source: wire.md 1.4.
    """
    resulted = "a longer input" if given is None else f"{given} tokens"
    reason = (
        f"This model's maximum context length is {most} tokens. However, your input resulted in "
        f"{resulted}. Please reduce the length of the input."
    )
    return Refused("input", "context_length_exceeded", reason)


def _check_cut(fields: Fields) -> None:
    """Check the members that go on to the engine as extensions of the home wire."""
    fields.flag("truncation", None)
    fields.integer("max_tokens", None, at_least=1)
    if "truncation_side" in fields:
        fields.choice("truncation_side", ("left", "right"))


def _rest(body: Body) -> Body:
    """The client's members that go on to the engine: none of ours, and none that is null.

    An engine must not be sent what the client did not say.  Source: field.md 24.
    """
    empty = [name for name, value in body.members().items() if value.strip() == b"null"]
    return body.drop("input", *OURS, *empty)
