"""Reading an OpenAI chat (or completions) body: what must be checked, and what it may cost.

Source: wire.md 2.1 (the column M) and 2.2.  Everything else is passed on as the client's own bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from modgate.kit.chat_legacy import OLD, as_tools
from modgate.kit.chat_messages import Image, read_messages
from modgate.kit.chat_overflow import context_exceeded
from modgate.kit.chat_tools import ANY, forced, read_format, read_functions, read_tools
from modgate.kit.tokens import BYTES_PER_TOKEN, TOKENS_AT_MOST, estimate
from modgate.plugin import Body, Fields, Json, JsonObject, Refused, Request

__all__ = [
    "Chat",
    "Image",
    "asked_chat",
    "context_exceeded",
    "no_images",
    "no_tools",
    "read_chat",
    "read_completion",
]

# Extras that let one tenant reach into another's work, the engine's process or its network, or that
# generate more than was reserved.  Source: wire.md 2.1 for vLLM; the request types of SGLang
# (adapters by path, pickled code, peers by address) and of llama.cpp's server.
UNSAFE = frozenset(
    (
        *("chat_template", "documents", "priority", "cache_salt", "kv_transfer_params"),
        *("vllm_xargs", "request_id", "mm_processor_kwargs", "media_io_kwargs"),
        *("ec_transfer_params", "session_id", "prompt_embeds"),
        *("rid", "lora_path", "session_params", "custom_logit_processor", "custom_params"),
        *("extra_key", "input_ids", "images_config", "ngram_corpus_id", "custom_labels"),
        *("bootstrap_host", "bootstrap_port", "bootstrap_room", "data_parallel_rank"),
        *("routed_dp_rank", "disagg_prefill_dp_rank"),
        *("id_slot", "slot_id", "lora", "n_predict", "n_cmpl", "__verbose"),
    )
)
WITH_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
CALLING = frozenset((*WITH_TOOLS, *OLD))
STOPS_AT_MOST, N_AT_MOST = 4, 128
MEMBERS_AT_MOST = 1000  # of a body: some engines look each up among all the others
RANDOM_SEED = "random_seed"  # Mistral's word for `seed`
BIAS = 100  # at most, of a token, either way
_TOKEN_ID = re.compile(r"[0-9]{1,10}")
AFFINITY_BYTES = 1024  # of a prompt: what two prompts share is at their beginning
COMPLETION_TOKENS = 16  # of a completion whose client gives no maximum (wire.md 2.2)
MESSAGE_TOKENS, TEMPLATE_TOKENS = 4, 3  # of a template: a message, and once (wire.md B9 and 2.1)


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a chat.

    `text` is all its text, for counting; `ids` is how many tokens came as numbers, `tool_bytes` the
    size of its tools.  `n`: choices that are generated; `each`: those that are wanted of each of
    the `prompts`.  `max_tokens` None = not given.  `legacy`: the reply must speak of functions.
    `echo`: it begins with the prompt.  `forced`: the member that says that a tool must be called,
    or "".  `ignored`: members that this model makes nothing of; they are in `drop`, and a header of
    the reply names them.
    """

    stream: bool
    include_usage: bool
    n: int
    max_tokens: int | None
    messages: int
    text: tuple[str, ...]
    each: int = 1
    prompts: int = 1
    ids: int = 0
    tool_bytes: int = 0
    images: tuple[Image, ...] = ()
    legacy: bool = False
    echo: bool = False
    forced: str = ""
    ignored: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    put: Mapping[str, Json] = {}

    @property
    def estimated_tokens(self) -> int:
        """Prompt tokens without a tokenizer, images not counted."""
        texts = sum(map(estimate, filter(None, self.text)))
        tools = -(-self.tool_bytes // BYTES_PER_TOKEN)
        return texts + tools + self.ids + MESSAGE_TOKENS * self.messages

    @property
    def text_bytes(self) -> int:
        """A bound of the text's tokens: no tokenizer makes more of them than there are bytes."""
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in self.text)

    @property
    def affinity(self) -> bytes:
        """How its text begins: an engine that read the same lately has it in its cache."""
        return "\n".join(self.text)[:AFFINITY_BYTES].encode()[:AFFINITY_BYTES]

    def output_tokens(self, prompt: int, context: int | None, guess: int) -> int:
        """What may come out: the client's bound, else what the prompt leaves of `context`.

        `guess`: the operator's, where neither is known.
        """
        if self.max_tokens is not None:
            most = self.max_tokens
        elif context is not None:
            most = max(1, context - prompt)
        else:
            most = guess
        return most * self.n

    def body(self, request: Request) -> Body:
        """The body as an engine gets it.

        Usage always asked for, what is unsafe or empty left out.
        """
        body = request.body.drop(*self.drop) if self.drop else request.body
        put = dict(self.put)
        if self.stream:
            options = dict(request.fields().get("stream_options") or {})
            options.pop("continuous_usage_stats", None)
            put["stream_options"] = {**options, "include_usage": True}
        return body.put(**put) if put else body


