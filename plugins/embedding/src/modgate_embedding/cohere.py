"""Reading cohere's `POST /v2/embed`, and `/v1/embed` of its older clients.

Source: wire.md 6.2; cohere 7.3, `ClientV2.embed` and `Client.embed`.
"""

from __future__ import annotations

from collections.abc import Sequence

from modgate.plugin import Body, Fields, Json, Refused, Request
from modgate_embedding.ask import DTYPES, Asked, checked, dimensions, prefix_of, text_of
from modgate_embedding.config import Config, Facts
from modgate_embedding.formats import FLOAT, Form

PATH, OLDER = "/v2/embed", "/v1/embed"
KINDS = ("search_document", "search_query", "classification", "clustering", "image")
SOURCES = ("texts", "images", "inputs")
TEXT_ONLY = "this model embeds text only"


def read_cohere(request: Request, config: Config, facts: Facts) -> Asked:
    """Read a request.  Refused names the field that is missing, wrong or too long.

    What goes on to the engine is in the words of the home wire.  `truncation` is true unless the
    client says NONE, because cohere cuts by default; `truncation_side` is `left` for START.
    """
    fields = request.fields()
    texts = _texts(fields, config)
    older = request.path == OLDER
    kind = fields.choice("input_type", KINDS, None) if older else fields.choice("input_type", KINDS)
    if kind == "image":
        raise Refused("input_type", "unsupported_input", f"'input_type' is image: {TEXT_ONLY}")
    length, cut, told = dimensions(fields, facts)
    truncate = fields.choice("truncate", ("NONE", "START", "END"), "END")
    rest: dict[str, Json] = {"truncation": truncate != "NONE"}
    if truncate == "START":
        rest["truncation_side"] = "left"
    if (most := fields.integer("max_tokens", None, at_least=1)) is not None:
        rest["max_tokens"] = most
    if told is not None:
        rest["dimensions"] = told
    if kind is not None and not facts.prefixes:  # the engine may know kinds of texts itself
        rest["input_type"] = kind
    return Asked(
        inputs=texts,
        texts=texts,
        forms=_forms(fields, facts, cut or length or told),
        length=length,
        cut=cut,
        prefix=(prefix_of(kind, facts) or "") if kind is not None else "",
        rest=Body.of(model=request.asked, **rest),
    )


def _texts(fields: Fields, config: Config) -> Sequence[str]:
    """The texts: of `texts`, or of `inputs`, whose parts are joined by line breaks."""
    given = [name for name in SOURCES if name in fields]
    if "images" in given:
        raise Refused("images", "unsupported_input", f"'images': {TEXT_ONLY}")
    if not given:
        raise Refused("texts", "missing_required_parameter", "'texts' or 'inputs' is required")
    if len(given) > 1:
        reason = "'texts' and 'inputs' cannot be sent together"
        raise Refused("inputs", "invalid_value", reason)
    if given == ["texts"]:
        texts = fields.texts("texts", at_most=config.max_texts, each=config.max_characters)
        return list(texts)
    inputs = fields.each("inputs", at_most=config.max_texts)
    return [_joined(each, f"inputs[{index}]", config) for index, each in enumerate(inputs)]


def _joined(content: Fields, name: str, config: Config) -> str:
    texts = []
    for index, part in enumerate(content.each("content", at_most=config.max_texts)):
        if part.choice("type", ("text", "image_url")) == "image_url":
            where = f"{name}.content[{index}].image_url"
            raise Refused(where, "unsupported_input", f"'{where}': {TEXT_ONLY}")
        texts.append(part.text("text"))
    return text_of(content, "content", "\n".join(texts), config)


def _forms(fields: Fields, facts: Facts, length: int | None) -> tuple[Form, ...]:
    """The forms that are asked for, in order, each once."""
    names = fields.items("embedding_types", None)
    if names is None:
        return (FLOAT,)
    found: dict[str, Form] = {}
    for index, name in enumerate(names):
        where = f"embedding_types[{index}]"
        Fields({where: name}).choice(where, (*DTYPES, "base64"))
        if name == "base64":
            found[name] = Form(name=name, base64=True)
            continue
        dtype = next(each for each in DTYPES if each == name)
        form = Form(name=name, dtype=dtype, bound=facts.int8_bound)
        found[name] = checked(form, length, where)
    return tuple(found.values())
