"""How engines spell embeddings.

The home wire is OpenAI's, with a list of inputs, and with numbers in the reply.  A call may have
more members than OpenAI's: `truncation` says whether a long input is cut, `truncation_side` at
which end, and `max_tokens` at which length.  A dialect refuses what its engines cannot do, unless
leaving it out changes nothing that the client asked for.

Source: wire.md 6.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec

from modgate.kit.engine_error import error_in
from modgate.kit.families.infinity import Infinity, characters
from modgate.kit.families.llamacpp_absence import absence
from modgate.kit.families.tei import Tei, tokens_read
from modgate.plugin import (
    BadReply,
    Body,
    Dialect,
    Event,
    GatewayError,
    Json,
    Outgoing,
    Unsupported,
    engine_message,
)
from modgate_embedding.ask import too_long
from modgate_embedding.reply import Counted, Reply, Row, engine_count, parse

# Source: wire.md 1.4; the texts of vLLM, SGLang, TEI and llama.cpp, with the bound and the length.
_OVERFLOWS = (
    re.compile(r"maximum context length is (\d+) tokens\D+(\d+)", re.IGNORECASE),
    re.compile(r"must have less than (\d+) tokens\. Given: (\d+)", re.IGNORECASE),
    re.compile(r"longer than the maximum model length of (\d+)", re.IGNORECASE),
    re.compile(r"model's context length \((\d+) tokens\)", re.IGNORECASE),
    re.compile(r"maximum context length is (\d+)", re.IGNORECASE),
)
# llama.cpp says this with status 500: the input, and what it takes.
_PHYSICAL = re.compile(r"input \((\d+) tokens\) is too large to process.*?(\d+)\)", re.IGNORECASE)
_AVAILABLE = re.compile(r"exceeds the available context size", re.IGNORECASE)
# Members of other wires that engines would misread or pass over in silence.
FOREIGN = ("truncation", "truncation_side", "max_tokens", "normalized", "task", "input_type")
UNSAFE = ("priority", "request_id", "rid", "cache_salt")  # the engine's own business
LOOK_BYTES = 64
_VECTORS = msgspec.json.Decoder(list[msgspec.Raw])


def overflow(message: str) -> GatewayError | None:
    """The error for an input that is too long, when an engine's message says that; else None."""
    for pattern in _OVERFLOWS:
        if found := pattern.search(message):
            most, *given = map(int, found.groups())
            return too_long(most, given[0] if given else None)
    return None


class EmbeddingHome(Dialect):
    """Any engine that speaks OpenAI's wire and ignores members that it does not know."""

    modality = "embedding"

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error; that an input is too long is told by its text."""
        if status in (400, 413, 422) and (error := overflow(engine_message(body))):
            return error
        return super().refusal(status, headers, body)

    def decode(self, event: Event) -> Iterable[Event]:
        """The reply as it is.  BadReply for one without vectors: another engine may serve.

        The reply is only looked at, not parsed: it may have many megabytes, and the relay will
        read all of it.
        """
        if event.data[:LOOK_BYTES].lstrip()[:1] != b"{" or b'"data"' not in event.data:
            raise BadReply("the engine's reply is not a list of embeddings")
        return super().decode(event)

    def refuse(self, *names: str) -> None:
        """Raise Unsupported when the call has one of these members: dropping it would be a lie."""
        for name in names:
            if self.call.body.member(name):
                reason = f"'{name}': engines of family '{self.family}' cannot do this"
                raise Unsupported(reason, name)


class EmbeddingPlain(EmbeddingHome):
    """What engines have in common that take OpenAI's members and no others.

    They cut no input at a length that the client names.

    `kept`: the members that they know.  `path`: where they take them.
    """

    kept: ClassVar[tuple[str, ...]] = ("input", "model", "dimensions", "user")
    path: ClassVar[str] = "/v1/embeddings"

    def encode(self) -> Outgoing:
        """Only the members that they know."""
        self.refuse("max_tokens", "late_chunking")
        members = {n: v for n, v in self.call.body.members().items() if n in self.kept}
        body = Body("json", members=members).put(model=self.served.name, encoding_format="float")
        return Outgoing(path=self.path, body=body)


class EmbeddingOpenAI(EmbeddingPlain):
    """OpenAI's own service, which refuses members that it does not know, and long inputs."""

    family = "openai"


