"""The contract of authenticators: a good one keeps it, and each planted bug is caught."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from toys.introspect import Introspect

from modgate.plugin import (
    Asking,
    Credential,
    Document,
    GatewayError,
    Identity,
    Lookup,
    Reject,
)
from modgate.testing import AuthenticatorCase, AuthenticatorContract

ACTIVE = json.dumps({"active": True, "org": "acme", "client_id": "web"}).encode()


class TestIntrospect(AuthenticatorContract):
    authenticator = Introspect
    config = {"url": "https://id.example/introspect", "token": {"env": "PATH"}}
    cases = (
        AuthenticatorCase(
            credential="at_good-token",
            tenant="acme",
            documents=[Document(status=200, body=ACTIVE)],
        ),
        AuthenticatorCase(
            credential="at_old-token",
            tenant=None,
            documents=[Document(status=200, body=b'{"active": false}')],
        ),
        AuthenticatorCase(credential="no token of these", tenant=None),
    )


class TrustsAnyStatus(Introspect):
    def ask(self, token: str) -> Asking:
        document = yield Lookup(url=self.config.url)
        tenant = document.fields().get("org")
        return Identity(tenant=tenant) if isinstance(tenant, str) else Reject()


class PutsItIntoTheUrl(Introspect):
    def ask(self, token: str) -> Asking:
        document = yield Lookup(url=f"{self.config.url}?token={token}")
        good = document.status == 200 and document.fields().get("active") is True
        return Identity(tenant="acme") if good else Reject()


class GoesElsewhere(Introspect):
    def origins(self) -> list[str]:
        return ["https://elsewhere.example"]


class LetsInWhenDown(Introspect):
    def ask(self, token: str) -> Asking:
        try:
            return (yield from super().ask(token))
        except GatewayError:
            return Identity(tenant="acme")


class RepeatsIt(Introspect):
    def ask(self, token: str) -> Asking:
        answer = yield from super().ask(token)
        return Reject(message=f"no: {token}") if isinstance(answer, Reject) else answer


class NeverEnds(Introspect):
    def ask(self, token: str) -> Asking:
        while True:
            yield Lookup(url=self.config.url)


class BreaksOnOdd(Introspect):
    def authenticate(self, credential: Credential) -> Asking | None:
        credential.secret.reveal().encode("ascii")
        return super().authenticate(credential)


class KnowsByItsBeginning(Introspect):
    def authenticate(self, credential: Credential) -> Identity | Asking | None:
        if credential.secret.reveal().startswith("at_go"):
            return Identity(tenant="acme")
        return super().authenticate(credential)


@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        (TrustsAnyStatus, "test_whatever_the_server_answers_nobody_is_let_in_by_accident"),
        (PutsItIntoTheUrl, "test_lookups_go_where_it_says_and_show_no_credential"),
        (GoesElsewhere, "test_lookups_go_where_it_says_and_show_no_credential"),
        (LetsInWhenDown, "test_whatever_the_server_answers_nobody_is_let_in_by_accident"),
        (RepeatsIt, "test_a_credential_reaches_no_log_and_no_answer"),
        (NeverEnds, "test_each_case_is_who_it_says"),
        (BreaksOnOdd, "test_any_text_is_nobodys"),
        (KnowsByItsBeginning, "test_any_text_is_nobodys"),
    ],
)
def test_a_planted_bug_is_caught_by_its_rule(bug: type[Introspect], rule: str) -> None:
    suite = type("Suite", (TestIntrospect,), {"authenticator": bug})()
    run: Callable[[], None] = getattr(suite, rule)

    with pytest.raises((AssertionError, UnicodeEncodeError)):
        run()


def test_the_page_shows_the_toy_word_by_word_and_names_every_rule() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "plugin-authors" / "authenticators.md").read_text()
    rules = {name for name in dir(AuthenticatorContract) if name.startswith("test_")}

    assert f"```python\n{(root / 'tests' / 'toys' / 'introspect.py').read_text()}```" in page
    assert set(re.findall(r"`(test_\w+)`", page)) == rules
