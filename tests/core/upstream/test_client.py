"""Calls over sockets: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
from rigs.wired import BODY, CHUNKED, OK, PATH, Line, Start, rest, saying
from waiting import until

from modgate.api.body import Body, File, Part
from modgate.errors import BadReply, GatewayError, UpstreamFailed
from modgate.spool import Spool
from modgate.upstream.answer import HELD_BYTES
from modgate.upstream.client import Client


class Counted(File):
    """A spool file that counts what is read of it."""

    reads: ClassVar[list[int]] = []

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        data = File.read(self, start, length)
        self.reads.append(len(data))
        return data


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 1 << 30)


class TestSending:
    async def test_a_call_is_what_the_dialect_made_with_a_head_of_ours(self, start: Start) -> None:
        seen: list[tuple[bytes, bytes]] = []

        async def talk(line: Line) -> None:
            seen.append(await line.call())
            await line.say(OK)

        engine = await start(talk)
        client = Client(engine.url + "/base%20d/")
        await client.send(
            "/v1/x?a=%20", BODY, {"X-A": "1", "content-type": "text/x", "Authorization": "Bearer k"}
        )
        await client.close()

        head, body = seen[0]
        assert body == b'{"a":1}'
        assert head.decode().split("\r\n") == [
            "POST /base%20d/v1/x?a=%20 HTTP/1.1",
            "Host: " + engine.url.removeprefix("http://"),
            "Accept: */*",
            "X-A: 1",
            "Authorization: Bearer k",
            "Content-Type: application/json",
            "Content-Length: 7",
            "",
            "",
        ]

    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            (PATH, {"X-A": "1\r\nX-B: 2"}),
            (PATH, {"X-A": "1\nX-B: 2"}),
            (PATH, {"X-A": "1\r"}),
            (PATH, {"X-A": "1\0"}),
            (PATH, {"X-A: 1\r\nX-B": "2"}),
            (PATH, {"X A": "1"}),
            (PATH, {"": "1"}),
            (PATH, {"Transfer-Encoding": "chunked"}),
            (PATH, {"host": "elsewhere"}),
            ("/v1/x y", {}),
            ("/v1/x\r\nX-B: 2", {}),
            ("/v1/é", {}),
        ],
    )
    async def test_what_would_leave_its_line_is_not_sent(
        self, start: Start, path: str, headers: dict[str, str]
    ) -> None:
        engine = await start(saying(OK))
        client = Client(engine.url)

        with pytest.raises(ValueError, match=r"no header|must begin|in it"):
            await client.send(path, BODY, headers)
        assert engine.lines == []

    async def test_a_percent_sign_is_one(self, start: Start) -> None:
        seen: list[bytes] = []

        async def talk(line: Line) -> None:
            head, _ = await line.call()
            seen.append(head)
            await line.say(OK)

        engine = await start(talk)
        client = Client(engine.url)
        await client.send("/%s%d", BODY, {"X%s": "%s %d", "Accept": "text/plain"})
        await client.close()

        assert seen[0].startswith(b"POST /%s%d HTTP/1.1\r\n")
        assert b"\r\nX%s: %s %d\r\nAccept: text/plain\r\n" in seen[0]
        assert b"*/*" not in seen[0]

    async def test_a_spool_file_is_sent_as_the_engine_takes_it(
        self, start: Start, spool: Spool
    ) -> None:
        size = 48 << 20
        block = bytes(range(256)) * 4096
        got = 0
        stalled = asyncio.Event()

        async def talk(line: Line) -> None:
            nonlocal got
            head = await line.reader.readuntil(b"\r\n\r\n")
            assert b"Content-Length: %d\r\n" % (size + 5) in head
            assert await line.reader.readexactly(5) == b"front"
            await stalled.wait()
            while got < size:
                piece = await line.reader.readexactly(len(block))
                assert piece == block
                got += len(piece)
            await line.say(OK)
            await line.left()

        engine = await start(talk)
        with_file = spool.scope()
        writer = with_file.writer()
        for _ in range(size // len(block)):
            writer.write(block)
        file = writer.done()
        counted = Counted(fd=file.fd, size=file.size)
        Counted.reads.clear()
        body = Body.of_bytes(counted.slice(prefix=b"front"), "audio/wav")
        client = Client(engine.url)
        sending = asyncio.create_task(client.send(PATH, body, {}))
        await asyncio.sleep(0.2)
        assert sum(Counted.reads) < size // 2
        stalled.set()
        answer = await sending

        assert await answer.whole(10) == b"ok"
        assert got == size
        assert client.connections == (1, 1)
        with_file.close()
        await client.close()

    @pytest.mark.parametrize("size", [10, 300_000])
    async def test_a_form_is_sent_with_its_file(
        self, start: Start, spool: Spool, size: int
    ) -> None:
        seen: list[tuple[bytes, bytes]] = []

        async def talk(line: Line) -> None:
            seen.append(await line.call())
            await line.say(OK)

        engine = await start(talk)
        scope = spool.scope()
        writer = scope.writer("audio/wav")
        writer.write(b"w" * size)
        part = Part(
            name="file", content=writer.done().slice(), filename='a"\r\nb', content_type="a/b\r\nX:"
        )
        client = Client(engine.url)
        answer = await client.send(PATH, Body.form([Part(name="n", content=b"v"), part]), {})
        assert await answer.whole(10) == b"ok"
        await client.close()
        scope.close()

        head, body = seen[0]
        boundary = head.partition(b"boundary=")[2].partition(b"\r\n")[0]
        assert body == (
            b'--%s\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n'
            b'--%s\r\nContent-Disposition: form-data; name="file"; filename="a%%22%%0D%%0Ab"\r\n'
            b"Content-Type: a/b  X:\r\n\r\n%s\r\n--%s--\r\n"
        ) % (boundary, boundary, b"w" * size, boundary)

    async def test_a_reply_may_come_before_the_call_was_sent(
        self, start: Start, spool: Spool
    ) -> None:
        async def talk(line: Line) -> None:
            await line.reader.readuntil(b"\r\n\r\n")
            await line.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            await line.left()

        engine = await start(talk)
        scope = spool.scope()
        writer = scope.writer()
        writer.write(bytes(32 << 20))
        client = Client(engine.url)
        before = len(asyncio.all_tasks())
        answer = await client.send(PATH, Body.of_bytes(writer.done().slice(), "a/b"), {})

        assert answer.status == 413
        assert await answer.whole(10) == b"big"
        assert client.connections == (0, 0)
        await until(lambda: len(asyncio.all_tasks()) <= before)
        scope.close()

    async def test_a_call_given_up_is_not_sent_on(self, start: Start, spool: Spool) -> None:
        async def talk(line: Line) -> None:
            await line.reader.readuntil(b"\r\n\r\n")
            await asyncio.Event().wait()

        engine = await start(talk)
        scope = spool.scope()
        writer = scope.writer()
        writer.write(bytes(32 << 20))
        client = Client(engine.url)
        file = writer.done()
        Counted.reads.clear()
        body = Body.of_bytes(Counted(fd=file.fd, size=file.size).slice(), "a/b")
        sending = asyncio.create_task(client.send(PATH, body, {}))
        await until(lambda: bool(engine.lines))
        await until(lambda: bool(Counted.reads))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        reads = len(Counted.reads)
        await asyncio.sleep(0.1)

        assert len(Counted.reads) == reads  # its file may be closed by now
        scope.close()

    async def test_a_file_that_is_shorter_than_its_slice_fails_the_call(
        self, start: Start, spool: Spool
    ) -> None:
        engine = await start(saying(OK))
        scope = spool.scope()
        writer = scope.writer()
        writer.write(bytes(1000))
        client = Client(engine.url)

        with pytest.raises(UpstreamFailed, match="shorter"):
            await client.send(
                PATH, Body.of_bytes(writer.done().slice(0, 200_000), "application/x"), {}
            )
        assert client.connections == (0, 0)
        scope.close()


class TestReading:
    @pytest.mark.parametrize(
        ("raw", "kind", "match"),
        [
            (b"SSH-2.0-x\r\n", BadReply, "cannot be read"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", BadReply, "Len"),
            (b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", BadReply, "field"),
            (b"", UpstreamFailed, "without a reply"),
            (b"HTTP/1.1 200 OK\r\nX: y", UpstreamFailed, "without a reply"),
        ],
    )
    async def test_a_head_that_is_none_is_the_engines_fault(
        self, start: Start, raw: bytes, kind: type[GatewayError], match: str
    ) -> None:
        engine = await start(saying(raw, close=True))
        client = Client(engine.url)

        with pytest.raises(kind, match=match):
            await client.send(PATH, BODY, {})
        assert client.connections == (0, 0)

    @pytest.mark.parametrize(
        ("tail", "kind"),
        [(b"3\r\nab", UpstreamFailed), (b"zz\r\n", BadReply), (b"", UpstreamFailed)],
    )
    async def test_what_came_before_a_break_is_read_first(
        self, start: Start, tail: bytes, kind: type[GatewayError]
    ) -> None:
        engine = await start(saying(CHUNKED + b"3\r\nabc\r\n" + tail, close=True))
        client = Client(engine.url)
        found, error = await rest(await client.send(PATH, BODY, {}))

        assert found[:3] == b"abc"
        assert isinstance(error, kind)
        assert client.connections == (0, 0)

    async def test_a_reply_may_end_with_its_connection(self, start: Start) -> None:
        engine = await start(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", b"def", close=True))
        client = Client(engine.url)

        assert await rest(await client.send(PATH, BODY, {})) == (b"abcdef", None)
        assert client.connections == (0, 0)

    async def test_a_whole_reply_is_bounded_as_it_comes(self, start: Start) -> None:
        async def talk(line: Line) -> None:
            await line.call()
            await line.say(CHUNKED)
            while True:
                await line.say(b"10\r\n0123456789abcdef\r\n", every_s=0.001)

        engine = await start(talk)
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})

        with pytest.raises(BadReply, match="more than 100 bytes"):
            await answer.whole(100)
        assert client.connections == (0, 0)

    async def test_a_whole_reply_that_says_it_is_too_long_is_not_waited_for(
        self, start: Start
    ) -> None:
        async def talk(line: Line) -> None:
            await line.call()
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
            await line.left()

        engine = await start(talk)
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})

        with pytest.raises(BadReply, match="more than 100 bytes"):
            await answer.whole(100)

    async def test_an_encoding_that_was_not_asked_for_is_refused_but_not_its_status(
        self, start: Start
    ) -> None:
        head = b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nzz"
        engine = await start(saying(head))
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})

        assert answer.status == 500
        with pytest.raises(BadReply, match="encoded"):
            await answer.whole(100)

    async def test_a_slow_reader_stops_the_engine(self, start: Start) -> None:
        total = 64 << 20
        sent = 0

        async def talk(line: Line) -> None:
            nonlocal sent
            await line.call()
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            while sent < total:
                await line.say(bytes(1 << 16))
                sent += 1 << 16
            await line.left()  # an end of the talk would throw away what is not sent yet

        engine = await start(talk)
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        await asyncio.sleep(0.3)
        stopped = sent
        await asyncio.sleep(0.1)
        assert sent == stopped < total // 2
        first = await answer.read()
        found, error = await rest(answer)

        assert len(first) <= HELD_BYTES + (1 << 18)
        assert (len(first) + len(found), error) == (total, None)
        assert client.connections == (1, 1)
        await client.close()

    async def test_a_whole_reply_behind_a_stopped_engine_is_read_on(self, start: Start) -> None:
        total = 8 << 20
        engine = await start(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total, bytes(total))
        )
        client = Client(engine.url)
        answer = await client.send(PATH, BODY, {})
        await asyncio.sleep(0.1)

        assert len(await answer.whole(total)) == total
        await client.close()
