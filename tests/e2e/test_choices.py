"""Several choices of an engine that makes one, and prompts counted before an engine is asked."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, Piece, Refusal, Script
from pydantic import SecretStr
from sdks import langchain_openai, langchain_wrong, openai

from modgate.ledger.reader import rows

ONE = '[model.one]\nmodality = "llm"\n'


async def serving(folder: Path, engine: ScriptedEngine, facts: str) -> Running:
    """A gateway whose model `one` has these facts."""
    backend = {"url": engine.url, "serves": {"one": "engine-one"}}
    return await start(folder, [backend], plugins=["llm"], models={}, more=ONE + facts)


def events(client: ClientRecord) -> list[dict[str, object]]:
    """The JSON of every event of a stream."""
    lines = client.body.decode().splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    return [orjson.loads(line) for line in data]


async def test_choices_of_several_calls_are_billed_with_the_prompt_once(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    whole = ask.chat(1, model="one", n=3, seed=7)
    streamed = ask.chat(2, model="one", n=3, stream=True, usage=True)
    async with await serving(tmp_path, engine, "n = false") as running:
        client = await send(running.url, whole, key=running.key)
        stream = await send(running.url, streamed, key=running.key)
    calls = [record for record in engine.records if record.method == "POST"]
    reply = orjson.loads(client.body)
    told = events(stream)
    alone = calls[0].sent["llm.input_tokens"]
    billed = list(rows(running.ledger))

    assert len(calls) == 6
    assert [call.asked.json.get("n") for call in calls] == [None] * 6
    assert sorted(call.asked.json["seed"] for call in calls[:3]) == [7, 8, 9]
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["stop"] * 3
    assert reply["usage"] == {
        "prompt_tokens": alone,
        "completion_tokens": 24,
        "total_tokens": alone + 24,
    }
    assert len({event["id"] for event in told}) == 1
    finishes = [
        (choice["index"], choice["finish_reason"])
        for event in told
        for choice in event["choices"]
        if choice["finish_reason"]
    ]
    assert finishes == [(0, "stop"), (1, "stop"), (2, "stop")]
    assert told[-1]["choices"] == []
    assert told[-1]["usage"] == reply["usage"]
    for row in billed:
        assert (row.ending, row.exact) == ("ok", True)
        assert row.units["llm.input_tokens"] == alone
        assert row.units["llm.output_tokens"] == 24
    assert [len(row.attempts) for row in billed] == [3, 3]


async def test_a_choice_that_fails_ends_the_stream_and_what_was_relayed_is_billed(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    broken = Script(fault=Fault(kind="reset", after=3))
    engine.script_for = lambda record: broken if record.asked.json.get("seed") == 8 else Script()
    async with await serving(tmp_path, engine, "n = false") as running:
        asked = ask.chat(1, model="one", n=2, seed=7, stream=True)
        client = await send(running.url, asked, key=running.key)
    [row] = rows(running.ledger)
    last = events(client)[-1]

    assert last["error"]["code"] == "upstream_error"
    assert not row.exact
    assert row.units["llm.output_tokens"] == 8 + 3


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of words."""
    tokenizers = pytest.importorskip("tokenizers")  # of modgate[tokenizers]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long_never_reaches_an_engine(
    tmp_path: Path, engine: ScriptedEngine, tokenizer_file: Path, stream: bool
) -> None:
    facts = f'context = 100\ntokenizer = {{ file = "{tokenizer_file}", message_tokens = 0 }}'
    async with await serving(tmp_path, engine, facts) as running:
        asked = ask.chat(1, model="one", text="harbour " * 200, stream=stream)
        client = await send(running.url, asked, key=running.key)

    error = orjson.loads(client.body)["error"]
    assert client.status == 400
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert error["message"].startswith(
        "This model's maximum context length is 100 tokens. However, your messages resulted in 20"
    )
    assert [record for record in engine.records if record.method == "POST"] == []


async def test_a_prompt_that_was_counted_is_billed_when_the_reply_is_cut(
    tmp_path: Path, engine: ScriptedEngine, tokenizer_file: Path
) -> None:
    engine.script_for = lambda record: Script(fault=Fault(kind="reset", after=2))
    async with await serving(
        tmp_path, engine, f'tokenizer = {{ file = "{tokenizer_file}" }}'
    ) as running:
        asked = ask.chat(1, model="one", text="harbour " * 600, stream=True)
        await send(running.url, asked, key=running.key)
    [row] = rows(running.ledger)

    assert (row.exact, row.units["llm.output_tokens"]) == (False, 2)
    assert 600 <= row.units["llm.input_tokens"] <= 605


