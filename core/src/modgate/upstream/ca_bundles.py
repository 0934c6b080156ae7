"""The authorities that engines' certificates must be of: PEM files that the operator names."""

from __future__ import annotations

import logging
from ssl import SSLContext, create_default_context

log = logging.getLogger(__name__)


class CaBundles:
    """Contexts by PEM file, read anew for each engine that comes: files are rotated."""

    def __init__(self) -> None:
        self._read: dict[str, SSLContext] = {}

    def of(self, ca: str) -> SSLContext | None:
        """None = as the machine does.  A file that cannot be read now counts as it was last.

        OSError where it never could be.
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
