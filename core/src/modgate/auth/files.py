"""Key files, read whole: mistakes with the place where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modgate.api.auth import Role
from modgate.auth.keys import STAFF, StoredKey, parse_line
from modgate.auth.table import DIGESTS_AT_MOST, taken, too_many
from modgate.problems import Problem

Key = tuple[str, StoredKey]
Wrong = Callable[[tuple[str, ...], str], Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A file of keys; `tenant` "" = those of people who run the gateway.

    `at`: the key of the configuration that names it.  `roles`: what its keys may be.
    """

    tenant: str
    file: Path
    at: tuple[str, ...]
    roles: frozenset[Role] = frozenset({"tenant"})

    @property
    def path(self) -> str:
        """That key as a problem shows it."""
        return ".".join(self.at)


def key_files(tenants: Mapping[str, Path], staff: Path | None) -> list[KeyFile]:
    """The files that tenants and `[admin] keys` name."""
    found = [
        KeyFile(tenant=name, file=file, at=("tenant", name, "keys"))
        for name, file in tenants.items()
    ]
    if staff is not None:
        found.append(KeyFile(tenant="", file=staff, at=("admin", "keys"), roles=STAFF))
    return found


def read_keys(files: Iterable[KeyFile], wrong: Wrong, found: list[Problem]) -> list[Key]:
    """The keys of every file, by their tenant.

    `wrong(at, message)` makes the problem of a file that cannot be read; all go to `found`.  A
    key id that two tenants hold is one: one would be let in as the other.
    """
    keys: list[Key] = []
    holders: dict[str, str] = {}
    digests: Counter[str] = Counter()
    for each in files:
        for number, key in _lines(each, wrong, found):
            holder = holders.setdefault(key.id, each.tenant)
            digests[key.id] += 1
            text = ""
            if holder != each.tenant:
                text = taken(key.id, holder)
            elif digests[key.id] > DIGESTS_AT_MOST:
                text = too_many(key.id)
            elif key.role not in each.roles:
                text = _misplaced(key.role, each.roles)
            if text:
                file = str(each.file)
                found.append(Problem(message=text, path=each.path, file=file, line=number))
            keys.append((each.tenant, key))
    return keys


def _misplaced(role: Role, roles: frozenset[Role]) -> str:
    if "tenant" in roles:
        return f"a key of the role '{role}' belongs to no tenant; put its line into [admin] keys"
    return "its line needs role=operator or role=admin before the name"


def _lines(named: KeyFile, wrong: Wrong, found: list[Problem]) -> list[tuple[int, StoredKey]]:
    file = named.file
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        found.append(wrong(named.at, f"{file} cannot be read: {(error.strerror or '').lower()}"))
        return []
    except UnicodeDecodeError:
        found.append(wrong(named.at, f"{file} is not text; `modgate keys new` prints its lines"))
        return []
    keys = []
    for number, line in enumerate(lines, 1):
        try:
            key = parse_line(line)
        except ValueError as error:
            text = str(error)
            found.append(Problem(message=text, path=named.path, file=str(file), line=number))
            continue
        if key is not None:
            keys.append((number, key))
    return keys
