"""What each family of engines is sent, and what its errors become."""

from __future__ import annotations

import orjson
import pytest

from modgate.errors import GatewayError, Overloaded, Refused, UpstreamFailed
from modgate.plugin import Body, Call, Dialect, Event, Json, JsonObject, Served
from modgate_llm.dialects import LlmHome, LlmLlamaCpp, LlmOpenAi, LlmSglang, LlmVllm

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SERVED = Served(asked="m", model="m", name="vendor/engine")
TOOL: JsonObject = {"type": "function", "function": {"name": "f"}}
ALL = [LlmHome, LlmOpenAi, LlmVllm, LlmSglang, LlmLlamaCpp]


def speaking(kind: type[Dialect], path: str = CHAT, reply: str = "sse", **body: Json) -> Dialect:
    made = Body.of(**{"model": "m", "messages": [], **body})
    call = Call(path=path, body=made, reply="sse" if reply == "sse" else "whole")
    return kind(call, SERVED)


def sent(dialect: Dialect) -> JsonObject:
    content = dialect.encode().body.content
    assert isinstance(content, bytes)
    value: JsonObject = orjson.loads(content)
    return value


@pytest.mark.parametrize(
    ("kind", "path", "name"),
    [
        *((kind, CHAT, "max_tokens") for kind in ALL if kind is not LlmOpenAi),
        (LlmOpenAi, CHAT, "max_completion_tokens"),
        *((kind, COMPLETIONS, "max_tokens") for kind in ALL),
    ],
)
@pytest.mark.parametrize("asked", ["max_tokens", "max_completion_tokens"])
def test_the_maximum_has_the_name_that_the_engine_knows(
    kind: type[Dialect], path: str, name: str, asked: str
) -> None:
    body = sent(speaking(kind, path, **{asked: 7}))

    assert {key: value for key, value in body.items() if key.startswith("max_")} == {name: 7}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(LlmVllm, "reasoning"), (LlmSglang, "reasoning_content"), (LlmLlamaCpp, "reasoning_content")],
)
@pytest.mark.parametrize("asked", ["reasoning", "reasoning_content"])
def test_earlier_reasoning_has_the_name_that_the_engine_reads(
    kind: type[Dialect], name: str, asked: str
) -> None:
    said = {"role": "assistant", "content": "x", asked: "because"}
    [message] = sent(speaking(kind, messages=[said]))["messages"]

    assert message == {"role": "assistant", "content": "x", name: "because"}


def test_earlier_reasoning_is_left_out_for_an_engine_that_refuses_it() -> None:
    said = {"role": "assistant", "content": "x", "reasoning": "a", "reasoning_content": "a"}

    assert sent(speaking(LlmOpenAi, messages=[said]))["messages"] == [
        {"role": "assistant", "content": "x"}
    ]


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        (LlmHome, "developer"),
        (LlmOpenAi, "developer"),
        (LlmVllm, "system"),
        (LlmSglang, "system"),
        (LlmLlamaCpp, "system"),
    ],
)
def test_a_developer_is_told_where_templates_know_none(kind: type[Dialect], role: str) -> None:
    asked = [{"role": "developer", "content": "x"}, {"role": "user", "content": '"developer"'}]
    told = sent(speaking(kind, messages=asked))["messages"]

    assert told == [{"role": role, "content": "x"}, asked[1]]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"include_usage": True}, False),
        ({"include_usage": True, "include_obfuscation": True}, True),
    ],
)
def test_a_paid_api_pads_no_stream_unless_the_client_wants_it(
    asked: JsonObject, told: bool
) -> None:
    options = sent(speaking(LlmOpenAi, stream_options=asked))["stream_options"]

    assert options == {"include_usage": True, "include_obfuscation": told}


