from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.discover import SrvTarget
from modgate.upstream.srv import BadMessage, answer, question, resolvers, services

ASKED = question("_http._tcp.vllm.internal", 7)


def spelt(name: str) -> bytes:
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"


def record(host: bytes, *, priority: int = 0, ttl: int = 30) -> bytes:
    """A record whose owner is the question's name, pointed at."""
    held = struct.pack("!HHH", priority, 5, 8000) + host
    return b"\xc0\x0c" + struct.pack("!HHIH", 33, 1, ttl, len(held)) + held


def reply(asked: bytes, *records: bytes, flags: int = 0x8180) -> bytes:
    head = asked[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0)
    return head + asked[12:] + b"".join(records)


def test_a_reply_says_where_to_go_and_for_how_long() -> None:
    inner = b"\x01b\xc0\x17"  # "b", and on with "vllm.internal" of the question
    alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 1, 2) + b"\xc0\x0c"  # a CNAME, no service
    found = answer(
        reply(ASKED, alias, record(spelt("a.internal")), record(inner, priority=3, ttl=9)), ASKED
    )

    assert found is not None
    assert found.targets == [
        SrvTarget(host="a.internal", port=8000, priority=0),
        SrvTarget(host="b.vllm.internal", port=8000, priority=3),
    ]
    assert found.ttl_s == 9


def test_a_service_that_is_declared_absent_and_a_name_that_is_not_there_lead_nowhere() -> None:
    absent = answer(reply(ASKED, record(b"\0")), ASKED)
    unknown = answer(reply(ASKED, flags=0x8183), ASKED)

    assert absent is not None
    assert unknown is not None
    assert not absent.targets
    assert not unknown.targets


@pytest.mark.parametrize(
    "message",
    [
        b"",
        reply(question("x", 8)),
        reply(ASKED, flags=0x8182),
        reply(ASKED, flags=0x0100),
        reply(ASKED, record(b"\xc0\x3f")[:-1]),
        ASKED[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + b"\xc0\x0c\0\x21\0\x01",
    ],
)
def test_what_is_no_reply_to_the_question_is_refused(message: bytes) -> None:
    with pytest.raises(BadMessage):
        answer(message, ASKED)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_is_read_or_refused(junk: bytes, head: bool) -> None:
    message = reply(ASKED)[:12] + junk if head else junk
    try:
        answer(message, ASKED)
    except BadMessage:
        return


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64])
def test_a_name_that_is_none_is_not_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="DNS name"):
        question(name, 1)


class Server(asyncio.DatagramProtocol):
    """Says over UDP that it is too much, and all of it over TCP."""

    def connection_made(self, transport: Any) -> None:  # no DatagramTransport before 3.12
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(reply(data, flags=0x8380), addr)


async def _whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    said = reply(asked, record(spelt("a.internal")))
    writer.write(struct.pack("!H", len(said)) + said)
    writer.close()


async def test_what_does_not_fit_into_a_datagram_is_had_over_tcp() -> None:
    tcp = await asyncio.start_server(_whole, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", port))
    try:
        found = await services("vllm.internal", [("127.0.0.1", port)])
    finally:
        udp.close()
        tcp.close()

    assert [each.host for each in found.targets] == ["a.internal"]


async def test_name_servers_that_do_not_answer_are_an_error() -> None:
    with pytest.raises(OSError, match=r"."):
        await services("vllm.internal", [("127.0.0.1", 1)])
    with pytest.raises(OSError, match="no name server"):
        await services("vllm.internal", [])


def test_the_machines_name_servers_are_read(tmp_path: Path) -> None:

    path = tmp_path / "resolv.conf"
    path.write_text("# x\nsearch a\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5\n")

    assert resolvers(path) == [("10.0.0.10", 53), ("fd00::a", 53)]
    assert resolvers(path / "none") == []
