"""Whose request it is that came through proxies."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from modgate.http.ingress import client_address

TRUSTED = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("10.0.0.1", ["192.0.2.1", "203.0.113.9, fd00::2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9, [::ffff:10.0.0.2]:80"], "203.0.113.9"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", ["::ffff:192.0.2.1"], "::ffff:192.0.2.1"),
        ("10.0.0.1", ["fd00::2", ":80"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9", "10.0.0.2," * 30 + "10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "10.0.0.2," * 31 + "10.0.0.2"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy_of_ours(
    peer: str, lines: list[str], client: str
) -> None:
    headers = CIMultiDict([("x-forwarded-for", line) for line in lines])
    request = make_mocked_request("GET", "/", headers).clone(remote=peer)

    assert client_address(request, TRUSTED) == client