def read_chat(fields: Fields, *, stops: int | None = STOPS_AT_MOST) -> Chat:
    """Check a chat body; Refused names the field.

    `stops`: how many stop strings its surface knows at most; None = it has bounded them itself.
    """
    read, values = read_messages(fields), fields.values
    stream, include_usage, n, max_tokens = _common(fields, stops, CHAT_CHECKS)
    drop = _dropped(values)
    legacy = tools = False
    if not CALLING.isdisjoint(values):
        legacy = read_functions(fields)
        tools = read_tools(fields) or legacy
        drop |= (OLD if tools else CALLING).intersection(values)
    put = as_tools(values) if legacy or read.legacy else {}
    if values.get("tool_choice") == ANY:  # Mistral's words for what engines know by OpenAI's
        put["tool_choice"] = "required"
    if RANDOM_SEED in values:
        drop |= {RANDOM_SEED}
        if RANDOM_SEED in fields and "seed" not in fields:
            put["seed"] = fields.integer(RANDOM_SEED)
    return Chat(
        stream=stream,
        include_usage=include_usage,
        n=n,
        each=n,
        max_tokens=max_tokens,
        messages=read.count,
        text=tuple(read.texts),
        images=tuple(read.images),
        legacy=legacy,
        forced=forced(fields) if tools else "",
        tool_bytes=_tool_bytes(fields) if tools else 0,
        drop=tuple(drop),
        put=put,
    )


def asked_chat(request: Request) -> Chat:
    """The chat of a request; only OpenAI's own surfaces bound its stop strings to four."""
    openai = request.surface.name in ("openai", "responses")
    return read_chat(request.fields(), stops=STOPS_AT_MOST if openai else None)


def read_completion(fields: Fields) -> Chat:
    """Check a completions body; a prompt of token ids counts one token an id."""
    stream, include_usage, n, max_tokens = _common(fields, STOPS_AT_MOST, CHECKS)
    texts, arrays = _prompts(fields)
    fields.text("suffix", None, empty=True)
    echo = fields.flag("echo", None)
    best_of = fields.integer("best_of", n, at_least=n, at_most=N_AT_MOST)
    if stream and best_of > n:
        reason = "'best_of' must be 'n' when 'stream' is true"
        raise fields.fault("best_of", "unsupported_value", reason)
    fields.integer("logprobs", None, at_least=0, at_most=5)
    return Chat(
        stream=stream,
        include_usage=include_usage,
        n=best_of * (len(texts) + len(arrays)),
        each=n,
        prompts=len(texts) + len(arrays),
        echo=bool(echo),
        max_tokens=COMPLETION_TOKENS if max_tokens is None else max_tokens,
        messages=0,
        text=tuple(texts),
        ids=sum(map(len, arrays)),
        drop=tuple(_dropped(fields.values)),
        put={"max_tokens": COMPLETION_TOKENS} if max_tokens is None else {},
    )


def _tool_bytes(fields: Fields) -> int:
    name = "tools" if fields.values.get("tools") else "functions"
    return len(Body.of(**{name: fields.values.get(name)}).members()[name])


def _prompts(fields: Fields) -> tuple[list[str], list[list[int]]]:
    """The texts and the token arrays of a prompt; one list is empty unless they are mixed."""
    prompt: Json = fields.get("prompt")
    if prompt is None:
        raise fields.fault("prompt", "missing_required_parameter", "'prompt' is required")
    many = prompt if isinstance(prompt, list) else [prompt]
    if many and all(type(each) is int for each in many):
        many = [many]
    if not many:
        raise fields.fault("prompt", "invalid_value", "'prompt' must not be empty")
    texts: list[str] = []
    arrays: list[list[int]] = []
    for each in many:
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, list) and each and all(type(i) is int and i >= 0 for i in each):
            arrays.append(each)
        else:
            raise fields.wrong("prompt", "a string, a list of strings, or token ids")
    return texts, arrays


def _common(
    fields: Fields, stops: int | None, checks: Mapping[str, Callable[[Fields], object]]
) -> tuple[bool, bool, int, int | None]:
    """What both wires have: whether to stream, with usage, how many choices, how many tokens."""
    values = fields.values
    if len(values) > MEMBERS_AT_MOST:
        reason = f"the body has more than {MEMBERS_AT_MOST} members"
        raise Refused(None, "array_above_max_length", reason)
    for name in values:
        if (check := checks.get(name)) is not None:
            check(fields)
    if "stop" in values:
        _stop(fields, stops)
    stream = fields.flag("stream", False)
    include = "stream_options" in values and _include(fields, stream)
    n = fields.integer("n", 1, at_least=1, at_most=N_AT_MOST) if "n" in values else 1
    most = newer = None  # of two the newer one counts; each is checked
    if "max_tokens" in values:
        most = fields.integer("max_tokens", None, at_least=1, at_most=TOKENS_AT_MOST)
    if "max_completion_tokens" in values:
        newer = fields.integer("max_completion_tokens", None, at_least=1, at_most=TOKENS_AT_MOST)
    return stream, include, n, most if newer is None else newer


