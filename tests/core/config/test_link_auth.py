from __future__ import annotations

import pytest
from made_configs import Config

JWT = """
[auth.jwt.corp]
issuer = "https://id.example"
audience = "modgate"
jwks = "https://id.example/jwks"
"""


def test_an_issuer_is_linked_with_its_defaults(config: Config) -> None:
    (issuer,) = config.link(JWT).issuers

    assert (issuer.name, issuer.audience) == ("corp", frozenset({"modgate"}))
    assert issuer.algorithms == {"RS256", "ES256", "EdDSA"}
    assert (issuer.leeway_s, issuer.lifetime_s, issuer.tenant_claim) == (60.0, 86_400.0, "tenant")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (JWT.replace("https://id.example/jwks", "http://id.example/jwks"), "must begin with https"),
        (JWT.replace("https://id.example/jwks", "id.example"), 'reads "https://HOST/PATH"'),
        (JWT.replace('"https://id.example/jwks"', '{ file = "/no/such" }'), "cannot be read"),
        (JWT.replace('"modgate"', "[]"), "names no audience"),
        (JWT + 'algorithms = ["HS256"]', "algorithms"),
        (JWT + 'algorithms = ["none"]', "algorithms"),
        (JWT + "algorithms = []", "names no algorithm"),
        (JWT + 'roles = { x = "admin" }', "needs 'role_claim'"),
        (JWT + 'role_claim = "groups"', "gives nobody a role"),
        (JWT + 'role_claim = "g"\nroles = { x = "tenant" }', "roles"),
        (JWT + 'ca = "/no/such"', "holds no certificates"),
        (JWT + JWT.replace("corp", "other"), "is the issuer of [auth.jwt.corp] already"),
        (JWT + 'audiences = "x"', "did you mean 'audience'"),
    ],
)
def test_a_mistake_in_an_issuer_names_its_key(config: Config, written: str, told: str) -> None:
    problems = config.told(written)

    assert len(problems) == 1
    assert "auth.jwt." in problems[0]
    assert told in problems[0]


def test_http_will_do_on_this_machine(config: Config) -> None:
    config.link(JWT.replace("https://id.example/jwks", "http://127.0.0.1:9000/jwks"))


def test_a_key_set_that_is_none_is_found_by_a_check(config: Config) -> None:
    path = config.folder / "keys.json"
    path.write_text('{"keys": []}')

    (problem,) = config.told(JWT.replace('"https://id.example/jwks"', f'{{ file = "{path}" }}'))

    assert "auth.jwt.corp.jwks.file: cannot be used" in problem


def test_a_backend_that_signs_needs_a_key_and_none_of_the_engines(config: Config) -> None:
    backend = """
[plugin.words]
[model.m]
modality = "words"
[[backend]]
name = "b"
url = "http://b"
serves = { m = "x" }
sign = true
key = { env = "HOME" }
"""
    told = config.told(backend)

    assert [each.partition("sign: ")[2][:26] for each in told] == [
        "needs a key to sign with: ",
        "is sent in place of 'key',",
    ]
