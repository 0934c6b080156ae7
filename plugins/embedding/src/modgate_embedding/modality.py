"""The embedding modality: its endpoint, its units, and how a request becomes calls."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial

from modgate.kit.facts import facts_of
from modgate.kit.families.tei import taken_at_once
from modgate.kit.tokens import each_by_file, texts
from modgate.plugin import (
    MIB,
    Call,
    Endpoint,
    Event,
    GatewayError,
    Json,
    Modality,
    Need,
    Plan,
    Refused,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    Usage,
    Work,
)
from modgate_embedding.ask import Asked, Inputs, bounded, read
from modgate_embedding.batching import PATH, EmbeddingCall, batching
from modgate_embedding.cohere import OLDER, read_cohere
from modgate_embedding.cohere import PATH as COHERE
from modgate_embedding.config import CL100K, Config, Facts
from modgate_embedding.relay import (
    ManyVectors,
    ReplyIdentity,
    Vectors,
    Writer,
    cohere_reply,
    floats_reply,
    openai_reply,
)
from modgate_embedding.reply import engine_count
from modgate_embedding.samples import SAMPLES

COUNTED_CHARACTERS = 1_000_000  # the tokens of longer inputs are estimated
INLINE_INPUTS = 64  # a reply with more vectors is parsed and packed in a thread
DECODED_TOKENS = 32_768  # a decoder process answers at most 1 MiB, which is 32 bytes for each


class Embedding(Modality[Config]):
    """Texts as vectors, metered in tokens."""

    name = "embedding"
    units = (
        Unit("input_tokens", "tokens that the engine read"),
        Unit("inputs", "texts that were embedded"),
    )
    weights = {"input_tokens": 1.0}
    phases = {"total": Target(base_s=0.05, per_unit={"input_tokens": 20e-6})}
    deadlines = {
        "first_byte": Target(base_s=60.0, per_unit={"inputs": 0.25}),
        "total": Target(base_s=60.0, per_unit={"inputs": 0.25}),
    }
    gateway_counts = frozenset({"inputs"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES
    stand_in = StandIn(said=("space", "dimensions"), equal=("prefixes", "matryoshka"))

    def endpoints(self) -> Iterator[Endpoint]:
        """The path that openai, voyage, mistral and jina share, and cohere's two."""
        yield Endpoint(
            path=PATH,
            surfaces=("voyage", "openai", "mistral"),
            shape=self.shape,
            at_most=16 * MIB,
            batch=batching(self.config),
            summary="embed texts as vectors",
            operation="embeddings",
        )
        for path in (COHERE, OLDER):
            yield Endpoint(
                path=path,
                surfaces=("cohere",),
                shape=self.shape_cohere,
                at_most=16 * MIB,
                batch=batching(self.config),
                summary="embed texts as vectors, as cohere does",
                operation="embeddings",
            )

    def shape(self, request: Request) -> Plan | Generator[Need, Json, Plan]:
        """Calls of at most `max_items` inputs, for a body of openai, voyage, mistral or jina."""
        facts = facts_of(request, Facts)
        asked = read(request, self.config, facts)
        if asked.ids and facts.token_ids == CL100K:
            return self._shape_decoded(request, asked, facts)
        return self._shape_texts(request, asked, facts, openai_reply)

    def shape_cohere(self, request: Request) -> Plan | Generator[Need, Json, Plan]:
        """The same calls for a body of cohere."""
        facts = facts_of(request, Facts)
        asked = read_cohere(request, self.config, facts)
        write: Writer = cohere_reply
        if request.path == OLDER:
            plain = request.fields().get("embedding_types") is None
            write = floats_reply if plain else partial(cohere_reply, version="1")
        return self._shape_texts(request, asked, facts, write)

    def count(self, call: Call, event: Event) -> Usage:
        """What a side call cost: the tokens that its engine says it read, else as was estimated."""
        said = engine_count(event.data)
        if said.tokens is None:
            return super().count(call, event)
        units = Units(dict(call.size.items()), input_tokens=said.tokens)
        if said.apportioned:  # of a shared call it is a share
            return Usage(units, exact=False, by="estimate")
        return Usage(units, exact=True, by="engine")

    def _shape_texts(
        self, request: Request, asked: Asked, facts: Facts, write: Writer
    ) -> Plan | Generator[Need, Json, Plan]:
        if asked.prefix:
            asked = replace(asked, inputs=[f"{asked.prefix}{text}" for text in asked.inputs])
        if asked.ids or facts.tokenizer is None:
            return self._plan(request, asked, facts, write)
        return self._shape_counted(request, asked, facts, write)

    def _shape_counted(
        self, request: Request, asked: Asked, facts: Facts, write: Writer
    ) -> Generator[Need, Json, Plan]:
        """Plan with the exact tokens of each text, when a decoder process is free to count them."""
        counts: list[int] | None = None
        if sum(map(len, asked.inputs)) <= COUNTED_CHARACTERS:
            try:
                work = Work(each_by_file, str(facts.tokenizer), list(asked.inputs), field="input")
                counts = yield work
            except GatewayError:  # no process was free, or the text was too much for one
                counts = None
        if counts is not None:
            asked = replace(asked, counts=bounded(asked, counts, facts))
        return self._plan(request, asked, facts, write)

    def _shape_decoded(
        self, request: Request, asked: Asked, facts: Facts
    ) -> Generator[Need, Json, Plan]:
        """Turn token numbers of OpenAI's vocabulary into text again, which is then embedded."""
        found: list[str] = []
        for group in _groups(asked.inputs):
            decoded = yield Work(texts, "cl100k_base", group, field="input")
            if decoded is None:
                reason = "token numbers cannot be read here: modgate[tokens] is not installed"
                raise Refused("input", "unsupported_input", reason)
            found += decoded
        for index, text in enumerate(found):
            if not text:
                reason = f"'input[{index}]' decodes to nothing"
                raise Refused(f"input[{index}]", "invalid_value", reason)
        asked = replace(asked, inputs=found, ids=False)
        plan = self._shape_texts(request, asked, facts, openai_reply)
        return plan if isinstance(plan, Plan) else (yield from plan)

    def _plan(self, request: Request, asked: Asked, facts: Facts, write: Writer) -> Plan:
        usual = taken_at_once(request.model.families, self.config.max_items)
        at_most = min(self.config.max_items, facts.batch or usual)
        count = len(asked.inputs)
        if asked.whole:
            if count > at_most:
                reason = f"'late_chunking' takes at most {at_most} inputs of this model"
                raise Refused("input", "array_above_max_length", reason)
            at_most = count
        spans = [(start, min(start + at_most, count)) for start in range(0, count, at_most)]
        kind = ManyVectors if count * len(asked.forms) > INLINE_INPUTS else Vectors
        identity = ReplyIdentity(
            reply_id="embd-" + request.id.removeprefix("req_"), model=request.asked
        )
        calls = [_call(asked, start, end, at_most) for start, end in spans]
        return Plan(
            calls=calls,
            relay=kind(asked, spans, identity=identity, write=write),
            width=min(self.config.width, len(calls)),
        )


def _groups(arrays: Inputs) -> Iterator[Inputs]:
    """Token lists, in groups whose text fits into one answer of a decoder process."""
    start, tokens = 0, 0
    for index, array in enumerate(arrays):
        if tokens and tokens + len(array) > DECODED_TOKENS:
            yield arrays[start:index]
            start, tokens = index, 0
        tokens += len(array)
    yield arrays[start:]


def _call(asked: Asked, start: int, end: int, at_most: int) -> EmbeddingCall:
    """The call for the inputs from `start` to `end`, which is behind the last."""
    size = Units(inputs=end - start, input_tokens=sum(map(asked.weight, range(start, end))))
    return EmbeddingCall(
        path=PATH,
        body=asked.rest.put(input=asked.inputs[start:end]),
        size=size,
        at_most=at_most,
        ids=asked.ids,
        alone=asked.whole,
        counted=asked.ids or asked.counts is not None,
    )