def _include(fields: Fields, stream: bool) -> bool:
    if fields.get("stream_options") is None:
        return False
    if not stream:
        reason = "'stream_options' is only allowed when 'stream' is true"
        raise fields.fault("stream_options", "invalid_value", reason)
    return fields.inner("stream_options").flag("include_usage", False)


def _bias(fields: Fields) -> None:
    if (bias := fields.inner("logit_bias", None)) is None:
        return
    for token in bias.values:
        if _TOKEN_ID.fullmatch(token) is None:
            reason = "'logit_bias' names tokens by their ids: whole numbers, written as strings"
            raise fields.fault("logit_bias", "invalid_value", reason)
        bias.number(token, at_least=-BIAS, at_most=BIAS)


def _stop(fields: Fields, at_most: int | None) -> None:
    stop = fields.get("stop")
    if not isinstance(stop, list):
        fields.text("stop", None)
        return
    if not all(isinstance(each, str) for each in stop):
        raise fields.wrong("stop", "a string or a list of strings")
    if not all(fields.items("stop", at_most=at_most, empty=True)):
        raise fields.fault("stop", "invalid_value", "a string in 'stop' must not be empty")


def _logprobs(fields: Fields) -> None:
    asked = fields.flag("logprobs", False)
    if fields.integer("top_logprobs", None, at_least=0, at_most=20) is not None and not asked:
        reason = "'top_logprobs' needs 'logprobs' to be true"
        raise fields.fault("top_logprobs", "invalid_value", reason)


def _modalities(fields: Fields) -> None:
    """Refuse audio, which no engine here makes, and which must not be left out in silence."""
    modalities = fields.items("modalities", None)
    if modalities is not None and "audio" in modalities:
        reason = "'modalities' may only be [\"text\"]; for speech ask /v1/audio/speech"
        raise fields.fault("modalities", "unsupported_value", reason)


def _search(fields: Fields) -> None:
    if "web_search_options" in fields:
        reason = "'web_search_options' is not supported"
        raise fields.fault("web_search_options", "unsupported_value", reason)


def _number(name: str, low: float, high: float) -> Callable[[Fields], object]:
    return lambda fields: fields.number(name, None, at_least=low, at_most=high)


# What is checked where it is given, and otherwise left as it came.
CHECKS: Mapping[str, Callable[[Fields], object]] = {
    "temperature": _number("temperature", 0, 2),
    "top_p": _number("top_p", 0, 1),
    "frequency_penalty": _number("frequency_penalty", -2, 2),
    "presence_penalty": _number("presence_penalty", -2, 2),
    "seed": lambda fields: fields.integer("seed", None),
    "logit_bias": _bias,
}
CHAT_CHECKS: Mapping[str, Callable[[Fields], object]] = {
    **CHECKS,
    "logprobs": _logprobs,
    "top_logprobs": _logprobs,
    "modalities": _modalities,
    "web_search_options": _search,
    "response_format": read_format,
}


def _dropped(values: JsonObject) -> frozenset[str]:
    """The extras that are unsafe between tenants, and of two maximums the one that is void."""
    gone = UNSAFE.intersection(values)
    if (new := values.get("max_completion_tokens", ...)) is not ...:
        # null must not take the other's place
        gone |= {"max_completion_tokens" if new is None else "max_tokens"} & values.keys()
    return gone


def no_images(chat: Chat, request: Request) -> None:
    """Refuse images where the model takes none, and name the models that do."""
    if not chat.images:
        return
    names = ", ".join(request.others("vlm")) or "none"
    reason = f"the model `{request.asked}` takes no images; your models that do: {names}"
    place = chat.images[0].at.removesuffix(".url").removesuffix(".image_url")
    raise Refused(place, "invalid_value", reason)


def no_tools(chat: Chat) -> Chat:
    """The chat for a model that calls no tools: none are offered, and a forced call is refused."""
    if chat.forced:
        reason = f"'{chat.forced}' forces a call, and this model cannot call tools"
        raise Refused(chat.forced, "unsupported_value", reason)
    if not chat.tool_bytes:
        return chat
    return msgspec.structs.replace(
        chat,
        tool_bytes=0,
        ignored=("functions" if chat.legacy else "tools",),
        drop=(*chat.drop, *WITH_TOOLS),
        put={name: value for name, value in chat.put.items() if name not in WITH_TOOLS},
    )
