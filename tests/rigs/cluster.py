"""A Kubernetes API server as far as EndpointSlices go, with the semantics of a real one.

`Cluster` is its state and says what it would answer; `ApiServer` serves that over HTTP.  A watch
from a resourceVersion that was compacted away is answered with 200 and one ERROR event, then ends;
an object that leaves the selector arrives as DELETED; a bookmark has a resourceVersion only.
Source: stack.md 4.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

LABEL = "kubernetes.io/service-name"
PATH = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
Object = dict[str, Any]


def endpoint(
    address: str,
    *,
    uid: str = "",
    name: str = "",
    ready: bool | None = None,
    serving: bool | None = None,
    terminating: bool | None = None,
) -> Object:
    """An endpoint of a slice; conditions that are None are not said."""
    said = {"ready": ready, "serving": serving, "terminating": terminating}
    made: Object = {
        "addresses": [address],
        "conditions": {key: value for key, value in said.items() if value is not None},
    }
    if uid:
        made["targetRef"] = {"kind": "Pod", "uid": uid, "name": name or uid}
    return made


def slice_of(name: str, *endpoints: Object, port: int = 8000) -> Object:
    """An EndpointSlice."""
    return {
        "metadata": {"name": name, "labels": {LABEL: "vllm"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


class Cluster:
    """The slices of one namespace, and what became of them."""

    def __init__(self) -> None:
        self.version = 100
        self.compacted = 0
        self.slices: dict[str, Object] = {}
        self.events: list[tuple[int, str, Object]] = []

    def put(self, slice_: Object) -> None:
        """Make or change a slice."""
        name = slice_["metadata"]["name"]
        self.version += 1
        kept = json.loads(json.dumps(slice_))
        kept["metadata"]["resourceVersion"] = str(self.version)
        kind = "MODIFIED" if name in self.slices else "ADDED"
        self.slices[name] = kept
        self.events.append((self.version, kind, kept))

    def delete(self, name: str) -> None:
        """Delete a slice, or take it out of the selector: both arrive as DELETED."""
        gone = self.slices.pop(name, None)
        if gone is not None:
            self.version += 1
            gone = json.loads(json.dumps(gone))
            gone["metadata"]["resourceVersion"] = str(self.version)
            self.events.append((self.version, "DELETED", gone))

    def compact(self) -> None:
        """Forget what happened until now."""
        self.compacted = self.version
        self.events.clear()

    def list(self, query: dict[str, str]) -> tuple[int, Object]:
        """A page of the list, and its status."""
        limit = int(query.get("limit", "500"))
        if token := query.get("continue"):
            version, begin = (int(each) for each in token.split("."))
            if version < self.compacted:
                return 410, self.status(410)
        else:
            version, begin = self.version, 0
        names = sorted(self.slices)
        metadata = {"resourceVersion": str(version)}
        if begin + limit < len(names):
            metadata["continue"] = f"{version}.{begin + limit}"
        items = [self.slices[name] for name in names[begin : begin + limit]]
        return 200, {"kind": "EndpointSliceList", "metadata": metadata, "items": items}

    def since(self, version: int) -> list[Object]:
        """What a watch from there tells."""
        if version < self.compacted:
            return [{"type": "ERROR", "object": self.status(410)}]
        return [{"type": k, "object": o} for at, k, o in self.events if at > version]

    def bookmark(self) -> Object:
        """Nothing but how far it has come."""
        held = {"kind": "EndpointSlice", "metadata": {"resourceVersion": str(self.version)}}
        return {"type": "BOOKMARK", "object": held}

    @staticmethod
    def status(code: int) -> Object:
        """An error, as the API server says it."""
        return {"kind": "Status", "status": "Failure", "code": code, "reason": "Expired"}


class ApiServer:
    """Serves a cluster; `token`: what it wants, `down`: it breaks every connection off."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        self.cluster = cluster
        self.token = token
        self.lists = self.watches = self.denied = 0
        self.url = ""
        self._changed = asyncio.Event()
        self._round = 0
        self._open: list[web.Request] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> ApiServer:
        """Listen, on the same port each time."""
        app = web.Application()
        app.router.add_get(PATH, self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        host, self._port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Go away."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    def change(self) -> None:
        """Watches look again: call it after each change of the cluster."""
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Every watch comes to its time: a bookmark, and its end."""
        self._round += 1
        self.change()

    def cut(self) -> None:
        """Break every watch off."""
        for request in list(self._open):
            if request.transport is not None:
                request.transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.denied += 1
            return web.json_response(self.cluster.status(401), status=401)
        query = dict(request.query)
        assert query["labelSelector"].startswith(f"{LABEL}=")
        if query.get("watch") != "1":
            self.lists += 1
            status, body = self.cluster.list(query)
            return web.json_response(body, status=status)
        self.watches += 1
        return await self._watch(request, int(query["resourceVersion"]))

    async def _watch(self, request: web.Request, version: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._open.append(request)
        begun = self._round
        try:
            while True:
                changed = self._changed
                for event in self.cluster.since(version):
                    await response.write(json.dumps(event).encode() + b"\n")
                    if event["type"] == "ERROR":
                        return response
                version = max(version, self.cluster.version)
                if self._round != begun:
                    await response.write(json.dumps(self.cluster.bookmark()).encode() + b"\n")
                    return response
                await changed.wait()
        finally:
            self._open.remove(request)
