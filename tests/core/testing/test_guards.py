"""Who is kept from sockets while a plugin is watched: the plugin, and no thread of anybody else."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modgate.testing.guards import Waited, no_waiting

NAME = ("127.0.0.1", 80)


def test_a_thread_that_was_there_before_is_nobodys_fault() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(threading.get_ident).result(10)
        with no_waiting():
            found = pool.submit(socket.getaddrinfo, *NAME).result(10)

    assert found


def test_a_thread_that_is_begun_inside_opens_none() -> None:
    with pytest.raises(Waited), no_waiting(), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(_tries).result(10), Waited)


def _tries() -> BaseException | None:
    try:
        socket.getaddrinfo(*NAME)
    except Waited as error:
        return error
    return None
