"""The kit for plugin authors: `Contract` and its rules, `FakeBackend`, `FakeClock`, and a driver.

    class TestTranslate(Contract):
        modality = Translate

    class TestGuard(PolicyContract):
        policy = Guard

`Rig` and `Drive` need no extra; the rest is loaded when it is first asked for, because it needs
`modgate[testing]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modgate.testing.clock import FakeClock
from modgate.testing.drive import Drive, Played
from modgate.testing.rig import Rig

if TYPE_CHECKING:
    from modgate.testing.authenticator_contract import AuthenticatorCase, AuthenticatorContract
    from modgate.testing.backend import FakeBackend, Scripted
    from modgate.testing.contract import Contract
    from modgate.testing.gateway import Gateway
    from modgate.testing.policy_contract import PolicyCase, PolicyContract
    from modgate.testing.scorer_contract import ScorerCase, ScorerContract, Seen

__all__ = [
    "AuthenticatorCase",
    "AuthenticatorContract",
    "Contract",
    "Drive",
    "FakeBackend",
    "FakeClock",
    "Gateway",
    "Played",
    "PolicyCase",
    "PolicyContract",
    "Rig",
    "ScorerCase",
    "ScorerContract",
    "Scripted",
    "Seen",
]

_LATER = {
    "AuthenticatorContract": "modgate.testing.authenticator_contract",
    "AuthenticatorCase": "modgate.testing.authenticator_contract",
    "Contract": "modgate.testing.contract",
    "Gateway": "modgate.testing.gateway",
    "PolicyCase": "modgate.testing.policy_contract",
    "PolicyContract": "modgate.testing.policy_contract",
    "ScorerCase": "modgate.testing.scorer_contract",
    "ScorerContract": "modgate.testing.scorer_contract",
    "Seen": "modgate.testing.scorer_contract",
    "FakeBackend": "modgate.testing.backend",
    "Scripted": "modgate.testing.backend",
}


def __getattr__(name: str) -> object:
    """What needs the extra, imported late (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
