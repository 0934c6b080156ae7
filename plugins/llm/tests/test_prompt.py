"""Who counts a prompt, and what is refused before an engine is asked."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from modgate.api.surface import Surface
from modgate.kit.chat import read_chat, read_completion
from modgate.plugin import (
    Ask,
    Body,
    Event,
    Json,
    JsonObject,
    Model,
    Outcome,
    Overloaded,
    Plan,
    Refused,
    Request,
    Unsupported,
    Work,
)
from modgate_llm.config import Config, Facts
from modgate_llm.modality import Llm
from modgate_llm.prompt import Prompt, counted

LONG = "harbour " * 400


def asked(facts: JsonObject, path: str = "/v1/chat/completions", **body: Json) -> Request:
    model = Model(name="m", modality="llm", facts=Facts.model_validate(facts))
    raw = {"model": "m", **body}
    return Request(
        id="req_1",
        path=path,
        model=model,
        asked="m",
        body=Body.json(orjson.dumps(raw)),
        surface=Surface(),
        parsed=raw,
    )


def chat(facts: JsonObject, text: str = LONG, **more: Json) -> Request:
    return asked(facts, messages=[{"role": "user", "content": text}], **more)


def counting(request: Request) -> Generator[Json, Json, Prompt]:
    reading = read_chat if "messages" in request.parsed else read_completion
    facts = request.model.facts
    assert isinstance(facts, Facts)
    return counted(request, reading(request.fields()), facts)


def answered(request: Request) -> Prompt:
    """The count, with the work done here."""
    asking = counting(request)
    try:
        need = next(asking)
        assert isinstance(need, Work)
        asking.send(need.function(*need.args))
    except StopIteration as stop:
        found: Prompt = stop.value
        return found
    raise AssertionError("more than one question")


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of words that would cut, fill and begin with a mark if it were let."""
    tokenizers = pytest.importorskip("tokenizers")  # of modgate[tokenizers]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="? $A", special_tokens=[("?", 0)]
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.enable_truncation(2)
    made.enable_padding(length=500)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def test_a_models_own_tokenizer_counts_with_what_its_template_adds(tokenizer_file: Path) -> None:
    facts = {"file": str(tokenizer_file), "message_tokens": 5, "template_tokens": 2}
    prompt = answered(chat({"tokenizer": facts}))

    assert prompt == Prompt(tokens=400 + 5 + 2, least=400, exact=True)


@pytest.mark.parametrize("choices", [1, 2])
def test_a_counted_prompt_is_billed_though_its_stream_is_cut(
    tokenizer_file: Path, choices: int
) -> None:
    facts = {"tokenizer": {"file": str(tokenizer_file)}, "n": False}
    shaping = Llm(Config()).chat(chat(facts, stream=True, n=choices))
    need = next(shaping)
    assert isinstance(need, Work)
    with pytest.raises(StopIteration) as made:
        shaping.send(need.function(*need.args))
    relay = made.value.value.relay
    said = b'{"choices":[{"index":0,"delta":{"content":"a"}}]}'
    list(relay.feed(0, Event(said)))
    cut = [Outcome(state="failed"), Outcome(state="pending")][:choices]

    assert dict(relay.usage(cut).units) == {"input_tokens": 400, "output_tokens": 1}


def test_a_prompt_that_a_completion_says_again_is_not_written_by_its_engine() -> None:
    relay = planned(asked({}, "/v1/completions", prompt="one two", echo=True)).relay
    list(relay.feed(0, Event(b'{"choices":[{"index":0,"text":"one two ten"}]}')))

    assert relay.usage([Outcome(state="ok")]).units["output_tokens"] == 2


def test_a_packaged_table_counts() -> None:
    prompt = answered(chat({"tokenizer": "o200k_base"}))

    assert prompt.exact
    assert prompt.least == 402
    assert prompt.tokens == prompt.least + 7
    marked = answered(chat({"tokenizer": "o200k_base"}, LONG + "<|endoftext|>"))
    assert marked.least == 402 + len(["<", "|", "endo", "ft", "ext", "|>"])  # the text that it is


def test_token_numbers_are_counted_as_they_are(tokenizer_file: Path) -> None:
    facts = {"tokenizer": {"file": str(tokenizer_file)}}
    path = "/v1/completions"

    assert answered(asked(facts, path, prompt=[[1, 2], [3]])).tokens == 3
    assert answered(asked(facts, path, prompt=[LONG, [1, 2]])).tokens == 402


def test_a_short_prompt_that_surely_fits_is_estimated_here(tokenizer_file: Path) -> None:
    facts = {"tokenizer": {"file": str(tokenizer_file)}, "context": 100}

    assert not answered(chat(facts, "hello")).exact
    assert answered(chat({**facts, "context": 10}, "hello")).exact
    assert answered(chat(facts, "hello", max_tokens=90)).exact


def test_without_a_free_decoder_the_estimate_stands() -> None:
    asking = counting(chat({"tokenizer": "o200k_base"}))
    next(asking)
    with pytest.raises(StopIteration) as stopped:
        asking.throw(Overloaded("no process"))

    assert not stopped.value.value.exact


