"""The admin pages of tenants and keys.

Every mistake of a body is told at once, in the words of the configuration's decoder.  A change
counts here when its reply goes out, and in other gateways on the same store within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import orjson
from aiohttp import web

from modgate.api.auth import Caller
from modgate.api.json import Json, JsonObject
from modgate.api.secret import Secret
from modgate.auth.store import NotStored, StoreError
from modgate.clock import Clock
from modgate.problems import ConfigError, Problem
from modgate.server.json_page import json_page
from modgate.server.tenancy import Tenancy
from modgate.snapshot.registrar import (
    Declared,
    KeyChange,
    NewKey,
    Registrar,
    Rotation,
    read_body,
    shown_key,
)

BODY_AT_MOST = 1 << 20
BODY_WITHIN_S = 10.0

Answer = tuple[int, Json]
Work = Callable[[Registrar], Json]
MakeWork = Callable[[str, bytes], Work]
NAMED = {"tenants": "{name}", "keys": "{id}", "requests": "{id}"}
ROOT_ACTOR = "[admin]"  # who has its key, or is on loopback where it has none


def actor_of(caller: Caller) -> str:
    """Who it is, for the audit log."""
    return f"{caller.role} key {caller.key_id}" if caller.key_id else ROOT_ACTOR


def method_of(request: web.BaseRequest) -> str:
    """The method that answers: HEAD is GET, and aiohttp leaves out its body."""
    return "GET" if request.method == "HEAD" else request.method


def shape_of(path: str) -> str:
    """A path of the admin API as its page is named: `/admin/v1/keys/{id}/rotate`."""
    front, *parts = path.removeprefix("/admin/v1/").split("/")
    if parts and parts[0] and front in NAMED:
        return "/".join(("/admin/v1", front, NAMED[front], *parts[1:]))
    return path


class TenancyPages:
    """Answers `/admin/v1/tenants...` and `/admin/v1/keys...`."""

    def __init__(self, tenancy: Tenancy, clock: Clock, pepper: Secret) -> None:
        self._tenancy = tenancy
        self._clock = clock
        self._pepper = pepper
        self._one = asyncio.Lock()  # of two changes the second sees the first
        self.pages: Mapping[tuple[str, str], MakeWork] = {
            ("GET", "/admin/v1/tenants"): self._tenants,
            ("GET", "/admin/v1/tenants/{name}"): self._tenant,
            ("PUT", "/admin/v1/tenants/{name}"): self._put,
            ("PATCH", "/admin/v1/tenants/{name}"): self._patch,
            ("DELETE", "/admin/v1/tenants/{name}"): self._delete,
            ("GET", "/admin/v1/keys"): self._keys,
            ("POST", "/admin/v1/keys"): self._new,
            ("PATCH", "/admin/v1/keys/{id}"): self._change,
            ("POST", "/admin/v1/keys/{id}/rotate"): self._rotate,
            ("POST", "/admin/v1/keys/{id}/revoke"): self._revoke,
            ("DELETE", "/admin/v1/keys/{id}"): self._revoke,
        }

    async def answer(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        """The reply to a request for one of the pages."""
        make = self.pages[method_of(request), shape_of(request.path)]
        name = (*request.path.split("/"), "")[4]
        status, value = await self._answer(make, name, request, actor_of(caller))
        return json_page(value, status)

    async def _answer(
        self,
        make: MakeWork,
        name: str,
        request: web.BaseRequest,
        actor: str,
    ) -> Answer:
        try:
            work = make(name, await _body(request))
            async with self._one:
                value = await self._done(work, actor)
                if method_of(request) != "GET":
                    await self._tenancy.refresh()
        except ConfigError as error:
            problems = [str(each) for each in error.problems]
            return 400, {"error": "the body is not valid", "problems": problems}
        except Declared as error:
            return 409, {"error": str(error)}
        except NotStored as error:
            return 404, {"error": str(error)}
        except StoreError as error:
            return 503, {"error": str(error)}
        return 200, value

    async def _done(self, work: Work, actor: str) -> Json:
        """Do it beside the event loop: a disk may be slow, and another process hold the store."""
        tenancy = self._tenancy
        registrar = Registrar(tenancy.store, tenancy.made, self._pepper, actor=actor)
        return await asyncio.to_thread(work, registrar)

    def _tenants(self, _: str, __: bytes) -> Work:
        def work(registrar: Registrar) -> Json:
            return {"tenants": [each.shown() for each in registrar.tenants()]}

        return work

    def _tenant(self, name: str, _: bytes) -> Work:
        return lambda registrar: registrar.tenant(name).shown()

    def _put(self, name: str, body: bytes) -> Work:
        grant = _object(body)

        def work(registrar: Registrar) -> Json:
            registrar.set_tenant(name, grant, self._clock.wall())
            return registrar.tenant(name).shown()

        return work

    def _patch(self, name: str, body: bytes) -> Work:
        """A JSON merge patch of the grant.  Source: RFC 7396."""
        patch = _object(body)

        def work(registrar: Registrar) -> Json:
            known = registrar.tenant(name)
            registrar.set_tenant(name, _merged(known.grant, patch), self._clock.wall())
            return registrar.tenant(name).shown()

        return work

    def _delete(self, name: str, _: bytes) -> Work:
        def work(registrar: Registrar) -> Json:
            revoked = registrar.delete_tenant(name, self._clock.wall())
            return {"deleted": name, "revoked_keys": revoked}

        return work

    def _keys(self, _: str, __: bytes) -> Work:
        def work(registrar: Registrar) -> Json:
            return {"keys": registrar.keys()}

        return work

    def _new(self, _: str, body: bytes) -> Work:
        wanted = read_body(NewKey, _object(body))

        def work(registrar: Registrar) -> Json:
            key, row = registrar.new_key(
                wanted.tenant,
                name=wanted.name,
                env=wanted.env,
                grant=wanted.grant,
                wall=self._clock.wall(),
            )
            return {"key": key.reveal(), **shown_key(row)}

        return work

    def _change(self, key_id: str, body: bytes) -> Work:
        wanted = read_body(KeyChange, _object(body))

        def work(registrar: Registrar) -> Json:
            registrar.change_key(
                key_id, name=wanted.name, grant=wanted.grant, wall=self._clock.wall()
            )
            return shown_key(self._tenancy.store.key(key_id))

        return work

    def _rotate(self, key_id: str, body: bytes) -> Work:
        grace_s = read_body(Rotation, _object(body or b"{}")).grace

        def work(registrar: Registrar) -> Json:
            key = registrar.rotate_key(key_id, grace_s=grace_s, wall=self._clock.wall())
            return {"key": key.reveal(), **shown_key(self._tenancy.store.key(key_id))}

        return work

    def _revoke(self, key_id: str, _: bytes) -> Work:
        def work(registrar: Registrar) -> Json:
            registrar.revoke_key(key_id, self._clock.wall())
            return shown_key(self._tenancy.store.key(key_id))

        return work


async def _body(request: web.BaseRequest) -> bytes:
    """The body of an admin request; ConfigError for one that is too long or does not come."""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            read = await request.content.read(BODY_AT_MOST + 1)
            while read and len(read) <= BODY_AT_MOST:
                more = await request.content.read(BODY_AT_MOST + 1)
                if not more:
                    break
                read += more
    except (ConnectionError, web.RequestPayloadError):
        raise _wrong("did not come whole") from None
    except TimeoutError:
        raise _wrong(f"did not come within {BODY_WITHIN_S:g} s") from None
    if len(read) > BODY_AT_MOST:
        raise _wrong(f"is longer than {BODY_AT_MOST} bytes")
    return read


def _wrong(message: str) -> ConfigError:
    return ConfigError([Problem(message=message, path="body")])


def _object(body: bytes) -> JsonObject:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _wrong(f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise _wrong("is not a JSON object")
    return value


def _merged(known: JsonObject, patch: JsonObject) -> JsonObject:
    found = dict(known)
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            below = found.get(name)
            found[name] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            found[name] = value
    return found
