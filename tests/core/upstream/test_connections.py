"""Which connection carries a call, how it is opened, and when it is closed."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from pathlib import Path

import pytest
from rigs.certificates import certificate as signed
from rigs.wired import BODY, CHUNKED, OK, PATH, Line, Start, rest, said, saying
from waiting import until

from modgate.api.select import Backend
from modgate.connections import Connections
from modgate.errors import UpstreamFailed, UpstreamTimedOut
from modgate.fleet.state import FleetState
from modgate.upstream import ca_bundles
from modgate.upstream.ca_bundles import CaBundles
from modgate.upstream.client import Client

CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


class TestLeaving:
    async def test_a_cancelled_call_closes_its_connection_at_once(self, start: Start) -> None:
        left: list[float] = []

        async def talk(line: Line) -> None:
            await line.call()
            await line.left()
            left.append(time.monotonic())

        engine = await start(talk)
        client = Client(engine.url)
        task = asyncio.create_task(client.send(PATH, BODY, {}))
        await until(lambda: bool(engine.lines))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: bool(left))

        assert left[0] - began < 0.1
        assert client.connections == (0, 0)

    async def test_a_closed_answer_closes_its_connection_at_once(self, start: Start) -> None:
        left: list[float] = []

        async def talk(line: Line) -> None:
            await line.call()
            await line.say(CHUNKED + b"1\r\nx\r\n")
            await line.left()
            left.append(time.monotonic())

        engine = await start(talk)
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        began = time.monotonic()
        answer.close()
        answer.close()
        await until(lambda: bool(left))

        assert left[0] - began < 0.1
        assert client.connections == (0, 0)

    async def test_closing_the_client_ends_its_calls(self, start: Start) -> None:
        async def talk(line: Line) -> None:
            await line.call()
            await line.left()

        engine = await start(talk)
        client = Client(engine.url)
        task = asyncio.create_task(client.send(PATH, BODY, {}))
        await until(lambda: bool(engine.lines))
        await asyncio.sleep(0.02)
        await client.close()

        with pytest.raises(UpstreamFailed):
            await task
        assert client.connections == (0, 0)


class TestKeeping:
    async def test_calls_one_after_the_other_share_a_connection(self, start: Start) -> None:
        engine = await start(saying(OK))
        client = Client(engine.url)
        for _ in range(20):
            assert await said(client) == b"ok"

        assert len(engine.lines) == 1
        assert client.connections == (1, 1)
        await client.close()

    async def test_the_connection_used_last_is_used_next(self, start: Start) -> None:
        async def talk(line: Line) -> None:
            while True:
                await line.call()
                await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % line.number)

        engine = await start(talk)
        client = Client(engine.url)
        first, second = await asyncio.gather(
            client.send(PATH, BODY, {}), client.send(PATH, BODY, {})
        )
        del second
        await until(lambda: client.connections == (2, 2))
        last = await (await client.send(PATH, BODY, {})).whole(10)
        again = await (await client.send(PATH, BODY, {})).whole(10)

        assert last == again
        assert first.status == 200
        await client.close()

    async def test_an_idle_connection_is_closed_in_time(self, start: Start) -> None:
        engine = await start(saying(OK))
        client = Client(engine.url, idle_s=0.15)
        await said(client)
        took = await until(lambda: client.connections == (0, 0))

        assert 0.1 < took < 1.0

    async def test_what_the_engine_says_of_idle_connections_is_heeded(self, start: Start) -> None:
        head = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok"
        engine = await start(saying(head))
        client = Client(engine.url)
        await said(client)
        await said(client)

        assert len(engine.lines) == 2
        await client.close()

    @pytest.mark.parametrize(
        "raw",
        [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
        ],
        ids=["close", "1.0", "spare bytes"],
    )
    async def test_such_a_connection_is_not_used_again(self, start: Start, raw: bytes) -> None:
        engine = await start(saying(raw))
        client = Client(engine.url)
        assert await said(client) == b"ok"
        assert await said(client) == b"ok"

        assert len(engine.lines) == 2
        assert client.connections == (0, 0)

    async def test_a_call_that_asks_for_a_close_has_its_own_connection(self, start: Start) -> None:
        engine = await start(saying(OK))
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {"Connection": "close"})

        assert await answer.whole(10) == b"ok"
        assert client.connections == (0, 0)

    async def test_a_connection_closed_while_idle_is_never_used(self, start: Start) -> None:
        engine = await start(saying(OK, close=True))
        client = Client(engine.url)
        for _ in range(10):
            assert await said(client) == b"ok"
            await until(lambda: client.connections == (0, 0))

    async def test_an_engine_that_speaks_unasked_loses_its_connection(self, start: Start) -> None:
        async def talk(line: Line) -> None:
            await line.call()
            await line.say(OK)
            await asyncio.sleep(0.05)
            await line.say(OK)
            await line.left()

        engine = await start(talk)
        client = Client(engine.url)
        assert await said(client) == b"ok"
        await until(lambda: client.connections == (0, 0))

        assert await said(client) == b"ok"
        await client.close()

    async def test_a_close_that_the_loop_has_not_come_to_is_seen(self, start: Start) -> None:
        engine = await start(saying(OK))
        client = Client(engine.url)
        await said(client)
        await asyncio.sleep(0.6)
        engine.lines[0].writer.transport.abort()
        await asyncio.sleep(0)  # the engine's loop is ours: its close is out, its news is not in

        assert await said(client) == b"ok"
        assert len(engine.lines) == 2
        await client.close()

    async def test_a_call_that_meets_a_close_fails_and_is_not_sent_twice(
        self, start: Start
    ) -> None:
        calls = 0

        async def talk(line: Line) -> None:
            nonlocal calls
            await line.call()
            calls += 1
            await line.say(OK)
            await line.call()
            calls += 1

        engine = await start(talk)
        client = Client(engine.url)
        await said(client)

        with pytest.raises(UpstreamFailed, match="without a reply"):
            await said(client)
        assert (calls, len(engine.lines)) == (2, 1)


class TestConnecting:
    async def test_where_nobody_listens_there_is_no_connection(self) -> None:
        client = Client("http://127.0.0.1:9")

        with pytest.raises(UpstreamFailed, match="no connection"):
            await client.send(PATH, BODY, {})
        assert client.connections == (0, 0)

    async def test_a_name_without_an_address_is_no_connection(self) -> None:
        client = Client("http://nowhere.invalid")

        with pytest.raises(UpstreamFailed, match="no connection"):
            await client.send(PATH, BODY, {})
        await client.close()

    async def test_an_address_asks_no_resolver(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = await start(saying(OK))

        def asked(*_: object, **__: object) -> None:
            raise AssertionError("asked")

        if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", asked)
        client = Client(engine.url)

        assert await said(client) == b"ok"
        await client.close()

    async def test_a_name_leads_to_the_address_that_answers(self, start: Start) -> None:
        engine = await start(saying(OK))  # on 127.0.0.1 and not on ::1
        client = Client(engine.url.replace("127.0.0.1", "localhost"))
        for _ in range(3):
            assert await said(client) == b"ok"
        await client.close()

    async def test_a_handshake_that_does_not_end_is_the_connections_deadline(
        self, start: Start
    ) -> None:
        async def talk(line: Line) -> None:
            await line.left()

        engine = await start(talk)
        client = Client(engine.url.replace("http:", "https:"))
        began = time.monotonic()

        with pytest.raises(UpstreamTimedOut, match="no connection"):
            await client.send(PATH, BODY, {}, connect_s=0.2)
        assert time.monotonic() - began < 1.0
        assert client.connections == (0, 0)

    async def test_a_unix_socket_is_reached_and_kept(self, start: Start, tmp_path: Path) -> None:
        path = str(tmp_path / "engine.sock")
        engine = await start(saying(OK), path=path)
        client = Client(engine.url, socket=path)
        for _ in range(3):
            assert await said(client) == b"ok"

        assert len(engine.lines) == 1
        await client.close()

    async def test_https_is_judged_by_its_authority_and_name(
        self, start: Start, certificate: tuple[Path, Path]
    ) -> None:
        cert, key = certificate
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(cert, key)
        engine = await start(saying(OK), tls=serving)
        port = engine.url.rpartition(":")[2]
        trusting = ssl.create_default_context(cafile=str(cert))
        good = Client(f"https://localhost:{port}", tls=lambda: trusting)
        for _ in range(3):
            assert await said(good) == b"ok"
        assert len(engine.lines) == 1
        await good.close()

        for client in (
            Client(f"https://127.0.0.1:{port}", tls=lambda: trusting),  # another name
            Client(f"https://localhost:{port}"),  # an authority that the machine does not know
        ):
            with pytest.raises(UpstreamFailed, match="no connection"):
                await client.send(PATH, BODY, {})
            assert client.connections == (0, 0)

    async def test_https_engines_without_a_ca_share_what_the_machine_trusts(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, make, made = threading.current_thread(), ssl.create_default_context, []

        def making(*args: object, **more: object) -> ssl.SSLContext:
            if threading.current_thread() is here:
                made.append(args)
            return make(*args, **more)

        for place in (ssl, ca_bundles):  # asyncio makes its own where it is given none
            monkeypatch.setattr(place, "create_default_context", making)

        async def talk(line: Line) -> None:
            await line.left()

        connections = Connections(CaBundles(), FleetState())
        for name in ("one", "two", "three"):
            engine = await start(talk)
            url = engine.url.replace("http:", "HTTPS:")
            backend = Backend(name=name, family="openai", url=url, serves={})
            with pytest.raises(UpstreamTimedOut, match="no connection"):
                await connections.of(backend).send(PATH, BODY, {}, connect_s=0.2)

        await connections.close()

        assert len(made) == 1

    async def test_an_authority_that_was_replaced_counts_for_the_next_connection(
        self, start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("old", "new"):
            signed(tmp_path, name)
        ca = tmp_path / "ca.pem"
        ca.write_bytes((tmp_path / "old.pem").read_bytes())
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(tmp_path / "old.pem", tmp_path / "old.key")
        engine = await start(saying(CLOSING), tls=serving)
        url = engine.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        backend = Backend(name="one", family="openai", url=url, serves={}, ca=str(ca))
        connections = Connections(CaBundles(), FleetState())
        client = connections.of(backend)
        assert await said(client) == b"ok"
        ca.write_bytes(b"half of it")
        for _ in range(2):
            assert await said(client) == b"ok"
        serving.load_cert_chain(tmp_path / "new.pem", tmp_path / "new.key")
        ca.write_bytes((tmp_path / "new.pem").read_bytes())

        assert await said(client) == b"ok"
        words = ["certificates cannot be read; those of before count"]
        assert [each.message for each in caplog.records] == words
        await connections.close()

    async def test_a_big_reply_over_tls_is_stopped_by_a_slow_reader(
        self, start: Start, certificate: tuple[Path, Path]
    ) -> None:
        total = 16 << 20
        cert, key = certificate
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(cert, key)
        engine = await start(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total, bytes(total)),
            tls=serving,
        )
        port = engine.url.rpartition(":")[2]
        trusting = ssl.create_default_context(cafile=str(cert))
        client = Client(f"https://localhost:{port}", tls=lambda: trusting)
        answer = await client.send(PATH, BODY, {})
        await asyncio.sleep(0.1)
        found, error = await rest(answer)

        assert (len(found), error) == (total, None)
        await client.close()


async def test_a_secret_is_in_no_repr(start: Start) -> None:
    engine = await start(saying(OK))
    client = Client(engine.url)
    answer = await client.send(PATH, BODY, {"Authorization": "Bearer s3cret"})

    for each in (client, answer, client._heads, client._pool, client._dialer):
        assert "s3cret" not in repr(each)
    assert "s3cret" not in str(vars(client))
    await client.close()