TOO_LONG = "The input (5012 tokens) is longer than the model's context length (4096 tokens)."
SAID = {"object": "error", "message": TOO_LONG, "type": "BadRequestError", "code": 400}
REFUSED = Script(refusal=Refusal(status=400, family="sglang", message=TOO_LONG))
IN_A_STREAM = Script(pieces=(Piece(data=b"data: " + orjson.dumps(SAID) + b"\n\n", content=False),))


@pytest.mark.parametrize(
    ("stream", "script"),
    [(False, REFUSED), (True, REFUSED), (True, IN_A_STREAM)],
    ids=["whole", "before the stream", "inside the stream"],
)
async def test_an_engines_own_words_for_too_long_become_ours(
    tmp_path: Path, engine: ScriptedEngine, stream: bool, script: Script
) -> None:
    engine.script_for = lambda record: script
    async with await serving(tmp_path, engine, "") as running:
        asked = ask.chat(1, model="one", stream=stream)
        client = await send(running.url, asked, key=running.key)

    assert client.status == 400
    assert orjson.loads(client.body)["error"] == {
        "message": "This model's maximum context length is 4096 tokens. However, your messages "
        "resulted in 5012 tokens. Please reduce the length of the messages. "
        "(context_length_exceeded)",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }


@pytest.mark.slow
@pytest.mark.parametrize("responses", [False, True])
async def test_langchain_knows_what_is_too_long(
    tmp_path: Path, engine: ScriptedEngine, responses: bool
) -> None:
    engine.script_for = lambda record: REFUSED
    async with (
        await serving(tmp_path, engine, "") as running,
        openai.DefaultAsyncHttpxClient() as connections,
    ):
        chat = langchain_openai.ChatOpenAI(
            http_async_client=connections,
            model="one",
            base_url=f"{running.url}/v1",
            api_key=SecretStr(running.key),
            max_retries=0,
            use_responses_api=responses,
        )

        with pytest.raises(langchain_wrong.ContextOverflowError):
            await chat.ainvoke("Hi?")


CHUNK: dict[str, object] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "engine-one",
    "choices": [
        {
            "index": 0,
            "delta": {"reasoning": "so", "content": "x"},
            "finish_reason": "stop",
            "stop_reason": 2,
            "token_ids": [5],
        }
    ],
}


@pytest.mark.parametrize("raw", [False, True])
async def test_a_tenant_gets_an_engines_own_members_only_if_its_policy_says_so(
    tmp_path: Path, engine: ScriptedEngine, raw: bool
) -> None:
    events_of = b"data: " + orjson.dumps(CHUNK) + b"\n\ndata: [DONE]\n\n"
    engine.script_for = lambda record: Script(pieces=(Piece(data=events_of),))
    backend = {"url": engine.url, "family": "vllm", "serves": {"one": "engine-one"}}
    tenants = {"acme": f"raw_engine_fields = {str(raw).lower()}"}
    async with await start(
        tmp_path, [backend], plugins=["llm"], models={}, tenants=tenants, more=ONE
    ) as running:
        client = await send(running.url, ask.chat(1, model="one", stream=True), key=running.key)
    [chunk] = events(client)
    [choice] = chunk["choices"]

    assert chunk["model"] == "one"
    assert choice["delta"] == {"reasoning_content": "so", "reasoning": "so", "content": "x"}
    assert ("token_ids" in choice, "stop_reason" in choice) == (raw, raw)


async def test_tenants_share_no_prefix_cache_of_an_engine(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    backend = {"url": engine.url, "family": "vllm", "serves": {"one": "engine-one"}}
    tenants = {"acme": "", "other": ""}
    async with await start(
        tmp_path, [backend], plugins=["llm"], models={}, tenants=tenants, more=ONE
    ) as running:
        for key in (*running.keys.values(), running.key):
            await send(running.url, ask.chat(1, model="one", cache_salt="mine"), key=key)
    first, other, again = [record.asked.json["cache_salt"] for record in engine.records]

    assert first == again != other
    assert "mine" not in (first, other)
    assert "acme" not in first