@pytest.mark.parametrize("kind", ALL)
def test_a_key_that_the_engine_refuses_is_the_operators_fault(kind: type[Dialect]) -> None:
    for body in (b'{"error":"Unauthorized"}', b'{"error":{"message":"bad key","code":401}}'):
        error = speaking(kind).refusal(401, {}, body)

        assert isinstance(error, UpstreamFailed)
        assert "key" not in error.message
        assert "Unauthorized" not in error.message


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("status", [429, 503])
def test_an_overload_says_when_to_come_again(kind: type[Dialect], status: int) -> None:
    error = speaking(kind).refusal(status, {"retry-after": "7"}, b'{"error":{"message":"full"}}')

    assert isinstance(error, Overloaded)
    assert error.retry_after == 7


def test_a_spent_quota_is_the_operators() -> None:
    body = b'{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}'

    assert isinstance(speaking(LlmOpenAi).refusal(429, {}, body), UpstreamFailed)


@pytest.mark.parametrize("kind", ALL)
def test_a_refusal_is_passed_on_under_the_clients_name_of_the_model(kind: type[Dialect]) -> None:
    body = b'{"error":{"message":"vendor/engine takes no top_k","code":400}}'
    error = speaking(kind).refusal(400, {}, body)

    assert isinstance(error, Refused)
    assert error.message == "m takes no top_k"


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("param", "code", "field", "told"),
    [
        ("min_p", 400, "min_p", "invalid_value"),
        ("messages[0].content", "unsupported_value", "messages[0].content", "unsupported_value"),
        ("/srv/models x", "No Such Code", None, "invalid_value"),
        (None, None, None, "invalid_value"),
    ],
)
def test_a_refusal_names_what_the_engine_names(
    kind: type[Dialect], param: Json, code: Json, field: str | None, told: str
) -> None:
    body = orjson.dumps({"error": {"message": "no", "param": param, "code": code}})
    error = speaking(kind).refusal(400, {}, body)

    assert (error.field, error.code) == (field, told)


@pytest.mark.parametrize("kind", ALL)
def test_a_model_that_the_engine_lacks_is_the_operators_fault(kind: type[Dialect]) -> None:
    body = b'{"object":"error","message":"The model `vendor/engine` does not exist.","code":404}'

    assert isinstance(speaking(kind).refusal(404, {}, body), UpstreamFailed)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("reply", ["sse", "whole"])
@pytest.mark.parametrize(
    ("data", "error", "code"),
    [
        (b'{"object":"error","message":"no","code":500}', UpstreamFailed, "upstream_error"),
        (b'{"object":"error","message":"busy","code":503}', Overloaded, "overloaded"),
        (b'{"error":{"message":"bad top_k","code":400}}', Refused, "invalid_value"),
        (b'{"error":"some text"}', UpstreamFailed, "upstream_error"),
        (
            b'{"error":{"object":"error","message":"The input (9 tokens) is longer than the '
            b'model\'s context length (8 tokens).","code":400}}',
            Refused,
            "context_length_exceeded",
        ),
        (
            b'{"object":"error","message":"This model\'s maximum context length is 8 tokens. '
            b'However, your request has 9 input tokens.","code":null}',
            Refused,
            "context_length_exceeded",
        ),
    ],
)
def test_an_error_inside_a_good_reply_is_raised(
    kind: type[Dialect], reply: str, data: bytes, error: type[GatewayError], code: str
) -> None:
    with pytest.raises(error) as caught:
        list(speaking(kind, reply=reply).decode(Event(data)))

    assert caught.value.code == code


@pytest.mark.parametrize("kind", [LlmVllm, LlmSglang])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_what_an_engine_caches_is_kept_apart_by_caller(kind: type[Dialect], path: str) -> None:
    for isolation, told in (("a1", {"cache_salt": "a1"}), ("", {})):
        call = Call(path=path, body=Body.of(model="m"), isolation=isolation)

        assert sent(kind(call, SERVED)) == {"model": SERVED.name, **told}


def test_vllms_counter_speaks_the_home_wire() -> None:
    dialect = speaking(LlmVllm, "/tokenize", "whole")
    [event] = dialect.decode(Event(b'{"count":3,"max_model_len":8,"tokens":[1,2,3]}'))

    assert event.data == b'{"count":3}'


