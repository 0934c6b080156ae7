"""Who is kept from sockets while a plugin is watched: the plugin, and no thread of anybody else."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modgate.testing.guards import SocketOpened, no_sockets

NAME = ("127.0.0.1", 80)


def test_a_thread_that_was_there_before_is_nobodys_fault() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(threading.get_ident).result(10)
        with no_sockets():
            found = pool.submit(socket.getaddrinfo, *NAME).result(10)

    assert found


def test_a_thread_that_is_begun_inside_opens_none() -> None:
    with pytest.raises(SocketOpened), no_sockets(), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(_tries).result(10), SocketOpened)


def _tries() -> BaseException | None:
    try:
        socket.getaddrinfo(*NAME)
    except SocketOpened as error:
        return error
    return None