def test_an_engine_counts_messages_with_their_tools() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    asking = counting(chat({"tokenizer": "engine", "context": 9000}, tools=tools))
    need = next(asking)
    assert isinstance(need, Ask)
    with pytest.raises(StopIteration) as stopped:
        asking.send([Event(b'{"count":77}')])

    assert set(need.calls[0].body.members()) == {"messages", "tools"}
    assert stopped.value.value == Prompt(tokens=77, least=77, exact=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {},
            "This model's maximum context length is 300 tokens. However, your messages resulted in "
            "407 tokens. Please reduce the length of the messages.",
        ),
        (
            {"context": 500, "max_tokens": 100},
            "This model's maximum context length is 500 tokens. However, you requested 507 tokens "
            "(407 in the messages, 100 in the completion). Please reduce the length of the "
            "messages or completion.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_an_engine_is_asked(
    tokenizer_file: Path, more: JsonObject, message: str
) -> None:
    context = more.pop("context", 300)
    request = chat({"tokenizer": {"file": str(tokenizer_file)}, "context": context}, **more)
    shaping = Llm(Config()).chat(request)
    work = next(shaping)
    assert isinstance(work, Work)
    with pytest.raises(Exception, match="maximum context length") as caught:
        shaping.send(work.function(*work.args))

    assert str(caught.value) == message
    assert (caught.value.code, caught.value.field) == ("context_length_exceeded", "messages")


def test_several_prompts_are_not_taken_for_one_long_one(tokenizer_file: Path) -> None:
    facts = {"tokenizer": {"file": str(tokenizer_file)}, "context": 500}
    request = asked(facts, "/v1/completions", prompt=[LONG, LONG])
    shaping = Llm(Config()).completions(request)
    next(shaping)
    with pytest.raises(StopIteration):
        shaping.send(800)


def test_an_engine_that_cannot_count_leaves_the_estimate() -> None:
    for error in (Unsupported("no counter"), Overloaded("busy")):
        asking = counting(chat({"tokenizer": "engine", "context": 900}))
        next(asking)
        with pytest.raises(StopIteration) as stopped:
            asking.throw(error)

        assert not stopped.value.value.exact


def test_token_numbers_are_no_question_for_an_engine() -> None:
    path = "/v1/completions"
    request = asked({"tokenizer": "engine", "context": 2}, path, prompt=[1, 2, 3])

    assert answered(request) == Prompt(tokens=3, least=3)


def test_a_plain_prompt_is_asked_as_text() -> None:
    path = "/v1/completions"
    asking = counting(asked({"tokenizer": "engine", "context": 900}, path, prompt=LONG))
    need = next(asking)
    assert isinstance(need, Ask)

    assert need.calls[0].body.members() == {"prompt": orjson.dumps(LONG)}


@pytest.mark.parametrize(
    ("facts", "more", "output"),
    [
        ({}, {}, 4096),
        ({}, {"max_tokens": 5}, 5),
        ({}, {"max_tokens": 5, "n": 3}, 15),
        ({"context": 1000}, {}, 1000 - 6),
        ({"context": 2}, {}, 1),
        ({"n": False}, {"max_tokens": 5, "n": 3}, 15),
    ],
)
def test_the_output_that_may_come_is_reserved(
    facts: JsonObject, more: JsonObject, output: int
) -> None:
    plan = planned(chat(facts, "hello", **more))
    assert isinstance(plan.calls, tuple)

    assert sum(call.size["output_tokens"] for call in plan.calls) == output
    assert sum(call.size["input_tokens"] for call in plan.calls) == 6
    assert plan.width == len(plan.calls) == (3 if "n" in facts else 1)


@pytest.mark.parametrize("n", [1, 2])
def test_the_best_of_several_cannot_be_found_call_by_call(n: int) -> None:
    request = asked({"n": False}, "/v1/completions", prompt="x", n=n, best_of=3)
    with pytest.raises(Refused, match="best_of") as caught:
        planned(request)

    assert caught.value.field == "best_of"


@pytest.mark.parametrize(("isolated", "named"), [(True, "a1"), (False, "")])
def test_a_call_says_whose_it_is_unless_caches_may_be_shared(isolated: bool, named: str) -> None:
    request = replace(chat({}), isolation="a1")
    with pytest.raises(StopIteration) as made:
        next(Llm(Config(isolate_caches=isolated)).chat(request))

    assert [call.isolation for call in made.value.value.calls] == [named]


def test_a_picture_is_refused_by_naming_who_takes_it() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    request = asked({}, messages=[{"role": "user", "content": [picture]}])
    request = replace(request, others=lambda modality: (f"a-{modality}",))
    with pytest.raises(Refused, match="your models that do: a-vlm") as caught:
        planned(request)

    assert caught.value.field == "messages[0].content[0]"


def planned(request: Request) -> Plan:
    """The plan of a request that asks nothing."""
    llm = Llm(Config())
    shaping = llm.chat(request) if "messages" in request.parsed else llm.completions(request)
    with pytest.raises(StopIteration) as stopped:
        next(shaping)
    plan: Plan = stopped.value.value
    return plan
