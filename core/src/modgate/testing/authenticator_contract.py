"""The contract of an authenticator: `class TestX(AuthenticatorContract): authenticator = X`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modgate.api.authenticator import (
    Answer,
    AnyAuthenticator,
    Credential,
    Document,
    Identity,
    Lookup,
    Reject,
)
from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.auth.plugin_checker import LOOKUPS_AT_MOST, origin_of
from modgate.errors import GatewayError, Unavailable
from modgate.testing.guards import listening, no_waiting
from modgate.testing.mutate import CHARACTERS
from modgate.testing.suite import fuzzed, require

_SETTINGS = fuzzed(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatorCase:
    """A credential, what the servers answer in turn, and whom it must be found to be.

    `tenant` None = it is refused; `documents` () = it is known without asking.
    """

    credential: str
    tenant: str | None
    documents: Sequence[Document] = ()


class AuthenticatorContract:
    """The rules; a subclass names the class, a good section, and cases.

    One case at least must be somebody's, and one refused.
    """

    authenticator: ClassVar[type[AnyAuthenticator]]
    config: ClassVar[Mapping[str, Json]] = {}
    cases: ClassVar[Sequence[AuthenticatorCase]] = ()

    def built(self) -> AnyAuthenticator:
        """The authenticator as the host makes it."""
        return self.authenticator(self.authenticator.config_type.model_validate(self.config))

    def asked(self, text: str, documents: Sequence[Document | GatewayError]) -> _Asked:
        """What it says of a credential, with these answers to its lookups; the last repeats."""
        asked = _Asked()
        with no_waiting():
            answer = self.built().authenticate(Credential(secret=Secret(text), client="192.0.2.1"))
            if answer is None or isinstance(answer, Identity | Reject):
                asked.answer = answer
                return asked
            try:
                lookup = next(answer)
                while len(asked.lookups) < LOOKUPS_AT_MOST:
                    asked.lookups.append(lookup)
                    given = documents[min(len(asked.lookups), len(documents)) - 1]
                    if isinstance(given, GatewayError):
                        lookup = answer.throw(given)
                    else:
                        lookup = answer.send(given)
            except StopIteration as stop:
                asked.answer = stop.value
                return asked
        raise AssertionError(f"it looks up more than {LOOKUPS_AT_MOST} times")

    def test_each_case_is_who_it_says(self) -> None:
        """A good credential is its tenant's, a bad one nobody's, and twice the same."""
        require(any(each.tenant for each in self.cases), "no case is somebody's")
        require(any(each.tenant is None for each in self.cases), "no case is refused")
        for number, each in enumerate(self.cases):
            found = [self.asked(each.credential, each.documents).tenant for _ in range(2)]
            require(
                found == [each.tenant] * 2,
                f"case {number} is {each.tenant or 'nobody'}'s, and was found to be {found}",
            )

    def test_lookups_go_where_it_says_and_show_no_credential(self) -> None:
        """`origins` names every server; neither a URL nor the repr of a Lookup tells the secret."""
        origins = set(self.built().origins())
        require(all(origin_of(each) == each for each in origins), f"no origins: {origins}")
        for each in self.cases:
            for lookup in self.asked(each.credential, each.documents).lookups:
                require(
                    origin_of(lookup.url) in origins,
                    f"{lookup.url} is at none of the origins {sorted(origins)}",
                )
                require(each.credential not in repr(lookup), "a Lookup's repr shows the credential")

    def test_whatever_the_server_answers_nobody_is_let_in_by_accident(self) -> None:
        """Errors, junk and silence let nobody in, and raise nothing but an unreachable server."""
        asking = [each for each in self.cases if each.documents]

        @_SETTINGS
        @given(st.integers(400, 599), st.binary(max_size=60))
        def rule(status: int, junk: bytes) -> None:
            for each in asking:
                good = each.documents[-1].body
                for document in (
                    Document(status=status, body=good),
                    Document(status=200, body=junk),
                    Document(status=200, body=b"null"),
                    Document(status=200, body=b"{}"),
                ):
                    tenant = self.asked(each.credential, [document]).tenant
                    require(tenant is None, f"an answer like {document} lets in '{tenant}'")

        rule()
        for each in asking:
            try:
                down = self.asked(each.credential, [Unavailable("down")])
            except Unavailable:
                continue
            require(down.tenant is None, "a server that is down lets in everybody")

    def test_any_text_is_nobodys(self) -> None:
        """Whatever a client sends is refused or passed on, and raises nothing."""
        refusing = Document(status=401)
        own = {each.credential for each in self.cases}

        @_SETTINGS
        @given(st.text(CHARACTERS, max_size=300))
        def rule(text: str) -> None:
            for each in (text, *(f"{one[: len(one) // 2]}{text}" for one in sorted(own))):
                if each not in own:
                    require(self.asked(each, [refusing]).tenant is None, "a made-up one is let in")

        rule()

    def test_a_credential_reaches_no_log_and_no_answer(self) -> None:
        """What is said of a credential does not repeat it."""
        for each in self.cases:
            with listening() as heard:
                answer = self.asked(each.credential, each.documents).answer
            require(each.credential not in heard.text, "the credential is logged or printed")
            require(each.credential not in repr(answer), "the answer repeats the credential")

    def test_unknown_keys_of_its_section_are_refused(self) -> None:
        """A typing mistake in a section is not ignored."""
        try:
            self.authenticator.config_type.model_validate({**self.config, "no_such_key": 1})
        except ValidationError:
            return
        raise AssertionError("the section takes unknown keys: give its type extra='forbid'")


class _Asked:
    """What came of one credential."""

    def __init__(self) -> None:
        self.answer: Answer = None
        self.lookups: list[Lookup] = []

    @property
    def tenant(self) -> str | None:
        """Whose it was found to be."""
        return self.answer.tenant if isinstance(self.answer, Identity) else None
