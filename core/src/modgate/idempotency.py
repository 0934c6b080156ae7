"""A request that carries an Idempotency-Key: done once, and told again what came of it.

    known -> claim -> the work, its reply kept -> close

What runs holds its key; what ended well keeps it with a digest of the body and, where the operator
wants it so, with the reply; whatever ended otherwise frees it.  A stream's key is free when the
stream is over: nothing of it is kept.  A request without a key comes through none of this.

Source: wire.md 1.8, algorithms.md 5.1.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

import orjson

from modgate.api.auth import Caller, Policy
from modgate.api.body import Body, Content
from modgate.api.residency import may_lie
from modgate.draft import Draft
from modgate.errors import Conflict, IdempotencyUnavailable, KeyReused, Refused, ReplyNotKept
from modgate.replays.memory import MemoryReplays
from modgate.replays.record import Record
from modgate.replays.redis_store import RedisReplays
from modgate.replays.store import RENEW_S, Name, Replays, ReplaysDown
from modgate.served_headers import served_headers

log = logging.getLogger(__name__)

HEADERS = ("idempotency-key", "x-idempotency-key")
KEY_CHARACTERS = 255
INLINE_BYTES = 1 << 20  # a larger body is digested in a thread
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept: replies or none, for how long, and how large one may be."""

    bodies: bool = False
    keep_s: float = 86_400.0
    reply_bytes: int = 256 << 10


def carries_key(headers: Mapping[str, str]) -> bool:
    """Whether a request wants to be done once."""
    return HEADERS[0] in headers or HEADERS[1] in headers


def _key_in(headers: Mapping[str, str]) -> str:
    found = {headers[name] for name in HEADERS if name in headers}
    key = found.pop()
    if found:
        raise Refused(HEADERS[0], "invalid_value", "two idempotency keys that differ; send one")
    if not 0 < len(key) <= KEY_CHARACTERS or not key.isprintable():
        text = f"an idempotency key has 1 to {KEY_CHARACTERS} printable characters"
        raise Refused(HEADERS[0], "invalid_value", text)
    return key


