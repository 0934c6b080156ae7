"""Engines by a Kubernetes service: its EndpointSlices are listed once, then watched.

LIST gives a resourceVersion, from which WATCH goes on; a watch that ends goes on from the last one
it told, a 410 begins anew.  Facts of a real API server: a resourceVersion that is too old is
answered with 200 and one ERROR event with code 410; an object that leaves the selector comes as
DELETED; a BOOKMARK has nothing but a resourceVersion.  Source: stack.md 4; algorithms.md 7;
kubernetes.io, API concepts.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import orjson
from pydantic import Field, field_validator

from modgate.api.authenticator import Document
from modgate.api.discover import (
    Away,
    Discoverer,
    Finding,
    Found,
    Get,
    Instance,
    Line,
    Lost,
    More,
    Number,
    Pause,
    Read,
    Watch,
)
from modgate.api.json import JsonObject
from modgate.discover.reach import Reach
from modgate.discover.slices import Slices, name_of, version_of
from modgate.kit.finding import backoff_s, document

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 500
PAGES_AT_MOST = 200
WATCH_S = 240.0
JITTER_S = 60.0
BEYOND_S = 15.0  # a watch that outlives its own time by this is on a dead connection
RECONCILE_S = 900.0
STEADY_S = 60.0
SHORT_S = 1.0
GONE = 410


class KubernetesConfig(Reach):
    """The keys of kind `kubernetes`."""

    service: str = Field(min_length=1, description="the service whose endpoints are engines")
    namespace: str = Field("", description="where it is; default that of the gateway's pod")
    port: str | int | None = Field(
        None, description="name or number of the engines' port; default the first"
    )
    api: str = Field("https://kubernetes.default.svc", description="the API server")
    token: Path | None = Field(
        ACCOUNT / "token", description="file with the bearer token, read for each request"
    )
    api_ca: Path | None = Field(
        ACCOUNT / "ca.crt", description="PEM file that the API server's certificate is judged by"
    )

    @field_validator("api")
    @classmethod
    def _api(cls, text: str) -> str:
        if not text.startswith(("https://", "http://")) or "@" in text:
            raise ValueError('reads "https://HOST:PORT"')
        return text.rstrip("/")


class Gone(Exception):
    """The API server does not know that resourceVersion any more."""


class Kubernetes(Discoverer[KubernetesConfig]):
    """Follows one service.  While the API server is away the last set stays."""

    name = "kubernetes"
    config_type = KubernetesConfig

    def __init__(self, config: KubernetesConfig) -> None:
        super().__init__(config)
        self._slices = Slices(reach=config, port=config.port)
        self._told: list[Instance] | None = None
        self._namespace = config.namespace

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        """List, follow until a relist is due, list again."""
        tries = 0
        while True:
            began = now()
            try:
                version = yield from self._list()
                yield from self._follow(version, now, rng)
            except Gone:
                tries = 0 if now() - began > STEADY_S else tries
                yield Pause(for_s=backoff_s(tries, rng))
                tries += 1
            except Away as error:
                yield Lost(reason=str(error))
                yield Pause(for_s=backoff_s(tries, rng))
                tries += 1
            else:
                tries = 0

    def _list(self) -> Finding[str]:
        """The whole list, in pages; its resourceVersion."""
        if not self._namespace:
            told = yield from document(Read(path=ACCOUNT / "namespace"))
            self._namespace = told.body.decode("utf-8", "replace").strip()
        listed: dict[str, JsonObject] = {}
        on = ""
        for _ in range(PAGES_AT_MOST):
            url = self._url(limit=str(PAGE), **({"continue": on} if on else {}))
            reply = yield from document(
                Get(url=url, token=self.config.token, ca=self.config.api_ca)
            )
            page = _good(reply)
            items = page.get("items")
            for each in items if isinstance(items, list) else ():
                if isinstance(each, dict):
                    listed[name_of(each)] = each
            metadata = page.get("metadata")
            on = str((metadata.get("continue") if isinstance(metadata, dict) else "") or "")
            if not on:
                self._slices.replace(listed)
                yield from self._tell(fresh=True)
                return version_of(page)
        raise Away("the API server's list has no end")

    def _follow(self, version: str, now: Number, rng: Number) -> Finding[None]:
        """Watch until it is time to look whether all is as it should be.

        A server that answers and then breaks off is asked again, less and less often.
        """
        until = now() + RECONCILE_S * (0.9 + 0.2 * rng())
        tries = 0
        while now() < until:
            began, before = now(), version
            try:
                version = yield from self._watch(version, rng)
            except Away as error:
                yield Lost(reason=str(error))
                yield Pause(for_s=backoff_s(tries, rng))
                tries += 1
                continue
            if (short := now() - began < SHORT_S) and version == before:
                tries += 1
            else:
                tries = 0
            if short:
                yield Pause(for_s=backoff_s(tries, rng))

    def _watch(self, version: str, rng: Number) -> Finding[str]:
        """One watch to its end; the resourceVersion that the next one begins from."""
        seconds = int(WATCH_S + JITTER_S * rng())
        told = yield Watch(
            url=self._url(
                watch="1",
                allowWatchBookmarks="true",
                resourceVersion=version,
                timeoutSeconds=str(seconds),
            ),
            token=self.config.token,
            ca=self.config.api_ca,
            within_s=seconds + BEYOND_S,
        )
        if isinstance(told, Document):
            _good(told)
            raise Away("the API server answered a watch with a document")
        yield from self._tell(fresh=True)
        while isinstance(told, Line):
            if told.data:
                version = self._event(told.data) or version
                yield from self._tell()
            try:
                told = yield More()
            except Away:  # the same as an end: it goes on from what was told last
                return version
        return version

    def _event(self, line: bytes) -> str:
        """Take one event in; its resourceVersion.  Gone for whatever cannot be gone on from."""
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise Gone from None
        kind = event.get("type") if isinstance(event, dict) else None
        held = event.get("object") if isinstance(event, dict) else None
        if not isinstance(held, dict) or kind == "ERROR":
            raise Gone
        if kind in ("ADDED", "MODIFIED"):
            self._slices.put(held)
        elif kind == "DELETED":
            self._slices.drop(held)
        return version_of(held)

    def _tell(self, *, fresh: bool = False) -> Finding[None]:
        """Say what there is, when it is something else or was in doubt."""
        found = self._slices.instances()
        if fresh or found != self._told:
            self._told = found
            yield Found(instances=found)

    def _url(self, **query: str) -> str:
        selector = f"kubernetes.io/service-name={self.config.service}"
        at = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        return f"{self.config.api}{at}?{urlencode({'labelSelector': selector, **query})}"


def _good(reply: Document) -> JsonObject:
    """A list; Gone or Away for any other reply."""
    if reply.status == GONE:
        raise Gone
    if reply.status != 200:
        raise Away(f"the API server answers with status {reply.status}")
    value = reply.fields()
    if not version_of(value):
        raise Away("the API server's reply is no list")
    return value
