"""A conversation through the llm modality, without sockets."""

from __future__ import annotations

from pathlib import Path

import orjson

from modgate.plugin import Event, JsonObject, Plan, Relay, Request, Sample
from modgate.testing import Drive, Played, Rig
from modgate_llm.config import Config
from modgate_llm.modality import Llm

USAGE: JsonObject = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
FRONT: JsonObject = {"id": "chatcmpl-7", "created": 1730000000, "model": "m"}


def chunk(delta: JsonObject | None, finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    choices = [] if delta is None else [choice]
    return orjson.dumps({**FRONT, "object": "chat.completion.chunk", "choices": choices, **more})


def whole(message: JsonObject, finish: str = "stop", **more: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    return orjson.dumps({**FRONT, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def request(rig: Rig, path: str, body: JsonObject) -> Request:
    return rig.request(Sample(path=path, json=body))


def planned(folder: Path, path: str, body: JsonObject) -> Plan:
    with Rig(Llm(Config()), folder) as rig:
        return rig.plan(Sample(path=path, json=body))


def sent(folder: Path, path: str, body: JsonObject) -> JsonObject:
    """The chat that an engine is sent."""
    plan = planned(folder, path, body)
    assert isinstance(plan.calls, tuple)
    [call] = plan.calls
    assert call.path == "/v1/chat/completions"
    content = call.body.content
    assert isinstance(content, bytes)
    made: JsonObject = orjson.loads(content)
    return made


def played(folder: Path, path: str, body: JsonObject, *upstream: bytes) -> Played:
    plan = planned(folder, path, body)
    with Rig(Llm(Config()), folder) as rig:
        return rig.drive(plan).play(lambda index, call: [Event(each) for each in upstream])


def begun(folder: Path, path: str, body: JsonObject, *upstream: bytes) -> Relay:
    """A stream that has not ended."""
    plan = planned(folder, path, body)
    with Rig(Llm(Config()), folder) as rig:
        drive: Drive = rig.drive(plan)
        drive.draw()
        for each in upstream:
            drive.feed(Event(each))
    return plan.relay
