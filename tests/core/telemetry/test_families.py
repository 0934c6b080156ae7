from __future__ import annotations

from pathlib import Path

import pytest

from modgate.api.vitals import Load
from modgate.telemetry.exposition import BadText
from modgate.telemetry.families import FAMILIES

VLLM = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="qwen"} 3.0
vllm:num_requests_running{engine="1",model_name="qwen"} 4.0
vllm:num_requests_waiting{engine="0",model_name="qwen"} 0.0
vllm:num_requests_waiting{engine="1",model_name="qwen"} 2.0
vllm:num_requests_waiting_by_reason{engine="1",model_name="qwen",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="qwen"} 0.75
"""
SGLANG = b"""sglang:num_running_reqs{dp_rank="0",model_name="q",tp_rank="0"} 5
sglang:num_running_reqs{dp_rank="0",model_name="q",tp_rank="1"} 5
sglang:num_running_reqs{dp_rank="1",model_name="q",tp_rank="0"} 1
sglang:num_queue_reqs{model_name="q"} 7
sglang:token_usage{model_name="q"} 0.5
"""
LLAMA = b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 4\n"
TRT = b"""nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 9
nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 2
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m"} 0.125
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="m"} 300
"""
PLAIN = b"""nv_inference_pending_request_count{model="a",version="1"} 2
nv_inference_pending_request_count{model="b",version="1"} 3
"""


@pytest.mark.parametrize(
    ("family", "page", "load"),
    [
        ("vllm", VLLM, Load(running=7, waiting=2, kv_use=0.75)),
        ("vllm", b"vllm:gpu_cache_usage_perc 0.5\n", Load(kv_use=0.5)),
        ("sglang", SGLANG, Load(running=6, waiting=7, kv_use=0.5)),
        ("llamacpp", LLAMA, Load(running=1, waiting=4)),
        ("tei", b"te_queue_size 12\nte_request_count 99\n", Load(waiting=12)),
        ("triton", TRT, Load(running=9, waiting=2, kv_use=0.125)),
        ("triton", PLAIN, Load(waiting=5)),
        ("trtllm", b"trtllm_num_requests_waiting 1\n", Load(waiting=1)),
    ],
)
def test_each_family_says_its_load_in_its_own_words(family: str, page: bytes, load: Load) -> None:
    assert FAMILIES[family].load(page) == load


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_not_said_is_unknown_and_not_zero(family: str) -> None:
    assert FAMILIES[family].load(b"other 1\n") == Load()


def test_the_page_of_a_real_server_is_read() -> None:
    """Captured from llama.cpp's server (xllamacpp 2026.10.11549), one slot, three requests."""
    page = (Path(__file__).parent / "golden" / "llamacpp.txt").read_bytes()

    assert FAMILIES["llamacpp"].load(page) == Load(running=1, waiting=2)


def test_what_cannot_be_is_unknown() -> None:
    page = (
        b"vllm:num_requests_running -1\nvllm:kv_cache_usage_perc 42\nvllm:num_requests_waiting 1\n"
    )

    assert FAMILIES["vllm"].load(page) == Load(waiting=1)


def test_what_ranks_say_together_stays_finite() -> None:
    """A sum without end would make work of it that no later page could correct."""
    page = b"".join(
        b'vllm:num_requests_waiting{engine="%d"} 1e308\nvllm:num_requests_running{engine="%d"} 4\n'
        % (n, n)
        for n in range(4)
    )

    assert FAMILIES["vllm"].load(page) == Load(running=16)


def test_a_page_that_cannot_be_read_says_nothing_at_all() -> None:
    with pytest.raises(BadText):
        FAMILIES["vllm"].load(VLLM + b"vllm:num_requests_waiting{ 1\n")
