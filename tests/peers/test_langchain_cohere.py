"""Langchain's ChatCohere, which wants another cohere SDK than ours: from its own place."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from conversing import chunk, whole
from rigs.weather import CITIES, MESSAGE, USAGE, serving

from modgate.testing import Scripted
from peers.engines import environment_of
from peers.places import HERE, program

pytestmark = pytest.mark.slow

HI = (chunk({"content": "H"}), chunk({"content": "i"}), chunk({}, "stop"), chunk(None, usage=USAGE))


def says(text: str) -> Scripted:
    return Scripted(reply=whole({"role": "assistant", "content": text}))


async def test_chat_cohere_calls_tools_streams_and_asks_for_json(tmp_path: Path) -> None:
    environment_of("langchain-cohere")
    calls = Scripted(reply=whole({**MESSAGE, "content": "I look."}, "tool_calls"))
    answers = (calls, says("Sun."), Scripted(reply=HI), says('{"city":"Paris"}'))
    async with serving(tmp_path, *answers) as (running, engine):
        asking = await asyncio.create_subprocess_exec(
            program("python", "langchain-cohere"),
            HERE / "ask_langchain_cohere.py",
            running.url,
            env={**os.environ, "MODGATE_KEY": running.key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(asking.communicate(), 120)
        told = [call.json() for call in engine.calls]
    assert asking.returncode == 0, err.decode()

    said = json.loads(out)
    assert (said["plan"], said["last"], said["pieces"]) == ("I look.", "Sun.", ["H", "i"])
    assert said["calls"] == [["weather", {"city": city}] for city in CITIES]
    assert said["tokens"]["input_tokens"] == 9
    assert said["finish"] == "COMPLETE"
    assert said["formed"] == {"city": "Paris"}
    first, answered, _, formed = told
    assert first["tools"][0]["function"]["name"] == "weather"
    calls_again = [call["function"]["arguments"] for call in answered["messages"][1]["tool_calls"]]
    assert [json.loads(each) for each in calls_again] == [{"city": city} for city in CITIES]
    assert [json.loads(each["content"]) for each in answered["messages"][2:]] == [
        {"output": "sun"}
    ] * len(CITIES)
    assert formed["response_format"]["json_schema"]["schema"]["required"] == ["city"]
