"""A tool's call that its engine gave no id can be answered, of which OpenAI's SDK has its id."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from conversing import chunk, whole
from rigs.weather import MESSAGE, STREAM, serving
from sdks import openai

from modgate.testing import Scripted

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = {"role": "user", "content": "Weather?"}


def nameless(reply: bytes) -> bytes:
    """A reply without the ids of its calls."""
    for index in range(2):
        reply = reply.replace(b'"id":"call_%d",' % index, b"")
    assert b'"call_' not in reply
    return reply


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_without_an_id_can_be_answered(tmp_path: Path, stream: bool) -> None:
    whole_reply = nameless(whole(MESSAGE, "tool_calls"))
    reply = tuple(map(nameless, STREAM)) if stream else whole_reply
    answer = (chunk({"content": "sun"}, "stop"),)
    answers = (Scripted(reply=reply), Scripted(reply=answer))
    async with (
        serving(tmp_path, *answers) as (running, engine),
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=running.key) as client,
    ):
        chat = client.chat.completions
        if stream:
            async with chat.stream(model="chat", messages=[ASKED], tools=[TOOL]) as told:
                said = (await told.get_final_completion()).choices[0].message
        else:
            told_whole = await chat.create(model="chat", messages=[ASKED], tools=[TOOL])
            said = told_whole.choices[0].message
        calls = said.tool_calls or []
        results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in calls]
        back = said.model_dump(include={"role", "content", "tool_calls"})
        await chat.create(model="chat", messages=[ASKED, back, *results], stream=True)

    sent = orjson.loads(engine.calls[1].body)["messages"]
    assert len({call["id"] for call in sent[1]["tool_calls"]}) == 2
