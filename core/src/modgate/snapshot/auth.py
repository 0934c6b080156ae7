"""What a snapshot has for tokens and plugins' authenticators, and for signing our own calls.

What is for tokens comes with the extra `jwt`, which is imported only where the file asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from modgate.api.auth import Policy
from modgate.api.authenticator import AnyAuthenticator, ConfiguredAuthenticator
from modgate.api.issuer import Issuer, Signing
from modgate.api.surface import dump
from modgate.auth.plugin_checker import PluginChecker
from modgate.auth.verdict import Checker
from modgate.host.blame import blamed
from modgate.host.kinds import Kinds
from modgate.problems import Problem
from modgate.state import State
from modgate.upstream import documents

if TYPE_CHECKING:
    from modgate.auth.signing import Signature

MISSING = "needs modgate[jwt]: pip install 'modgate[jwt]'"
NO_KEYS = dump({"keys": []})

PolicyOf = Callable[[str], Policy | None]
Wrong = Callable[[tuple[str | int, ...], str], Problem]


def token_problems(
    issuers: Sequence[Issuer], signing: Signing | None, wrong: Wrong
) -> list[Problem]:
    """What is wrong with documents of keys and with keys to sign with, as serving reads them."""
    if not issuers and signing is None:
        return []
    try:
        from modgate.auth.jose import Signer, parse_jwks
    except ImportError:
        path = ("auth", "sign") if signing is not None else ("auth", "jwt")
        return [wrong(path, MISSING)]
    found = []
    for issuer in issuers:
        try:
            if not issuer.keys.url:
                parse_jwks(issuer.keys.document)
        except ValueError as error:
            at = ("auth", "jwt", issuer.name, "jwks", "file")
            found.append(wrong(at, f"cannot be used: {error}"))
    for index, pem in enumerate(signing.keys if signing is not None else ()):
        try:
            Signer(pem)
        except ValueError as error:
            found.append(wrong(("auth", "sign", "keys", index), str(error)))
    return found


def token_checkers(issuers: Sequence[Issuer], state: State, policy_of: PolicyOf) -> list[Checker]:
    """Who checks callers' tokens; nobody, where no issuer is named."""
    if not issuers:
        return []
    from modgate.auth.tokens import Tokens

    return [Tokens(issuers, state.key_sets(), policy_of)]


def other_checkers(
    authenticators: Sequence[ConfiguredAuthenticator],
    kinds: Kinds[AnyAuthenticator],
    state: State,
    policy_of: PolicyOf,
) -> list[Checker]:
    """The authenticators of plugins; PluginError for one that cannot be built."""
    found: list[Checker] = []
    for configured in authenticators:
        origin, kind = kinds[configured.kind]
        with blamed(origin):
            checker = PluginChecker(
                configured.name,
                kind(configured.config),
                tenants=configured.tenants,
                policy_of=policy_of,
                ask=partial(documents.look_up, ca=configured.ca),
                flights=state.lookups,
            )
        found.append(checker)
    return found


def signature(signing: Signing | None, state: State) -> Signature | None:
    """Who signs our calls."""
    if signing is None:
        return None
    from modgate.auth.signing import Signature

    return Signature(signing, state.clock.wall)
