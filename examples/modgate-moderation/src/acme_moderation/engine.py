"""The local engine: a small classifier in plain Python, also as a server of its own.

`modgate serve` without a file runs it as a child process.  With a file an engine is a backend, so
there is `acme-moderation --port 9000`, which serves the same on loopback.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

import orjson
from aiohttp import web

from acme_moderation.classifier import Classifier, examples
from modgate.kit.serve import Incoming, serve
from modgate.plugin import Fields, Json, LocalEngine, Refused, Report

JUDGE = "/moderate"


class Sentences(LocalEngine):
    """Logistic regression over words, trained on the sentences in this package."""

    modality = "moderation"
    model = "sentences"
    aliases = ("omni-moderation-latest", "text-moderation-latest")
    note = "logistic regression over the words of some 160 sentences; a toy, no neural model"

    def missing(self) -> Sequence[str]:
        """Nothing: it is in the package."""
        return ()

    def load(self, report: Report) -> None:
        """Train; it takes about a second."""
        report("learning from its sentences")
        self._classifier = Classifier.trained(examples())

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {JUDGE: self._judge})

    def _judge(self, incoming: Incoming) -> Json:
        return judge(self._classifier, incoming.fields)


def judge(classifier: Classifier, asked: dict[str, Json]) -> Json:
    """The reply of the home wire."""
    texts = Fields(asked).texts("input")
    return {"scores": [classifier.scores(text) for text in texts]}


def main() -> None:
    """`acme-moderation [--host HOST] [--port PORT]`: serve the home wire over TCP."""
    parser = ArgumentParser(description="judge texts in the home wire of acme-moderation")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    given = parser.parse_args()
    classifier = Classifier.trained(examples())

    async def answer(request: web.Request) -> web.Response:
        try:
            asked = orjson.loads(await request.read())
            told, status = judge(classifier, asked if isinstance(asked, dict) else {}), 200
        except (orjson.JSONDecodeError, Refused) as error:
            told, status = {"error": {"message": str(error)}}, 400
        return web.json_response(told, status=status)

    async def healthy(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.post(JUDGE, answer), web.get("/health", healthy)])
    web.run_app(app, host=given.host, port=given.port, access_log=None)
