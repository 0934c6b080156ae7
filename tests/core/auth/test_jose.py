from __future__ import annotations

import json
import subprocess
import sys
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from rigs.issuing import KINDS, Signing

from modgate.auth.jose import parse_jwks, read

WALL = 1_800_000_000.0
SIGNING = Signing()


def test_weak_private_secret_and_foreign_keys_are_left_out_of_a_key_set() -> None:
    entries = json.loads(SIGNING.document())["keys"]
    bad = [
        {**entries[1], "kid": "for encryption", "use": "enc"},
        {**{k: v for k, v in entries[1].items() if k != "kid"}},
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {**entries[1], "kid": "wrong alg", "alg": "RS256"},
        {**entries[1], "kid": "no alg", "alg": ["ES256"]},
        {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "AA", "y": "AA"},
        {"kty": "what", "kid": "unknown"},
        "no object",
    ]

    found = parse_jwks(json.dumps({"keys": [*bad, *entries]}).encode())

    assert set(found) == {f"key-{kind}" for kind in KINDS}


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1]}'],
)
def test_a_document_that_is_no_key_set_is_a_mistake(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_jwks(raw)


def test_a_key_set_has_twenty_keys_and_64_kib_at_most() -> None:
    entry = json.loads(SIGNING.document())["keys"][0]
    keys = [{**entry, "kid": str(number)} for number in range(21)]
    twenty = json.dumps({"keys": keys[:20]}).encode()

    assert len(parse_jwks(twenty + b" " * ((64 << 10) - len(twenty)))) == 20
    with pytest.raises(ValueError, match="more than 65536 bytes"):
        parse_jwks(twenty + b" " * ((64 << 10) - len(twenty) + 1))
    with pytest.raises(ValueError, match="more than 20 keys"):
        parse_jwks(json.dumps({"keys": keys}).encode())


@pytest.mark.parametrize(("bits", "taken"), [(1024, False), (2048, True)])
def test_an_rsa_key_has_2048_bits_at_least(bits: int, taken: bool) -> None:
    key = generate_private_key(public_exponent=65537, key_size=bits)
    strong = json.loads(SIGNING.document())["keys"][0]
    entry = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "rsa"}

    found = parse_jwks(json.dumps({"keys": [strong, entry]}).encode())

    assert ("rsa" in found) is taken


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(max_size=200) | st.binary(max_size=90).map(lambda b: b.hex()))
def test_whatever_is_no_token_is_none(text: str) -> None:
    assert read(text) is None
    head, payload, rest = SIGNING.token(WALL).split(".")
    for odd in (f"{text}.{payload}.{rest}", f"{head}.{text}.{rest}"):
        token = read(odd)
        assert token is None or isinstance(token.claims, dict)


@pytest.mark.slow
def test_without_the_extra_the_gateway_starts_and_a_file_that_needs_it_is_told() -> None:
    script = """
import sys
sys.modules["jwt"] = sys.modules["cryptography"] = None
import modgate.server.app
from modgate.api.issuer import Signing
from modgate.snapshot.auth import token_problems
from modgate.problems import Problem
print(*token_problems([], Signing(issuer="x", keys=()), lambda at, text: Problem(message=text)))
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "needs modgate[jwt]" in result.stdout


def test_a_token_has_8_kib_at_most() -> None:
    front = ".".join(
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "EdDSA", "kid": "k"}, {"iss": "us"})
    )
    token = f"{front}." + "A" * (8192 - len(front) - 1)

    assert len(token) == 8192
    assert read(token) is not None
    assert read(token + "A") is None


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        ('{"alg":"EdDSA","kid":"k"}', "no JSON"),
        ('{"alg":"EdDSA","kid":"k"}', '{"iss":"\ud800"}'),
        ('{"alg":"EdDSA","kid":"k"}', "[" * 1500 + "]" * 1500),
        ("[" * 1500 + "]" * 1500, "{}"),
        ('{"alg":"EdDSA","kid":"k"}', "[1]"),
        ('{"alg":"EdDSA","kid":7}', "{}"),
        ('{"kid":"k"}', "{}"),
        ('{"alg":"EdDSA","kid":"k","b64":true}', "{}"),
    ],
)
def test_parts_that_cannot_be_read_make_no_token(head: str, payload: str) -> None:
    parts = (
        urlsafe_b64encode(part.encode("utf-8", "surrogatepass")).decode().rstrip("=")
        for part in (head, payload)
    )

    assert read(".".join((*parts, "AAAA"))) is None
