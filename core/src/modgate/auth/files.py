"""The tenants' key files, read whole: mistakes with the place where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from modgate.auth.keys import StoredKey, parse_line
from modgate.errors import Problem

Key = tuple[str, StoredKey]


def read_keys(
    files: Iterable[tuple[str, Path]], wrong: Callable[[str, str], Problem], found: list[Problem]
) -> list[Key]:
    """The keys of every tenant, by its name and file.

    `wrong(tenant, message)` makes the problem of a file that cannot be read; all go to `found`.  A
    key id that two tenants hold is one: one would be let in as the other.
    """
    keys: list[Key] = []
    holders: dict[str, str] = {}
    for tenant, file in files:
        for number, key in _lines(tenant, file, wrong, found):
            holder = holders.setdefault(key.id, tenant)
            if holder != tenant:
                text = f"key id {key.id} is tenant '{holder}'s already; make a new key"
                path = f"tenant.{tenant}.keys"
                found.append(Problem(message=text, path=path, file=str(file), line=number))
            keys.append((tenant, key))
    return keys


def _lines(
    tenant: str, file: Path, wrong: Callable[[str, str], Problem], found: list[Problem]
) -> list[tuple[int, StoredKey]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        found.append(wrong(tenant, f"{file} cannot be read: {(error.strerror or '').lower()}"))
        return []
    except UnicodeDecodeError:
        found.append(wrong(tenant, f"{file} is not text; `modgate keys new` prints its lines"))
        return []
    keys = []
    for number, line in enumerate(lines, 1):
        try:
            key = parse_line(line)
        except ValueError as error:
            path = f"tenant.{tenant}.keys"
            found.append(Problem(message=str(error), path=path, file=str(file), line=number))
            continue
        if key is not None:
            keys.append((number, key))
    return keys
