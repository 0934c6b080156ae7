"""API keys: made, parsed and digested.

`mg_<env>_<12 base32 id>_<43 base62 secret>_<6 base62 crc32>`.  The checksum refuses typing errors
and scanners without a look-up.  Only a keyed digest of the secret is ever stored. Source:
algorithms.md 9; architecture.md 12.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zlib import crc32

from modgate.api.auth import Role
from modgate.api.secret import Secret
from modgate.clock import iso

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_BYTES, SECRET_LENGTH, CHECK_LENGTH = 12, 32, 43, 6
KEY_AT_MOST = 128

_KEY = re.compile(
    rf"mg_([a-z]{{1,16}})_([{BASE32}]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})"
    rf"_([0-9A-Za-z]{{{CHECK_LENGTH}}})"
)
_ENV = re.compile(r"[a-z]{1,16}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"(until|role)=(\S*)")

ROLES: Mapping[str, Role] = {"tenant": "tenant", "operator": "operator", "admin": "admin"}
STAFF: frozenset[Role] = frozenset({"operator", "admin"})
Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """What is kept of a key: its id, the digest of its secret, and a name for people.

    `until`: unix seconds from which on it is not good any more.
    """

    id: str
    digest: str
    name: str = ""
    until: float | None = None
    role: Role = "tenant"

    def line(self) -> str:
        """The line of a key file; white space in the name becomes single spaces."""
        words = [self.id, self.digest]
        if self.until is not None:
            words.append(f"until={iso(self.until)}")
        if self.role != "tenant":
            words.append(f"role={self.role}")
        return " ".join((*words, *self.name.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedKey:
    """A key that has the right shape and checksum; whether it is known is another question."""

    id: str
    secret: Secret


def new_key(
    pepper: Secret,
    *,
    name: str,
    env: str,
    random: Random,
    key_id: str | None = None,
    role: Role = "tenant",
) -> tuple[Secret, StoredKey]:
    """A new key, shown once, and what is stored of it.  ValueError for `env` not a-z, 1 to 16.

    `key_id`: of a key that is rotated, which keeps its id; None makes one.
    """
    if not _ENV.fullmatch(env):
        raise ValueError("the environment in a key is 1 to 16 letters, a to z")
    key_id = key_id or "".join(BASE32[byte % 32] for byte in random(ID_LENGTH))
    secret = _base62(int.from_bytes(random(SECRET_BYTES)), SECRET_LENGTH)
    front = f"mg_{env}_{key_id}_{secret}"
    key = Secret(f"{front}_{_check(front)}")
    stored = StoredKey(id=key_id, digest=digest(pepper, secret), name=name, role=role)
    return key, stored


def parse(text: str) -> PresentedKey | None:
    """The parts of a presented key; None when it cannot be one of ours."""
    if len(text) > KEY_AT_MOST:
        return None
    found = _KEY.fullmatch(text)
    if found is None or _check(text[: -CHECK_LENGTH - 1]) != found[4]:
        return None
    return PresentedKey(id=found[2], secret=Secret(found[3]))


def digest(pepper: Secret, secret: str) -> str:
    """HMAC-SHA256 of a key's secret: a high-entropy secret needs no slow hash."""
    return hmac.digest(pepper.reveal().encode(), secret.encode(), "sha256").hex()


def parse_line(line: str) -> StoredKey | None:
    """A line of a key file; None for an empty line or a comment, ValueError for a bad one.

    `ID DIGEST [until=2027-01-31T12:00:00Z] [role=operator] NAME`.
    """
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    key_id, value, rest = (*line.split(maxsplit=2), "", "")[:3]
    if len(key_id) != ID_LENGTH or set(key_id) - set(BASE32) or not _DIGEST.fullmatch(value):
        raise ValueError("a key line reads: ID DIGEST NAME, as `modgate keys new` prints it")
    said: dict[str, str] = {}
    words = rest.split()
    while words and (found := _WORD.fullmatch(words[0])):
        said[found[1]] = found[2]
        del words[0]
    return StoredKey(
        id=key_id,
        digest=value,
        name=" ".join(words),
        until=_until(said.get("until")),
        role=_role(said.get("role", "tenant")),
    )


def _until(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a key's time reads: until=2027-01-31T12:00:00Z") from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _role(text: str) -> Role:
    if text not in ROLES:
        raise ValueError(f"a key's role is one of {', '.join(ROLES)}")
    return ROLES[text]


def _check(front: str) -> str:
    return _base62(crc32(front.encode()), CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(BASE62[rest])
    return "".join(reversed(digits))