class IdempotencyKeys:
    """The keys of this gateway's requests.

    `shared`: where other gateways look, too.  It renews what runs, and owns what is still told to a
    store when a request has ended.
    """

    def __init__(
        self, local: MemoryReplays, shared: RedisReplays | None, retention: Retention
    ) -> None:
        self.local = local
        self.shared = shared
        self.retention = retention
        self._running: set[KeyedRequest] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewer: asyncio.Task[None] | None = None

    def request(
        self,
        headers: Mapping[str, str],
        draft: Draft,
        route: str,
        sdk: str = "",
        query: str = "",
    ) -> KeyedRequest:
        """The request of an idempotency key; Refused for a key that is none.

        The same body is another request where another SDK sends it (`sdk`: the surface that its
        headers tell, else ''), because that could not read the reply that is kept; and where its
        headers name another model, or its `query` differs.  Zero bytes keep these parts apart: none
        of them can hold one.
        """
        key = _key_in(headers)
        name = Name.of(draft.caller.tenant, route, key)
        secret = f"{key}\0{sdk}" if sdk else key
        secret += f"\0model={draft.named}" if draft.named else ""
        secret += f"\0query={query}" if query else ""
        return KeyedRequest(self, draft, name, secret.encode("utf-8", "surrogatepass"))

    def store_of(self, caller: Caller) -> Replays:
        """Where a caller's keys lie: with the others', where they may."""
        if self.shared is None or not may_lie(caller.policy.regions, self.shared.region):
            return self.local
        return self.shared

    def holds(self, keyed: KeyedRequest) -> None:
        """It runs, and says so until it has ended."""
        self._running.add(keyed)
        if self.shared is not None and self._renewer is None:
            self._renewer = asyncio.get_running_loop().create_task(self._renew())

    def ended(self, keyed: KeyedRequest) -> None:
        """It is renewed no more."""
        self._running.discard(keyed)

    def soon(self, step: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Take a step to its end, even if the request that wants it goes away."""
        task = asyncio.get_running_loop().create_task(_quietly(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _renew(self) -> None:
        while self._running:
            await asyncio.sleep(RENEW_S)
            await asyncio.shield(self.soon(self._renew_all()))
        self._renewer = None

    async def _renew_all(self) -> None:
        """Renew the keys of running requests; stop where the store does not answer."""
        for keyed in list(self._running):
            await keyed.renew()

    async def close(self) -> None:
        """Tell what is left to be told, within the deadlines of the store."""
        if self._renewer is not None:
            self._renewer.cancel()
            await asyncio.wait([self._renewer])
        if self._tasks:
            await asyncio.wait(list(self._tasks))


async def _quietly(step: Coroutine[None, None, None]) -> None:
    try:
        await step
    except ReplaysDown as error:
        log.warning("idempotency store down", extra={"reason": str(error)})


class KeyedRequest:
    """One request and its key; `close` it when it has ended, however it did."""

    def __init__(self, keys: IdempotencyKeys, draft: Draft, name: Name, secret: bytes) -> None:
        self._keys = keys
        self._draft = draft
        self._store = keys.store_of(draft.caller)
        self._name = name
        self._secret = secret
        self._mine = Record(state="running", digest=b"", request_id=draft.request_id)
        self._held = False
        self._telling = asyncio.Lock()  # a renewal that is overtaken would take a free key again

    async def known(self) -> bool:
        """Whether the key is known, before there is a body to compare."""
        try:
            return await self._store.find(self._name) is not None
        except ReplaysDown:
            raise IdempotencyUnavailable(_DOWN) from None

    async def serve(
        self, body: Body, work: Callable[[], Awaitable[None]], rights: bytes = b""
    ) -> Record | None:
        """Do the work; or the reply of who did it before, to be sent again.

        `rights`: as `Gateway.rights` tells them.  Conflict, KeyReused, ReplyNotKept, or
        IdempotencyUnavailable.
        """
        if rights:
            self._secret += b"\0" + rights
        said = await self._claim(body)
        if said is None:
            try:
                await work()
            finally:
                self.close()
        return said

    async def _claim(self, body: Body) -> Record | None:
        """Take the key, or say what holds it."""
        if body.size <= INLINE_BYTES:
            digest = digest_of(self._secret, body)
        else:
            digest = await asyncio.to_thread(digest_of, self._secret, body)
        self._mine = replace(self._mine, digest=digest)
        self._held = True  # also while nobody knows whether the store has it
        self._keys.holds(self)
        try:
            found = await self._store.claim(self._name, self._mine)
        except ReplaysDown:
            self.close()
            raise IdempotencyUnavailable(_DOWN) from None
        except BaseException:
            self.close()
            raise
        if found is None:
            return None
        self._held = False
        self._keys.ended(self)
        return _judged(found, digest, self._draft.caller.policy)

    @property
    def retention(self) -> Retention:
        """What may be kept of its reply."""
        return self._keys.retention

    async def keep(self, headers: Mapping[str, str], body: bytes | None) -> None:
        """Keep the reply: the store is told that the work is done before the client has it.

        Where a policy took the store's region from the request nothing is kept, and the key is
        freed.
        """
        if self._store is not self._keys.store_of(self._draft.caller):
            return
        self._held = False
        self._keys.ended(self)
        said = {**headers, **dict(served_headers(self._draft))}
        beside = tuple(sorted(self._draft.beside))
        done = replace(self._mine, state="done", status=200, headers=said, body=body, beside=beside)
        keep_s = self._keys.retention.keep_s
        step = self._store.keep(self._name, self._mine, done, keep_s)
        await asyncio.shield(self._keys.soon(step))

    async def renew(self) -> None:
        """Say that it still runs."""
        async with self._telling:
            if self._held:
                await self._store.renew(self._name, self._mine)

    async def _free(self) -> None:
        async with self._telling:
            await self._store.free(self._name, self._mine)

    def close(self) -> None:
        """Free the key, if nothing was kept."""
        if self._held:
            self._held = False
            self._keys.ended(self)
            self._keys.soon(self._free())


_DOWN = "idempotency keys cannot be looked up now; try again, or send none"


def _judged(found: Record, digest: bytes, policy: Policy) -> Record:
    """What holds a key, if it is a reply that may be sent to who sent this body."""
    if found.unknown:
        raise Conflict("a request with this idempotency key is known to a newer gateway only")
    alike = hmac.compare_digest(found.digest, digest)
    if not (alike and all(policy.may_use(model) for model in found.beside)):
        raise KeyReused(
            "this idempotency key came before with another body, from another SDK, or with other "
            "rights; use a new one"
        )
    if found.state == "running":
        raise Conflict("a request with this idempotency key is in progress; try again")
    if found.body is None:
        done = found.request_id
        raise ReplyNotKept(
            f"the request with this idempotency key was done as {done}, and its reply is not kept; "
            f"/v1/usage/{done} has its receipt, a new key does it again"
        )
    return found


def replay_headers(record: Record) -> dict[str, str]:
    """The headers of a reply that is sent again."""
    again = {"idempotent-replayed": "true", "x-modgate-replay-of": record.request_id}
    return {**record.headers, **again}


def digest_of(secret: bytes, body: Body) -> bytes:
    """Tells one body from another; who does not know the client's key can guess nothing from it.

    Of a form its parts, in their order: a client that tries again draws another boundary.
    """
    made = hmac.new(secret, digestmod=sha256)
    for part in body.parts:
        content = part.content
        size = len(content) if isinstance(content, bytes) else content.size
        made.update(orjson.dumps([part.name, part.filename, part.content_type, size]))
        for piece in _pieces(content):
            made.update(piece)
    if body.kind != "form":
        for piece in _pieces(body.content):
            made.update(piece)
    return made.digest()


def _pieces(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    yield content.prefix
    for start in range(0, content.length, PIECE_BYTES):
        length = min(PIECE_BYTES, content.length - start)
        yield content.file.read(content.start + start, length)
