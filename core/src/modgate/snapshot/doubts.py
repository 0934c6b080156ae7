"""What in a configuration is valid and perhaps not meant: it counts, and its author is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

from modgate.clock import iso
from modgate.config.guess import did_you_mean
from modgate.prices.books import Books
from modgate.problems import Problem
from modgate.snapshot.blueprint import Blueprint

log = logging.getLogger(__name__)

AT_MOST = 20  # of a kind
GUESSED, NEAR = 3, 200  # names, and keys beside one: guessing at what was meant takes time


def warn(
    before: Blueprint | None, made: Blueprint, wall: float, told: Sequence[str] = ()
) -> Sequence[str]:
    """Log what is doubtful in a configuration, and what a reload of it takes away; its doubts.

    `before`: the configuration that it takes the place of; None at the start.  `told`: the doubts
    of that one: the same ones are not told again.
    """
    doubts = [str(each) for each in doubts_of(made)]
    if doubts and doubts != told:
        about = {"doubts": doubts}
        log.warning("the configuration may not be what is meant", extra=about)
    if before is not None:
        _changed(before, made, wall)
    return doubts


def _changed(before: Blueprint, made: Blueprint, wall: float) -> None:
    """Log what a reload takes away or changes, and nobody may have wanted."""
    if names := _keyless(before, made):
        log.warning("key files have no keys any more", extra={"tenants": names})
    since = Books(made.linked.books).changed_since(Books(before.linked.books), wall)
    if since is not None:
        log.warning("bills that were made change", extra={"since": iso(since)})


def _keyless(before: Blueprint, made: Blueprint) -> list[str]:
    """Tenants that had keys of a file, and have none: they are revoked, or the file was cut off."""
    had, have = ({name for name, _ in each.keys} for each in (before, made))
    return sorted((had - have) & {tenant.name for tenant in made.linked.tenants})


def doubts_of(made: Blueprint) -> list[Problem]:
    """What is valid, and may not be what is meant."""
    kinds = (_unheld, _nobodys, _unsold)
    return [each for kind in kinds for each in islice(kind(made), AT_MOST)]


def _unheld(made: Blueprint) -> Iterator[Problem]:
    """Sections of keys that the tenant's file does not have.

    No mistakes: a key that is revoked by its file must not keep that file from being read.
    """
    held = {(name, key.id) for name, key in made.keys}
    for tenant in made.linked.tenants:
        for key_id in tenant.keys:
            if (tenant.name, key_id) not in held:
                known = (known for of, known in held if of == tenant.name)
                guess = did_you_mean(key_id, islice(known, NEAR))
                text = f"no key of the tenant's file{guess}"
                path = ("tenant", tenant.name, "key", key_id)
                yield made.source.problem(path, f"{text}; this limits nobody")


def _nobodys(made: Blueprint) -> Iterator[Problem]:
    """Prices of a tenant that is nearly one of the file: others may be of the store."""
    file = made.linked.file
    others = {
        case.tenant: ("price", book, "case", index, "tenant")
        for book, section in file.price.items()
        for index, case in enumerate(section.case)
        if case.tenant and case.tenant not in file.tenant
    }
    for name, path in islice(others.items(), GUESSED):
        if guess := did_you_mean(name, file.tenant):
            yield made.source.problem(path, f"no tenant of the file{guess}")


def _unsold(made: Blueprint) -> Iterator[Problem]:
    """Models of which the newest prices say nothing at all: somebody forgot them."""
    books = [book for book in made.linked.books if not book.corrects]
    if not books:
        return
    newest = max(books, key=lambda book: book.effective)
    priced: set[tuple[str, str]] = set()  # of these models ('' = all) something of a modality
    for case in newest.cases:
        priced.update((case.model, unit.partition(".")[0]) for unit in case.prices)
    for name, model in sorted(made.linked.models.items()):
        if priced.isdisjoint({("", model.modality), (name, model.modality)}):
            text = f"nothing that '{name}' uses has a price: its requests are unpriced"
            yield made.source.problem(("price", newest.name), f"{text}, and not free")
