"""llama.cpp's own server on a TCP port, with the demo model: `python llama_server.py PORT [mean]`.

With a pooling it embeds, without it writes text.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import xllamacpp

from modgate_llm.engine import GGUF, SmolLm


def serve(port: int, pooling: str) -> None:
    """Until the process is ended."""
    params = xllamacpp.CommonParams()
    params.model.path = str(Path(os.environ["MODGATE_DATA"]) / GGUF)
    params.model_alias = {SmolLm.model}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_batch, params.n_ubatch = 1024, 256, 256
    params.n_gpu_layers, params.n_parallel = 0, 2
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params = params.warmup = False
    if pooling:
        params.embedding = True
        kinds = xllamacpp.llama_pooling_type
        params.pooling_type = getattr(kinds, f"LLAMA_POOLING_TYPE_{pooling.upper()}")
    server = xllamacpp.Server(params)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    serve(int(sys.argv[1]), "".join(sys.argv[2:3]))
