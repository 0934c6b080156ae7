"""The ledger as the file wants it, opened and brought in order, and its sinks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from modgate.clock import Clock
from modgate.ledger.adopt import end_what_others_left
from modgate.ledger.audit import Audit
from modgate.ledger.frames import Tampered
from modgate.ledger.policy import LedgerPolicy
from modgate.ledger.shipping import Make, Shipping
from modgate.ledger.writer import Ledger
from modgate.problems import ConfigError, Problem
from modgate.server.secrets import StateDirectory
from modgate.snapshot.blueprint import Blueprint
from modgate.state import State


def sinks_of(made: Blueprint, folder: Path) -> dict[str, tuple[Make, str | None, str]]:
    """Of each sink of the file, by its name: what makes it, where it stands, and whose it is."""
    sinks: dict[str, tuple[Make, str | None, str]] = {}
    for each in made.linked.sinks:
        origin, kind = made.loaded.sinks[each.kind]
        make = partial(kind, each.config, folder=folder, password=each.password)
        sinks[each.name] = make, each.region, str(origin)
    return sinks


def open_shipping(made: Blueprint, files: StateDirectory, state: State) -> Shipping:
    """Shippers to the sinks of the file."""
    key = made.linked.file.ledger.key or files.secret("ledger-key")
    return Shipping.of(sinks_of(made, files.path), state.ledger, key, state.clock)


def open_ledger(made: Blueprint, files: StateDirectory, clock: Clock) -> Ledger:
    """The ledger in the state directory; ConfigError for one that somebody else changed."""
    section, directory = made.linked.file.ledger, files.path / "ledger"
    key = section.key or files.secret("ledger-key")
    policy = LedgerPolicy(
        segment_bytes=section.segment,
        max_bytes=section.max_bytes,
        on_full=section.on_full,
        keep_acknowledged_s=section.keep_acknowledged,
        sync_s=section.sync,
        anchor=section.anchor,
    )
    try:
        ledger = Ledger(directory, key, clock, policy, name=section.name)
        end_what_others_left(directory, key, clock, own=ledger.worker)
    except Tampered as error:
        raise changed("ledger", directory, error) from None
    return ledger


def changed(section: str, directory: Path, error: Tampered) -> ConfigError:
    """What is wrong with a chain that the section's key does not prove."""
    text = f"what is in {directory} was changed by somebody else, or another key made it: {error}"
    return ConfigError([Problem(message=text, path=section)])


def open_audit(made: Blueprint, files: StateDirectory, clock: Clock) -> Audit:
    """The audit log in the state directory; ConfigError for one that somebody else changed."""
    section, directory = made.linked.file.audit, files.path / "audit"
    key = section.key or files.secret("audit-key")
    try:
        return Audit(directory, key, clock, max_bytes=section.max_bytes, anchor=section.anchor)
    except Tampered as error:
        raise changed("audit", directory, error) from None
