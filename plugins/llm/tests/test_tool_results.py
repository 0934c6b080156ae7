"""`/v1/messages`: what a call of the model came to, as the chat says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conversing import sent

from modgate.plugin import Json, JsonObject

PATH = "/v1/messages"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no such file", "Error: no such file"),
        ([{"type": "text", "text": "no such file"}], "Error: no such file"),
        ("ERROR 2: no such file", "ERROR 2: no such file"),
        (None, "Error: "),
        ([], "Error"),
    ],
)
def test_a_call_that_failed_says_so_in_its_text(tmp_path: Path, content: Json, told: str) -> None:
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": content, "is_error": True}
    turns: list[JsonObject] = [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    answer = sent(tmp_path, PATH, {"model": "m", "max_tokens": 50, "messages": turns})["messages"][
        -1
    ]

    assert answer == {"role": "tool", "tool_call_id": "t", "content": told}
