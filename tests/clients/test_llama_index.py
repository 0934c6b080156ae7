"""LlamaIndex's openai-like parts, which want another openai SDK than ours: from their own place."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest
from peers.engines import dot, environment_of
from peers.places import program

from clients.serving import ROOT, Served

pytestmark = [pytest.mark.models, pytest.mark.slow]

ASK = ROOT / "tests/peers/ask_llama_index.py"


def test_llama_index_chats_streams_and_embeds(
    served: Served, figure: Callable[[str], None]
) -> None:
    environment_of("llama-index", gated=True)
    run = subprocess.run(
        [program("python", "llama-index"), ASK, served.root],
        env={**os.environ, "MODGATE_KEY": served.key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr

    said = json.loads(run.stdout)
    fox, same, bread = said["vectors"]
    near, far = dot(fox, same), dot(fox, bread)
    figure(f"llama-index: {said['chat']!r}, cosines {near:.2f} and {far:.2f}")
    assert "hello" in said["chat"].lower()
    assert "".join(said["stream"]) == said["chat"]
    assert len(said["stream"]) > 1
    assert all(count > 0 for count in said["tokens"])
    assert near > far
