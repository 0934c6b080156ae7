"""What a configuration may say by mistake and is none: it counts, and the log tells of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from modgate.blueprint import Blueprint
from modgate.prices.books import Books

log = logging.getLogger(__name__)


def warn(before: Blueprint | None, made: Blueprint, wall: float) -> None:
    """Tell what is doubtful in a configuration that takes the place of another one, or is the
    first."""
    doubts = [str(each) for each in made.doubts]
    if doubts and (before is None or doubts != [str(each) for each in before.doubts]):
        about = {"doubts": doubts}
        log.warning("the configuration may not be what is meant", extra=about)
    if before is None:
        return
    if names := _keyless(before, made):
        log.warning("key files have no keys any more", extra={"tenants": names})
    since = Books(made.linked.books).changed_since(Books(before.linked.books), wall)
    if since is not None:
        at = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ}"
        log.warning("bills that were made change", extra={"since": at})


def _keyless(before: Blueprint, made: Blueprint) -> list[str]:
    """Tenants that had keys of a file, and have none: they are revoked, or the file was cut off."""
    had, have = ({name for name, _ in each.keys} for each in (before, made))
    return sorted((had - have) & {tenant.name for tenant in made.linked.tenants})