def test_sglang_counts_reasoning_where_the_wire_has_it() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 5, "reasoning_tokens": 4}
    data = orjson.dumps({"choices": [], "usage": usage})
    [event] = speaking(LlmSglang).decode(Event(data))

    assert orjson.loads(event.data)["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 4},
    }


def test_a_reply_of_sglang_was_created_once() -> None:
    """Its server writes the time of each chunk, the last one's too."""
    dialect = speaking(LlmSglang)
    chunks: list[JsonObject] = [
        *({"choices": [{"index": 0, "delta": {"content": "a"}}]} for _ in range(3)),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 3}},
    ]
    told: list[JsonObject] = []
    for second, chunk in enumerate(chunks):
        event = Event(orjson.dumps({"id": "c", "created": 10 + second, **chunk}))
        told += [orjson.loads(each.data) for each in dialect.decode(event)]

    assert [value["created"] for value in told] == [10] * len(chunks)


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        (LlmVllm, {"prompt_text": "<|user|>hi", "ec_transfer_params": None, "metrics": {"a": 1}}),
        (LlmSglang, {"sglext": {"routed_experts": "x"}, "metadata": {"weight_version": "v1"}}),
        (LlmLlamaCpp, {"prompt_progress": {"total": 9}, "timings": {"prompt_n": 9}}),
    ],
)
def test_what_is_an_engines_own_stays_inside(kind: type[Dialect], extra: JsonObject) -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
    [event] = speaking(kind).decode(Event(orjson.dumps({"choices": [choice], **extra})))

    assert orjson.loads(event.data) == {"choices": [choice]}


@pytest.mark.parametrize("kind", ALL)
def test_a_chunk_of_several_data_lines_is_one_line(kind: type[Dialect]) -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
    dialect, lines = speaking(kind), orjson.dumps({"choices": [choice]}).replace(b",", b",\n")
    told = [each.data for _ in range(3) for each in dialect.decode(Event(lines))]

    assert [b"\n" in data for data in told] == [False] * 3
    assert [orjson.loads(data)["choices"] for data in told] == [[choice]] * 3


@pytest.mark.parametrize("usage", [True, False])
def test_a_reply_of_llamacpp_was_created_once(usage: bool) -> None:
    """Its server writes the time of each chunk."""
    dialect = speaking(LlmLlamaCpp)
    told: list[Json] = []
    for second in range(3):
        choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
        chunk: JsonObject = {"choices": [choice], "created": 10 + second}
        if second == 2 and usage:
            chunk |= {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
        told += [orjson.loads(event.data) for event in dialect.decode(Event(orjson.dumps(chunk)))]
    finish = {"index": 0, "delta": {}, "finish_reason": "stop"}
    list(dialect.decode(Event(orjson.dumps({"choices": [finish], "created": 13}))))
    told += [orjson.loads(event.data) for event in dialect.end(True)]

    assert len(told) == 3
    assert {value["created"] for value in told} == {10}


def test_a_whole_reply_that_llamacpp_broke_off_is_none() -> None:
    dialect = speaking(LlmLlamaCpp, reply="whole")
    said = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
    list(dialect.decode(Event(orjson.dumps({"choices": [said]}))))

    with pytest.raises(UpstreamFailed):
        dialect.end(False)


def test_a_model_further_in_is_not_taken_for_the_replys() -> None:
    dialect = speaking(LlmHome, reply="whole")
    inside = {"index": 0, "message": {"model": "other", "content": "hi"}}
    [event] = dialect.decode(Event(orjson.dumps({"choices": [inside], "model": "e"})))

    assert event.json() == {"choices": [inside], "model": "m"}


def test_a_prompt_is_counted_with_its_tools() -> None:
    dialect = speaking(LlmLlamaCpp, "/tokenize", "whole", messages=[], tools=[TOOL])

    assert sent(dialect) == {"messages": [], "tools": [TOOL]}


STOPPED: JsonObject = {
    "choices": [{"finish_reason": "stop", "index": 0, "delta": {}}],
    "__verbose": {"stop_type": "word", "stopping_word": "END", "prompt": "secret"},
}


@pytest.mark.parametrize("reply", ["sse", "whole"])
def test_llamacpp_is_asked_which_stop_string_it_met(reply: str) -> None:
    dialect = speaking(LlmLlamaCpp, reply=reply, stop=["END"])
    assert sent(dialect)["verbose"] is True

    told = [*dialect.decode(Event(orjson.dumps(STOPPED))), *dialect.end(True)]
    [event] = told

    assert orjson.loads(event.data)["choices"][0]["stop_reason"] == "END"
    assert b"secret" not in event.data


def test_llamacpp_that_met_no_stop_string_says_none() -> None:
    account = {"stop_type": "eos", "stopping_word": ""}
    dialect = speaking(LlmLlamaCpp, stop=["END"])
    [event] = dialect.decode(Event(orjson.dumps({**STOPPED, "__verbose": account})))

    assert orjson.loads(event.data) == {"choices": STOPPED["choices"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, {}), (COMPLETIONS, {"stop": ["END"]}), (CHAT, {"stop": "a", "messages": "x" * 2**21})],
    ids=["no stop", "completion", "long prompt"],
)
def test_llamacpp_is_not_asked_for_its_account_without_need(path: str, body: JsonObject) -> None:
    assert "verbose" not in sent(speaking(LlmLlamaCpp, path, **body))