class EmbeddingInfinity(Infinity, EmbeddingPlain):
    """Infinity: no prefix in front of its paths, text only; it always cuts long inputs.

    Its count is one of characters, not of tokens, unless its model was started with
    `--lengths-via-tokenize`.  Source: michaelfeil/infinity, libs/infinity_emb/infinity_emb/
    transformer/utils.py, get_lengths_with_tokenize; the transcripts of 0.0.78 show it.
    """

    use = "embeddings"
    path = "/embeddings"

    def encode(self) -> Outgoing:
        """Its members, with text only: it takes no token numbers."""
        if isinstance(next(iter(self.call.body.member("input", [""])), ""), list):
            raise Unsupported("'input': engines of family 'infinity' take text only", "input")
        return super().encode()

    def decode(self, event: Event) -> Iterable[Event]:
        """The reply without a count of characters: the gateway counts or estimates tokens then."""
        for passed in super().decode(event):
            inputs = self.call.body.member("input", [])
            if engine_count(passed.data).tokens == sum(map(characters, inputs)):
                rows = parse(passed.data, len(inputs)).data
                passed.data = msgspec.json.encode(Reply(data=rows))
            yield passed


class EmbeddingLlamaCpp(EmbeddingPlain):
    """llama.cpp's server, started with `--embeddings`; it knows no shorter vectors."""

    family = "llamacpp"
    kept = ("input", "model")

    def encode(self) -> Outgoing:
        """Its members; its vectors have one length."""
        self.refuse("dimensions")
        return super().encode()

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An input that is too long for its physical batch has status 500, for its context 400."""
        message = engine_message(body)
        if found := _PHYSICAL.search(message):
            return too_long(int(found.group(2)), int(found.group(1)))
        if _AVAILABLE.search(message):
            error = error_in(body)
            most, given = error.get("n_ctx"), error.get("n_prompt_tokens")
            if type(most) is int and type(given) is int:
                return too_long(most, given)
        return absence(status, message) or super().refusal(status, headers, body)


class EmbeddingSglang(EmbeddingHome):
    """SGLang: members that it knows besides OpenAI's go on, those of other wires do not."""

    family = "sglang"

    def encode(self) -> Outgoing:
        """The body as it came, without what others know; long inputs are refused, not cut."""
        self.refuse("max_tokens", "late_chunking")
        body = self.call.body.drop(*FOREIGN, *UNSAFE, "late_chunking")
        return Outgoing(path="/v1/embeddings", body=body.put(model=self.served.name))


class EmbeddingVllm(EmbeddingHome):
    """vLLM cuts long inputs when it is told how far, and normalises unless it is told not to."""

    family = "vllm"

    def encode(self) -> Outgoing:
        """Cutting and normalising in vLLM's words; -1 stands for the model's own length."""
        self.refuse("late_chunking")
        most = self.call.body.member("max_tokens")
        said: dict[str, Json] = {"model": self.served.name}
        if self.call.body.member("truncation", False):
            said["truncate_prompt_tokens"] = -1 if most is None else most
            if (side := self.call.body.member("truncation_side")) is not None:
                said["truncation_side"] = side
        else:
            self.refuse("max_tokens")
        if (normalized := self.call.body.member("normalized")) is not None:
            said["use_activation"] = normalized
        body = self.call.body.drop(*FOREIGN, *UNSAFE, "normalize", "late_chunking")
        return Outgoing(path="/v1/embeddings", body=body.put(**said))


class EmbeddingTei(Tei, EmbeddingHome):
    """TEI by its own route: only that one says whether a long input is to be cut."""

    def encode(self) -> Outgoing:
        """`truncate` is always said: without it the server does as it was started to."""
        self.refuse("max_tokens", "late_chunking")
        members = self.call.body.members()
        sent = {"inputs": members["input"]}
        if "dimensions" in members:
            sent["dimensions"] = members["dimensions"]
        body = Body("json", members=sent).put(
            normalize=self.call.body.member("normalized", True),
            truncate=self.call.body.member("truncation", False),
        )
        if self.call.body.member("truncation_side", "right") == "left":
            body = body.put(truncation_direction="Left")
        return Outgoing(path="/embed", body=body)

    def decode(self, event: Event) -> Iterable[Event]:
        """A bare list of vectors as a reply; each vector stays as the engine wrote it."""
        try:
            vectors = _VECTORS.decode(event.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BadReply("the engine's reply is not a list of embeddings") from None
        tokens = tokens_read(event.headers)
        reply = Reply(
            data=[Row(index=index, embedding=vector) for index, vector in enumerate(vectors)],
            usage=None if tokens is None else Counted(prompt_tokens=tokens),
        )
        return (Event(msgspec.json.encode(reply), headers=event.headers),)


DIALECTS: tuple[type[Dialect], ...] = (
    EmbeddingHome,
    EmbeddingOpenAI,
    EmbeddingVllm,
    EmbeddingSglang,
    EmbeddingLlamaCpp,
    EmbeddingTei,
    EmbeddingInfinity,
)
