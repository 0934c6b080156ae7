"""Calls to engines that say for whom they are, signed here and checked as an engine would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession, web
from gateways import Running, client, start
from rigs.issuing import pem, private

from modgate.problems import ConfigError

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
REPLY = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@asynccontextmanager
async def engine() -> AsyncIterator[tuple[str, list[str]]]:
    """An engine that keeps what it was authorised with."""
    given: list[str] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        given.append(request.headers.get("authorization", ""))
        return web.json_response(REPLY)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", given
    finally:
        await runner.cleanup()


def section(folder: Path, *names: str) -> str:
    keys = ", ".join(f'{{ file = "{folder}/{name}.pem" }}' for name in names)
    return f'[auth.sign]\nissuer = "https://gateway.example"\nkeys = [{keys}]'


@asynccontextmanager
async def gateway(folder: Path, url: str, *names: str, **more: Any) -> AsyncIterator[Running]:
    for name in names:
        path = folder / f"{name}.pem"
        if not path.exists():
            path.write_text(pem(private("EdDSA" if name == "ed" else "ES256")))
    backend = {"url": url, "name": "eu-1", "sign": SIGN, **more}
    async with await start(
        folder, [backend], plugins=["llm"], more=section(folder, *names)
    ) as running:
        yield running


class _Toml(int):
    """A truth as the configuration writes it."""

    def __str__(self) -> str:
        return "true"


SIGN = _Toml(1)


async def chat(session: ClientSession, running: Running) -> str:
    async with session.post(
        f"{running.url}/v1/chat/completions", json=CHAT, headers=running.headers
    ) as reply:
        assert reply.status == 200, await reply.text()
        return reply.headers["x-request-id"]


async def keys(session: ClientSession, running: Running) -> jwt.PyJWKSet:
    """The gateway's key set, as anybody may have it."""
    async with session.get(f"{running.url}/.well-known/jwks.json") as reply:
        assert "max-age" in reply.headers["cache-control"]
        return jwt.PyJWKSet.from_dict(await reply.json())


def checked(given: str, known: jwt.PyJWKSet) -> dict[str, Any]:
    """The claims, checked by PyJWT itself."""
    scheme, _, token = given.partition(" ")
    assert scheme == "Bearer"
    key = known[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token, key, algorithms=["ES256", "EdDSA"], audience="eu-1", issuer="https://gateway.example"
    )


@pytest.mark.parametrize("name", ["ed", "ec"])
async def test_an_engine_can_check_who_asks_and_for_whom(tmp_path: Path, name: str) -> None:
    async with engine() as (url, given), gateway(tmp_path, url, name) as running, client() as c:
        request_id = await chat(c, running)
        claims = checked(given[0], await keys(c, running))

    assert (claims["sub"], claims["aud"]) == ("acme", "eu-1")
    assert claims["request_id"] == request_id
    assert claims["jti"].startswith(f"{request_id}.")
    assert claims["exp"] - claims["iat"] == 60
    assert running.key not in given[0]


async def test_both_keys_are_published_and_the_first_signs(tmp_path: Path) -> None:
    async with (
        engine() as (url, given),
        gateway(tmp_path, url, "old", "new") as running,
        client() as c,
    ):
        first = await keys(c, running)
        await chat(c, running)
        text = running.config.read_text()
        turned = text.replace(section(tmp_path, "old", "new"), section(tmp_path, "new", "old"))
        running.config.write_text(turned)
        waiting = await running.app.reload()
        await chat(c, running)
    kids = [jwt.get_unverified_header(each.partition(" ")[2])["kid"] for each in given]

    assert waiting == ()
    assert len(first.keys) == len(set(kids)) == 2
    for each in given:
        assert checked(each, first)["sub"] == "acme"


async def test_the_key_set_holds_nothing_private_and_is_empty_without_a_key(tmp_path: Path) -> None:
    async with engine() as (url, _), gateway(tmp_path, url, "ed", "ec") as running, client() as c:
        async with c.get(f"{running.url}/.well-known/jwks.json") as reply:
            shown = await reply.json()
        running.config.write_text(
            running.config.read_text()
            .replace(section(tmp_path, "ed", "ec"), "")
            .replace("sign = true", "")
        )
        await running.app.reload()
        async with c.get(f"{running.url}/.well-known/jwks.json") as reply:
            empty = await reply.json()

    assert [sorted(key) for key in shown["keys"]] == [
        ["alg", "crv", "kid", "kty", "use", "x"],
        ["alg", "crv", "kid", "kty", "use", "x", "y"],
    ]
    assert empty == {"keys": []}


async def test_a_key_that_cannot_sign_is_a_mistake_that_shows_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "rsa.pem").write_text(pem(private("RS256")))
    (tmp_path / "junk.pem").write_text("a canary of a key")
    with pytest.raises(ConfigError) as caught:
        async with gateway(tmp_path, "http://127.0.0.1:1", "rsa", "junk"):
            await asyncio.sleep(0)

    told = [f"{each.path}: {each.message}" for each in caught.value.problems]
    assert told == [
        "auth.sign.keys[0]: must be an Ed25519 or a P-256 key",
        "auth.sign.keys[1]: holds no private key in PEM, without a password",
    ]
    assert "canary" not in repr(caught.value)
