"""What the gateway makes for itself in its state directory.

Pepper, ledger key, demo key; all 0600.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from modgate.api.secret import Secret
from modgate.auth.keys import StoredKey, digest, new_key, parse
from modgate.problems import ConfigError, Problem

SECRET_BYTES = 32


def unusable(path: Path, error: OSError) -> ConfigError:
    """A state directory that is none, or that takes nothing."""
    reason = "there is a file" if path.is_file() else (error.strerror or "").lower()
    text = f"{path} cannot be the state directory: {reason}"
    return ConfigError([Problem(message=text, path="state.directory")])


class StateDirectory:
    """The locked state directory; a second gateway on it is told who holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(path, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 64, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            text = f"{path} is held by another gateway (process {holder})"
            raise ConfigError([Problem(message=text, path="state.directory")]) from None
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        except OSError as error:
            os.close(self._lock)
            raise unusable(path, error) from None

    def secret(self, name: str) -> Secret:
        """A secret that is made at the first start and stays."""
        return secret_in(self.path, name)

    def demo_key(self, pepper: Secret) -> tuple[Secret, StoredKey]:
        """The key of the fileless start: the only one that is ever kept in clear."""
        fresh, _ = new_key(pepper, name="demo", env="demo", random=os.urandom)
        made = _read_or_made(self.path / "demo-key", fresh.reveal)
        parsed = parse(made.reveal())
        if parsed is None:
            text = f"{self.path / 'demo-key'} holds no key; remove it and start again"
            raise ConfigError([Problem(message=text, path="state.directory")])
        stored = StoredKey(id=parsed.id, digest=digest(pepper, parsed.secret.reveal()), name="demo")
        return made, stored

    def close(self) -> None:
        """Give the directory free; a second time does nothing."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def in_use(directory: Path) -> bool:
    """Whether a gateway runs on this state directory."""
    try:
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def secret_in(directory: Path, name: str) -> Secret:
    """A secret of a state directory, which need not be locked for it."""
    return _read_or_made(directory / name, lambda: secrets.token_urlsafe(SECRET_BYTES))


def _read_or_made(path: Path, make: Callable[[], str]) -> Secret:
    try:
        return Secret(path.read_text().strip())
    except FileNotFoundError:
        value = make()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(value + "\n")
        return Secret(value)