def likely(token: str) -> JsonObject:
    top = [{"id": 1, "token": token, "bytes": [1], "logprob": -0.5}, {"token": "x", "logprob": -2}]
    return {"id": 1, "token": token, "bytes": [1], "logprob": -0.5, "top_logprobs": top}


@pytest.mark.parametrize("reply", ["sse", "whole"])
def test_the_logprobs_of_a_completion_are_in_the_older_words(reply: str) -> None:
    dialect = speaking(LlmLlamaCpp, COMPLETIONS, reply, logprobs=1)
    told: list[Event] = []
    for finish, token in ((None, " wé"), ("length", " go")):
        choice = {"index": 0, "text": token, "logprobs": {"content": [likely(token)]}}
        chunk = {"choices": [{**choice, "finish_reason": finish}], "object": "text_completion"}
        told += dialect.decode(Event(orjson.dumps(chunk)))
    told += dialect.end(True)
    parts = [orjson.loads(event.data)["choices"][0]["logprobs"] for event in told]

    assert len(parts) == (2 if reply == "sse" else 1)
    assert {name: [each for part in parts for each in part[name]] for name in parts[0]} == {
        "tokens": [" wé", " go"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{" wé": -0.5, "x": -2}, {" go": -0.5, "x": -2}],
        "text_offset": [0, 3],
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"echo": False, "suffix": "", "best_of": 2, "n": 2}, None),
        ({"echo": None, "best_of": 1}, None),
    ],
)
def test_what_llamacpp_would_leave_out_in_silence_is_refused(
    body: JsonObject, field: str | None
) -> None:
    dialect = speaking(LlmLlamaCpp, COMPLETIONS, prompt="a", **body)
    if field is None:
        assert sent(dialect)["prompt"] == "a"
        return
    with pytest.raises(Refused) as caught:
        dialect.encode()

    assert (caught.value.field, caught.value.code) == (field, "unsupported_value")


@pytest.mark.parametrize("kind", ["audio", "image"])
def test_what_a_model_of_llamacpp_cannot_take_is_the_clients_fault(kind: str) -> None:
    told = f"{kind} input is not supported - hint: you may need to provide the mmproj"
    body = orjson.dumps({"error": {"code": 500, "message": told, "type": "server_error"}})
    error = speaking(LlmLlamaCpp).refusal(500, {}, body)

    assert isinstance(error, Refused)
    assert (error.status, error.field, error.code) == (400, "messages", "unsupported_value")
    assert error.message == f"this model takes no {kind} input"
