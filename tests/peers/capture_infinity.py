"""Golden transcripts of Infinity, embedding and reranking, captured while it really runs.

    infinity_emb v2 --model-id PATH --served-model-name tiny --model-id PATH \
        --served-model-name ranker --port 18511 --url-prefix ""
    ./dev python tests/peers/capture_infinity.py http://127.0.0.1:18511

The server lives in an environment of its own (infinity-emb[server,torch]).  What its models say
does not matter here: two small BERT models with weights by chance will do, the second one with a
head of one label.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from written import Server, asked_of, ready, write

from modgate.plugin import Body, Call, Dialect, JsonObject, Served
from modgate_embedding.dialects import EmbeddingInfinity
from modgate_rerank.dialects import RerankInfinity

PLUGINS = Path(__file__).parents[2] / "plugins"
EMBED, RERANK = "/v1/embeddings", "/v2/rerank"
SERVER = Server(
    engine="Infinity",
    version="0.0.78",
    command="./dev python tests/peers/capture_infinity.py http://127.0.0.1:18511",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to be captured, of the engine's model of that name."""

    name: str
    path: str
    body: JsonObject
    served: str

    def dialect(self) -> Dialect:
        """For one attempt of the call."""
        kind = EmbeddingInfinity if self.path == EMBED else RerankInfinity
        call = Call(path=self.path, body=Body.of(**self.body))
        return kind(call, Served(asked="m", model="m", name=self.served))

    @property
    def file(self) -> Path:
        """Where it is written."""
        plugin = "embedding" if self.path == EMBED else "rerank"
        return PLUGINS / plugin / "tests/transcripts/infinity" / f"{self.name}.toml"


def _embed(name: str, *texts: str, served: str = "tiny") -> Asked:
    return Asked(name=name, path=EMBED, body={"model": "m", "input": texts}, served=served)


def _rank(name: str, *documents: str, served: str = "ranker") -> Asked:
    body: JsonObject = {"query": "what is a panda?", "documents": documents}
    return Asked(name=name, path=RERANK, body=body, served=served)


CALLS = (
    _embed("two", "fox", "a quick brown fox"),
    _embed("longer-than-the-model", "fox " * 100),
    _embed("unknown-model", "fox", served="other"),
    _embed("a-reranker", "fox", served="ranker"),
    _rank("two", "hi", "the giant panda is a bear"),
    _rank("longer-than-the-model", "panda " * 100, "hi"),
    _rank("unknown-model", "hi", served="other"),
    _rank("no-reranker", "hi", served="tiny"),
)


async def main(url: str) -> None:
    """Ask and write."""
    async with aiohttp.ClientSession(url) as session:
        await ready(session)
        for asked in CALLS:
            said = await asked_of(session, asked.dialect())
            write(asked.file, asked.body, asked.dialect, said, SERVER)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
