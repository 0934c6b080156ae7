"""TLS for a listener, with certificate files that are read again when they change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modgate.marks import Mark, mark_of


class Unusable(OSError):
    """Certificate files that cannot be served with; `which` of the two is at fault."""

    def __init__(self, which: Literal["cert", "key"], message: str) -> None:
        super().__init__(message)
        self.which = which


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A certificate chain and its key, as PEM files."""

    cert: Path
    key: Path


class Tls:
    """One SSL context for a listener's life; `refresh` loads files into it that have changed.

    New handshakes use what was loaded last, and open connections keep what they have.  Unusable
    when the files are missing, are not PEM, or do not belong together.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        try:
            self._seen = self._marks()
            self._load()
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> Unusable:
        if reason := _unread(self._files.cert):
            return Unusable("cert", reason)
        if reason := _unread(self._files.key):
            return Unusable("key", reason)
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            text = f"{self._files.key} is not the key of {self._files.cert}"
            return Unusable("key", text)
        text = (
            f"{self._files.cert} and {self._files.key} are no PEM certificate and unencrypted key"
        )
        return Unusable("cert", text)

    def _marks(self) -> tuple[Mark, Mark]:
        return mark_of(self._files.cert), mark_of(self._files.key)

    def _load(self) -> None:
        # A certificate whose key does not fit would leave the context without a key, so both are
        # tried in another one first.  With an empty password an encrypted key is refused; without
        # one, OpenSSL would ask at the terminal.
        cert, key = self._files.cert, self._files.key
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
        self.context.load_cert_chain(cert, key, password="")

    def refresh(self) -> bool:
        """Load the files again if they changed; whether they did.

        Unusable when they cannot be used; then the old ones stay in use, and they are tried again.
        """
        marks = self._marks()
        if marks == self._seen:
            return False
        try:
            self._load()
        except OSError as error:
            raise self._unusable(error) from None
        self._seen = marks
        return True


def _unread(path: Path) -> str:
    try:
        path.open("rb").close()
    except OSError as error:
        return f"{path} cannot be read: {(error.strerror or '').lower()}"
    return ""
