"""The authorities that sign engines' certificates, from PEM files that the operator names."""

from __future__ import annotations

import logging
from functools import cached_property
from ssl import SSLContext, create_default_context

log = logging.getLogger(__name__)


class CaBundles:
    """TLS contexts by PEM file.  A file is read again for each engine, for files are rotated."""

    def __init__(self) -> None:
        self._read: dict[str, SSLContext] = {}

    @cached_property
    def machine(self) -> SSLContext:
        """The context that trusts whom this machine trusts.

        One for all engines: it holds a megabyte, and to read it takes the event loop 20 ms.
        """
        made = create_default_context()
        made.set_alpn_protocols(["http/1.1"])
        return made

    def of(self, ca: str) -> SSLContext | None:
        """The context that trusts the authorities in a file; None for no file.

        A file that cannot be read now counts as it was when it last could; OSError when it never
        could be.
        """
        if not ca:
            return None
        try:
            self._read[ca] = create_default_context(cafile=ca)
        except OSError as error:
            if ca not in self._read:
                raise
            words = {"file": ca, "reason": type(error).__name__}
            log.error("certificates cannot be read; those of before count", extra=words)
        return self._read[ca]
